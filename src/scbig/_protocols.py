"""What models and baselines have in common, and all that a benchmark may ask of them."""

from collections.abc import Sequence
from os import PathLike
from typing import Protocol, Self, runtime_checkable

from anndata import AnnData


@runtime_checkable
class Predictor(Protocol):
    """Learns from a screen and predicts perturbed expression.

    A class may take more arguments than these, as long as they have defaults.
    """

    default_key: str

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        perturbation_key: str | None = None,
        control: str | None = None,
        context_keys: Sequence[str] = (),
        separator: str | None = None,
        gene_key: str | None = None,
        is_log1p: bool = False,
    ) -> None:
        """Register a screen."""

    def train(
        self, *, validation: Sequence[str | Sequence[str]] | None = None, use_refit: bool = True
    ) -> None:
        """Learn from the registered screen, choosing on the validation conditions."""

    def predict(
        self,
        adata: AnnData | None = None,
        *,
        perturbations: Sequence[str | Sequence[str]] | None = None,
        key_added: str | None = None,
        n_cells: int | None = None,
        seed: int | None = None,
    ) -> AnnData:
        """Write predicted expression into a layer, and return what was written into."""
        ...

    def save(self, dir_path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the predictor to a folder."""

    @classmethod
    def load(cls, dir_path: str | PathLike[str], adata: AnnData | None = None) -> Self:
        """Read a predictor from a folder."""
        ...

"""What a saved folder holds of STRAND."""

from functools import partial
from os import PathLike
from typing import Any, Self

import numpy as np
from anndata import AnnData

from scbig.model.base import CellLatent, SaveMixin
from scbig.model.strand._extension import LocusMixin
from scbig.model.strand._state import State, from_plain, to_plain


class StateMixin(LocusMixin, SaveMixin):
    """The parts of a model that are saved, and put back."""

    def _set_state(self, state: State) -> None:
        self._blueprint, self.module = state.blueprint, state.module
        self._confidence = state.confidence
        self._model_summary_string = state.blueprint.describe()

    @classmethod
    def load(
        cls,
        dir_path: str | PathLike[str],
        adata: AnnData | None = None,
        *,
        latent: CellLatent | None = None,
    ) -> Self:
        """Load a model that :meth:`save` wrote; nothing is unpickled.

        All loci that were read are known again, so that they can be predicted without the genome
        or the encoder.

        Parameters
        ----------
        dir_path
            The folder.
        adata
            Screen to go on with, set up with the same keys; genes are matched by name. Not
            needed to predict.
        latent
            A latent space of the class and sizes that the model was made with, where it was not
            made of principal components; its weights are read from the folder.

        Returns
        -------
        The model, on the CPU.

        Raises
        ------
        FileNotFoundError, ValueError
            When there is no such model, or it does not fit.
        """
        return cls._load(dir_path, adata, partial(cls._restore, latent=latent))

    def _to_plain(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        values, arrays = to_plain(State(self._blueprint, self.module, self._confidence))
        own = {"is_trained": self.is_trained_, "fingerprint": self._fingerprint}
        return values | own, arrays

    def _restore(
        self,
        values: dict[str, Any],
        arrays: dict[str, np.ndarray],
        latent: CellLatent | None = None,
    ) -> None:
        self._encoder, self._fingerprint = None, values["fingerprint"]
        self._set_state(from_plain(values, arrays, latent))
        self.is_trained_ = values["is_trained"]

"""What STRAND tells `PredictMixin`: how to predict cells, and what it knows."""

from collections.abc import Sequence

import numpy as np
import torch
from anndata import AnnData

from scbig.data import ScreenSchema, Targets
from scbig.model.base import KnownScreenMixin
from scbig.model.strand._blueprint import Blueprint
from scbig.model.strand._confidence import Confidence
from scbig.model.strand._module import STRANDModule
from scbig.model.strand._score import embed_all
from scbig.priors import parse_locus


class InferenceMixin(KnownScreenMixin):
    """Prediction with a trained module."""

    module: STRANDModule
    is_trained_: bool
    _blueprint: Blueprint
    _confidence: Confidence | None

    @torch.no_grad()
    def _predict_cells(
        self,
        x: np.ndarray,
        targets: Targets,
        context: int,
        rng: np.random.Generator,
        *,
        is_sampled: bool,
    ) -> np.ndarray:
        self.module.eval()
        device = self.module.device
        predicted = self.module.predict_cells(
            torch.from_numpy(np.asarray(x, dtype=np.float32)).to(device),
            self._embed([targets], [context])[0].to(device),
            torch.from_numpy(self._get_control_mean(context)).to(device),
            # Drawn on the CPU and moved, a seed means the same on every device.
            torch.Generator().manual_seed(int(rng.integers(2**62))),
        )
        return predicted.cpu().numpy()

    def _embed(self, targets: Sequence[Targets], context: Sequence[int]) -> torch.Tensor:
        condition = self._blueprint.make_condition(targets, context)
        return embed_all(self.module, self._blueprint.given, condition)

    @torch.no_grad()
    def _predict_effects(self, targets: Sequence[Targets], context: Sequence[int]) -> np.ndarray:
        """Mean effects of the regression on genes, shape ``(n, G)``."""
        device = self.module.device
        vector = self._embed(targets, context).to(device)
        mean = np.stack([self._get_control_mean(i) for i in context])
        z = self.module.latent.encode(torch.from_numpy(mean).to(device))
        change = self.module.latent.decode(z + self.module.effect(vector))
        return (change - self.module.latent.decode(z)).cpu().numpy()

    def _get_confidence(
        self, targets: Sequence[Targets], context: np.ndarray
    ) -> np.ndarray | None:
        if self._confidence is None:
            return None
        if not len(targets):
            return np.empty(0)
        return self._confidence.predict(self._predict_effects(targets, context.tolist()))

    # --- what is known -----------------------------------------------------------------------

    @property
    def _expected_expression(self) -> np.ndarray:
        return self._get_control_mean(-1)

    @property
    def _schema(self) -> ScreenSchema:
        return self._blueprint.schema

    @property
    def _genes(self) -> Sequence[str]:
        return self._blueprint.genes

    @property
    def _contexts(self) -> Sequence[str]:
        return self._blueprint.contexts

    @property
    def _controls(self) -> AnnData:
        return self._blueprint.controls

    @property
    def _control_means(self) -> np.ndarray:
        return self._blueprint.control_mean

    def _check_trained(self) -> None:
        if not self.is_trained_:
            raise RuntimeError("The model has not been trained. Run model.train() first.")

    def _resolve(self, targets: Targets) -> Targets:
        return targets

    def _resolve_gene(self, gene: str, known: set[str]) -> str | None:
        return None

    def _check_known(self, targets: Targets) -> None:
        blueprint = self._blueprint
        unknown = [t for t in targets if not blueprint.places.knows(t)]
        if places := [t for t in unknown if is_place(t)]:
            raise ValueError(
                f"The DNA of {places} is not known to the model. Give the genome "
                f"({blueprint.places.loci.assembly}): predict(..., fasta='genome.fa')"
            )
        if unknown and blueprint.strict:
            try:
                blueprint.places.loci.match(unknown)
            except ValueError as error:
                raise ValueError(
                    f"{error}. Add it: predict(..., loci=..., fasta=...), or write a place "
                    "such as chr8:127735434."
                ) from error


def is_place(label: str) -> bool:
    """Whether a label is a place such as ``chr8:127735434``."""
    try:
        parse_locus(label)
    except ValueError:
        return False
    return True

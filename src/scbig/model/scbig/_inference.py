"""What SCBIG tells `PredictMixin`: how to predict cells, and what it knows."""

from collections.abc import Sequence

import numpy as np
import torch

from scbig.data import Effects, Targets
from scbig.model.base import KnowledgeMixin
from scbig.model.scbig._anchor import Anchor
from scbig.model.scbig._blueprint import Blueprint
from scbig.model.scbig._components import ConditionInput
from scbig.model.scbig._module import SCBIGModule


class InferenceMixin(KnowledgeMixin):
    """Prediction with a trained module and anchor."""

    module: SCBIGModule
    is_trained_: bool
    _blueprint: Blueprint
    _anchor: Anchor | None

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
        targets, device = self._resolve(targets), self.module.device
        effect, latent = self._fitted.predict([targets], np.array([context]))
        condition = self._blueprint.make_condition([targets], np.array([context]), latent)
        cells = torch.from_numpy(np.asarray(x, dtype=np.float32)).to(device)
        z = self.module.encode(cells)
        if is_sampled:
            # The path starts in a cloud of this width around each control cell.
            noise = rng.normal(scale=self.module.config.sigma, size=z.shape)
            z = z + torch.from_numpy(noise).to(z)
        mean = torch.from_numpy(self._get_control_mean(context)).to(device)
        predicted = self.module.predict_cells(
            cells[None],
            z[None],
            ConditionInput(*(part.to(device) for part in condition)),
            torch.from_numpy(effect).to(z),
            mean[None],
        )
        return predicted[0].cpu().numpy()

    # --- what is known -----------------------------------------------------------------------

    @property
    def _expected_expression(self) -> np.ndarray:
        return self.module.gene_mean.cpu().numpy()

    @property
    def _known(self) -> Blueprint:
        return self._blueprint

    @property
    def _effects(self) -> Effects:
        return self._fitted.effects

    @property
    def _fitted(self) -> Anchor:
        if self._anchor is None:
            raise RuntimeError("The model has not been trained. Run model.train() first.")
        return self._anchor

    def _get_confidence(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        return self._fitted.get_confidence(targets, context)

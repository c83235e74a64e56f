"""What DualStreamMamba tells `PredictMixin`: how to predict cells."""

from collections.abc import Sequence

import numpy as np
import torch

from scbig.data import Effects, Targets
from scbig.model.base import KnowledgeMixin
from scbig.model.dualstream._anchor import Anchor
from scbig.model.dualstream._blueprint import Blueprint
from scbig.model.dualstream._condition import ConditionInput
from scbig.model.dualstream._module import DualStreamModule
from scbig.nn import add_change

# Gene tokens held at once; more cells than that go one batch after the other.
_TOKENS_AT_ONCE = 16_384


class InferenceMixin(KnowledgeMixin):
    """Prediction with trained networks and anchor."""

    module: DualStreamModule
    _blueprint: Blueprint
    _anchor: Anchor | None
    _uses_networks: bool

    @property
    def _expected_expression(self) -> np.ndarray:
        return self.module.mean.cpu().numpy()

    @property
    def _known(self) -> Blueprint:
        return self._blueprint

    @property
    def _fitted(self) -> Anchor:
        if self._anchor is None:
            raise RuntimeError("The model has not been trained. Run model.train() first.")
        return self._anchor

    @property
    def _effects(self) -> Effects:
        return self._fitted.effects

    def _get_confidence(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        return self._fitted.get_confidence(targets, context)

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
        condition = self._make_condition(targets, context)
        cells = torch.from_numpy(np.asarray(x, dtype=np.float32))
        mean = torch.from_numpy(self._get_control_mean(context))
        if not self._uses_networks:
            return add_change(cells, condition.effect, mean).numpy()
        self.module.eval()
        device = self.module.device
        noise = None
        if is_sampled:
            shape = (len(cells), self._blueprint.config.n_latent)
            noise = torch.from_numpy(rng.normal(size=shape).astype(np.float32))
        size = max(_TOKENS_AT_ONCE // self.module.patches.n_tokens, 1)
        predicted = [
            self.module.predict_cells(
                cells[rows].to(device),
                condition.select(torch.zeros_like(rows)).to(device),
                mean.to(device),
                None if noise is None else noise[rows].to(device),
            ).cpu()
            for rows in torch.arange(len(cells)).split(size)
        ]
        return torch.cat(predicted).numpy()

    def _make_condition(self, targets: Targets, context: int) -> ConditionInput:
        """Turn one perturbation into tensors, B = 1."""
        groups, contexts = [self._resolve(targets)], np.array([context])
        effect = self._fitted.predict(groups, contexts)
        return self._blueprint.make_condition(groups, contexts, effect)

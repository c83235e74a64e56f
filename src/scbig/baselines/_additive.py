"""The additive baseline: targets act independently of each other."""

import numpy as np

from scbig.baselines._base import Baseline
from scbig.baselines._contexts import get_context_mean
from scbig.data import Targets


class Additive(Baseline):
    """Predicts the sum of the effects that the targets have alone.

    A target that was perturbed alone contributes its effect in the same context, or the mean of
    its effects in other contexts. One that was never perturbed alone contributes the mean effect
    of those that were. Without any single perturbation in training, each condition's effect is
    shared out evenly among its targets. Simple, and hard to beat (Ahlmann-Eltze et al. 2025,
    doi:10.1038/s41592-025-02772-6).
    """

    default_key = "additive"

    def _predict_effect(self, targets: Targets, context: int) -> np.ndarray:
        return np.sum([self._get_part(target, context) for target in targets], axis=0)

    def _get_part(self, target: str, context: int) -> np.ndarray:
        """Effect of one target, shape ``(n_genes,)``."""
        effects = self._effects
        sizes = np.array([len(group) for group in effects.targets])
        is_own = np.array([group == (target,) for group in effects.targets])
        # Its own rows if there are any, else all singles, else everything there is.
        rows = next(mask for mask in (is_own, sizes == 1, sizes > 0) if mask.any())
        delta = effects.delta[rows] / sizes[rows, None]
        return get_context_mean(delta, effects.context[rows], context)

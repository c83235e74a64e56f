"""The additive baseline: targets act independently of each other."""

from collections.abc import Sequence

import numpy as np

from scbig.baselines._base import Baseline
from scbig.baselines._contexts import compute_single_mean, get_context_mean
from scbig.baselines._kernel import TargetKernel
from scbig.baselines._rule import Rule
from scbig.data import Effects, Targets


class Additive(Baseline):
    """Predicts the sum of the effects that the targets have alone.

    A target that was perturbed alone contributes its effect in the same context, or the mean of
    its effects in other contexts. One that was never perturbed alone contributes the mean effect
    of those that were. Without any single perturbation in training, each condition's effect is
    shared out evenly among its targets. Simple, and hard to beat (Ahlmann-Eltze et al. 2025,
    doi:10.1038/s41592-025-02772-6).
    """

    default_key = "additive"

    @staticmethod
    def _make_rule(effects: Effects, kernel: TargetKernel) -> Rule:
        return _Sum(effects)


class _Sum:
    """Sums of single effects."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._unknown: dict[int, np.ndarray] = {}
        self._rows: dict[Targets, list[int]] = {}
        for row, group in enumerate(effects.targets):
            self._rows.setdefault(group, []).append(row)

    def __call__(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        predicted = np.zeros((len(targets), self._effects.delta.shape[1]))
        for i, (group, where) in enumerate(zip(targets, context.tolist(), strict=True)):
            for target in group:
                predicted[i] += self._get_part(target, where)
        return predicted

    def _get_part(self, target: str, context: int) -> np.ndarray:
        """Effect of one target, shape ``(n_genes,)``."""
        effects, rows = self._effects, self._rows.get((target,))
        if rows is not None:
            return get_context_mean(effects.delta[rows], effects.context[rows], context)
        if context not in self._unknown:
            self._unknown[context] = compute_single_mean(effects, context)
        return self._unknown[context]

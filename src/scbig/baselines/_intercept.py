"""Regression of effects around the mean single effect."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scbig.baselines._contexts import compute_single_mean, get_context_rows
from scbig.baselines._kernel import TargetKernel
from scbig.baselines._regression import EffectRegression
from scbig.data import Effects, Targets


class InterceptRegression:
    """Predicts ``n_targets`` times the mean single effect, and by regression what is left.

    Each context has a regression of its own. It learns from the groups of that context, and from
    those of other contexts whose conditions it lacks, each around the mean of its own context.

    Parameters
    ----------
    effects
        Effects of the training conditions.
    kernel
        Covariance of conditions, without what all targets share.
    """

    def __init__(self, effects: Effects, kernel: TargetKernel) -> None:
        self._effects = effects
        self._kernel = kernel
        self._means: dict[int, np.ndarray] = {}
        self._regressions: dict[int, EffectRegression] = {}

    def __call__(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict the effects of conditions, shape ``(n, n_genes)``."""
        predicted = np.empty((len(targets), self._effects.delta.shape[1]))
        for where in np.unique(context).tolist():
            rows = np.flatnonzero(context == where).tolist()
            groups = [targets[i] for i in rows]
            rest = self._get_regression(where).predict(groups, np.zeros(len(groups), dtype=int))
            predicted[rows] = self._get_shared(groups, [where] * len(groups)) + rest
        return predicted

    def _get_regression(self, context: int) -> EffectRegression:
        """Regression of what the mean single effect leaves, with all groups on one footing."""
        if context not in self._regressions:
            known = self._effects.subset(get_context_rows(self._effects, context))
            rest = known.delta - self._get_shared(known.targets, known.context.tolist())
            known = replace(known, delta=rest, context=np.zeros_like(known.context))
            self._regressions[context] = EffectRegression(known, self._kernel)
        return self._regressions[context]

    def _get_shared(self, targets: Sequence[Targets], contexts: Sequence[int]) -> np.ndarray:
        """``n_targets`` times the mean single effect, shape ``(n, n_genes)``."""
        for context in set(contexts) - self._means.keys():
            self._means[context] = compute_single_mean(self._effects, context)
        pairs = zip(targets, contexts, strict=True)
        return np.array([len(group) * self._means[context] for group, context in pairs])

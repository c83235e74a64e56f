"""What does ridge regression around the mean single effect expect, and with which settings?"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from scbig.data import Effects, Targets
from scbig.regression._gaussian_process import KernelRegression
from scbig.regression._kernel import Embeddings, KernelSettings, TargetKernel
from scbig.regression._rules import compute_single_mean, get_context_rows

NOISES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
EMBEDDING_WEIGHTS = (0.0, 0.3, 1.0, 3.0)
# Of these, the best on the validation conditions of the ten splits of norman2019_resampled.
DEFAULT_NOISE = 2.0
DEFAULT_WEIGHT = 0.3
MAX_GROUPS = 1000


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
        self._regressions: dict[int, KernelRegression] = {}

    def __call__(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict the effects of conditions, shape ``(n, n_genes)``."""
        predicted = np.empty((len(targets), self._effects.delta.shape[1]))
        for where in np.unique(context).tolist():
            rows = np.flatnonzero(context == where).tolist()
            groups = [targets[i] for i in rows]
            rest = self._get_regression(where).predict(groups, np.zeros(len(groups), dtype=int))
            predicted[rows] = self._get_shared(groups, [where] * len(groups)) + rest
        return predicted

    def _get_regression(self, context: int) -> KernelRegression:
        """Regression of what the mean single effect leaves, with all groups on one footing."""
        if context not in self._regressions:
            known = self._effects.subset(get_context_rows(self._effects, context))
            rest = known.delta - self._get_shared(known.targets, known.context.tolist())
            known = replace(known, delta=rest, context=np.zeros_like(known.context))
            self._regressions[context] = KernelRegression(known, self._kernel)
        return self._regressions[context]

    def _get_shared(self, targets: Sequence[Targets], contexts: Sequence[int]) -> np.ndarray:
        """``n_targets`` times the mean single effect, shape ``(n, n_genes)``."""
        for context in set(contexts) - self._means.keys():
            self._means[context] = compute_single_mean(self._effects, context)
        pairs = zip(targets, contexts, strict=True)
        return np.array([len(group) * self._means[context] for group, context in pairs])


def choose_on_validation(
    trained: Effects, held_out: Effects, embeddings: Embeddings
) -> TargetKernel:
    """Choose the ridge penalty and the weights of the embeddings.

    The choice is by mean squared error. The penalty sets the size of the effects, to which a
    correlation is blind, and this is the error that the regression itself minimises.

    Parameters
    ----------
    trained
        Effects of the training conditions; at most 1,000, evenly spaced, are used.
    held_out
        Effects of the validation conditions; may be empty.
    embeddings
        Unit vectors of targets, see :class:`TargetKernel`; none for indicators alone.

    Returns
    -------
    The kernel with the smallest error; without validation conditions, one that is fair for some
    tens of cells a condition.
    """
    if not len(held_out):
        return _make_kernel(embeddings, (DEFAULT_WEIGHT,) * len(embeddings), DEFAULT_NOISE)
    rows = np.linspace(0, len(trained) - 1, min(len(trained), MAX_GROUPS)).astype(int)
    trained = trained.subset(rows)
    grid = product(product(EMBEDDING_WEIGHTS, repeat=len(embeddings)), NOISES)
    kernels = [_make_kernel(embeddings, weights, noise) for weights, noise in grid]
    return min(kernels, key=lambda kernel: _get_error(trained, held_out, kernel))


def _make_kernel(embeddings: Embeddings, weights: tuple[float, ...], noise: float) -> TargetKernel:
    # What all targets share is no part of the kernel: it is the intercept.
    return TargetKernel(embeddings, KernelSettings(noise=noise, mean=0.0, embedding=weights))


def _get_error(trained: Effects, held_out: Effects, kernel: TargetKernel) -> float:
    rule = InterceptRegression(trained, kernel)
    return float(np.mean((rule(held_out.targets, held_out.context) - held_out.delta) ** 2))

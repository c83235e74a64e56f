"""Choice of the settings of a regression on validation conditions."""

from itertools import product

import numpy as np

from scbig.baselines._intercept import InterceptRegression
from scbig.baselines._kernel import KernelSettings, TargetKernel
from scbig.baselines._rule import Embeddings
from scbig.data import Effects

NOISES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
EMBEDDING_WEIGHTS = (0.0, 0.3, 1.0, 3.0)
# Of these, the best on the validation conditions of the ten splits of norman2019_resampled.
DEFAULT_NOISE = 2.0
DEFAULT_WEIGHT = 0.3
MAX_GROUPS = 1000


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

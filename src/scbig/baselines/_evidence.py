"""Choice of a kernel by the evidence of the training conditions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from scipy import linalg

from scbig.baselines._kernel import KernelSettings, TargetKernel
from scbig.baselines._regression import get_noisy_covariance
from scbig.data import Effects

NOISES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
INTERACTIONS = (0.0, 0.5, 1.0, 2.0)
# An embedding counts as much as the identity, or not at all.
EMBEDDING_WEIGHTS = (0.0, 1.0)
# Either all targets are alike by their cosine, or only close relatives. Odd powers keep opposites
# apart.
SHARPNESSES = (1, 7)
# What all targets share, beside what is particular to each.
MEANS = (1.0, 4.0)
CONTEXT_SHARES = (0.1, 0.4, 0.8)
MAX_GROUPS = 500


def choose_kernel(
    effects: Effects, embeddings: tuple[Mapping[str, np.ndarray], ...]
) -> TargetKernel:
    """Choose the weights of a kernel by the evidence of the training conditions.

    The marginal likelihood weighs fit against complexity, needs no held-out conditions, and
    tells the noise of a measurement from the interactions of targets.

    Parameters
    ----------
    effects
        Effects of the training conditions.
    embeddings
        Unit vectors of targets, see :class:`TargetKernel`.

    Returns
    -------
    The kernel with the largest evidence.
    """
    rows = np.linspace(0, len(effects) - 1, min(len(effects), MAX_GROUPS)).astype(int)
    effects = effects.subset(rows)
    scatter = np.asarray(effects.delta, dtype=np.float64)
    scatter = scatter @ scatter.T / scatter.shape[1]

    def choose(settings: Sequence[KernelSettings]) -> KernelSettings:
        kernels = [TargetKernel(embeddings, one) for one in settings]
        return max(kernels, key=lambda one: compute_evidence(effects, one, scatter)).settings

    best = choose(_list_settings(effects, len(embeddings)))
    # By itself, as another factor of the grid would triple its size.
    shares = CONTEXT_SHARES if best.context else ()
    return TargetKernel(
        embeddings, choose([best, *(replace(best, mean_context=share) for share in shares)])
    )


def _list_settings(effects: Effects, n_embeddings: int) -> list[KernelSettings]:
    """List what there is to choose from; what these conditions cannot show is left out."""
    is_combined = max(len(group) for group in effects.targets) > 1
    grid = product(
        NOISES,
        MEANS,
        INTERACTIONS if is_combined else (0.0,),
        product(EMBEDDING_WEIGHTS, repeat=n_embeddings),
        CONTEXT_SHARES if len(effects.control_mean) > 1 else (0.0,),
        SHARPNESSES,
    )
    return [
        KernelSettings(
            noise=noise,
            mean=mean,
            interaction=interaction,
            embedding=weights,
            context=context,
            mean_context=context,
            sharpness=sharpness,
        )
        for noise, mean, interaction, weights, context, sharpness in grid
        # Without embeddings nothing is raised to a power.
        if any(weights) or sharpness == SHARPNESSES[0]
    ]


def compute_evidence(effects: Effects, kernel: TargetKernel, scatter: np.ndarray) -> float:
    """Log marginal likelihood per gene, up to a constant.

    Genes share the kernel and one scale, at which the likelihood is largest
    (Rasmussen & Williams 2006, 5.4.1).

    Parameters
    ----------
    effects
        Effects of the training conditions.
    kernel
        Covariance of conditions.
    scatter
        Mean over genes of the products of effects, shape ``(n_groups, n_groups)``.

    Returns
    -------
    The evidence; larger is better.
    """
    factor = linalg.cholesky(get_noisy_covariance(effects, kernel), lower=True)
    half = linalg.solve_triangular(factor, scatter, lower=True)
    fit = np.trace(linalg.solve_triangular(factor, half, lower=True, trans="T"))
    log_determinant = 2 * np.log(np.diag(factor)).sum()
    return float(-0.5 * (len(effects) * np.log(fit / len(effects)) + log_determinant))


def compute_column_evidence(
    effects: Effects, kernel: TargetKernel, values: np.ndarray
) -> np.ndarray:
    """Log marginal likelihood of each column, with a scale of its own, up to a constant.

    Parameters
    ----------
    effects
        Effects of the training conditions, of which the numbers are not used.
    kernel
        Covariance of conditions.
    values
        One value a condition in each column, shape ``(n_groups, n_columns)``.

    Returns
    -------
    The evidence, shape ``(n_columns,)``; larger is better.
    """
    factor = linalg.cholesky(get_noisy_covariance(effects, kernel), lower=True)
    white = linalg.solve_triangular(factor, values, lower=True)
    log_determinant = 2 * np.log(np.diag(factor)).sum()
    # A column without any values fits every kernel.
    fit = np.maximum(np.mean(white**2, axis=0), np.finfo(np.float64).tiny)
    return -0.5 * (len(effects) * np.log(fit) + log_determinant)

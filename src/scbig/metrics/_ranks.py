"""Distances of every prediction to every real profile, and the rank of the own one."""

from typing import Literal, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from scbig.metrics._rounding import ROUNDING

Distance = Literal["l1", "l2", "cosine"]


class OwnRank(NamedTuple):
    """Where the own real profile stands among all, seen from each prediction.

    Parameters
    ----------
    n_closer
        Number of other real profiles that lie closer, ``(N,)``.
    n_tied
        Number of other real profiles that lie equally far, ``(N,)``.
    """

    n_closer: np.ndarray
    n_tied: np.ndarray


def rank_own(
    real: np.ndarray, predicted: np.ndarray, mask: np.ndarray, distance: Distance
) -> OwnRank:
    """Rank the own real profile of each prediction among all real profiles.

    Parameters
    ----------
    real
        Real profiles, ``(N, G)`` float64.
    predicted
        Predicted profiles in the same order, ``(N, G)`` float64.
    mask
        Genes to leave out of all distances of a prediction, ``(N, G)`` bool.
    distance
        Which distance.

    Returns
    -------
    OwnRank
        How many of the others are closer, and how many equally far.
    """
    # Ties have a tolerance, or rounding would decide their order.
    if distance == "cosine":
        distances = _compute_cosine_distances(real, predicted, mask)
        tolerance = np.full(len(real), ROUNDING)
    else:
        distances = _compute_norms(real, predicted, mask, distance)
        tolerance = ROUNDING * np.diagonal(distances)
    excess = distances - np.diagonal(distances)[:, None]
    is_closer = excess < -tolerance[:, None]
    is_tied = np.abs(excess) <= tolerance[:, None]
    return OwnRank(is_closer.sum(axis=1), is_tied.sum(axis=1) - 1)


def _compute_norms(
    real: np.ndarray, predicted: np.ndarray, mask: np.ndarray, distance: Distance
) -> np.ndarray:
    """Sum over the genes that nobody leaves out at once, over the others prediction by prediction.

    Adding what is kept, instead of taking the masked genes off the whole sum, keeps equal
    distances equal and zeros zero. The squares of l2 rank as their roots do.
    """
    is_special = mask.any(axis=0)
    name = "cityblock" if distance == "l1" else "sqeuclidean"
    # cdist knows no profiles without genes.
    total = np.zeros((len(predicted), len(real)))
    if not is_special.all():
        total += cdist(predicted[:, ~is_special], real[:, ~is_special], name)
    special = real[:, is_special]
    for p, (profile, keep) in enumerate(
        zip(predicted[:, is_special], ~mask[:, is_special], strict=True)
    ):
        difference = np.abs(special - profile)
        total[p] += (difference if distance == "l1" else difference**2) @ keep
    return total


def _compute_cosine_distances(
    real: np.ndarray, predicted: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """One minus cosine; the distance of or to a profile of zeros is 1."""
    kept = np.where(mask, 0.0, predicted)
    real_norm = np.sqrt((~mask).astype(np.float64) @ np.square(real).T)
    product = np.linalg.norm(kept, axis=1)[:, None] * real_norm
    cosine = kept @ real.T / np.where(product > 0, product, 1.0)
    return 1.0 - cosine

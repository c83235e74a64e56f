"""Perturbation discrimination: is a prediction closest to its own condition?"""

import numpy as np
from numpy.typing import ArrayLike

from scbig.metrics._means import check_means, check_pair
from scbig.metrics._ranks import Distance, rank_own
from scbig.metrics._target_mask import check_target_mask


def pds_l1(
    real: ArrayLike,
    predicted: ArrayLike,
    control: ArrayLike,
    *,
    target_mask: ArrayLike | None = None,
) -> np.ndarray:
    """Rank of the own real effect among all real effects, by L1 distance.

    For condition p, the real effects of all N conditions are ordered by their distance to the
    predicted effect of p, and the score is 1 - rank / N with the own condition's rank counted
    from 0. Target genes of p are left out of its distances, or the knock-down itself would tell
    p from all others; targets of the other conditions stay, so that where knock-downs are the
    strongest effects even one profile predicted for all conditions scores above 0.5: compare
    with the mean of the training conditions before believing a score. Equally distant
    conditions share the mean of their ranks, so that a score does not depend on their order;
    distances that differ by less than 1e-12 of their size are equal.
    Agrees with ``discrimination_score_l1`` of cell-eval 0.8.2 for single-gene labels; that
    library leaves nothing out for a label such as ``A+B``.

    Parameters
    ----------
    real
        Mean expression of the real cells, ``(C, G)``, log1p-normalised.
    predicted
        Mean expression of the predicted cells, ``(C, G)``.
    control
        Mean expression of the real control cells, ``(G,)`` or one row a condition, ``(C, G)``.
    target_mask
        True at the genes that a condition perturbs, boolean, ``(C, G)``, for example from
        :func:`get_target_mask`. By default no gene is left out.

    Returns
    -------
    numpy.ndarray
        Scores in [1/N, 1], ``(C,)``; higher is better. A single condition has nothing to be
        mistaken for and scores 1.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, or a condition perturbs every gene.
    """
    return _compute_scores(real, predicted, control, target_mask, "l1")


def pds_l2(
    real: ArrayLike,
    predicted: ArrayLike,
    control: ArrayLike,
    *,
    target_mask: ArrayLike | None = None,
) -> np.ndarray:
    """Rank of the own real effect among all real effects, by Euclidean distance.

    As :func:`pds_l1`, with another distance; agrees with ``discrimination_score_l2``.

    Parameters
    ----------
    real, predicted, control, target_mask
        As in :func:`pds_l1`.

    Returns
    -------
    numpy.ndarray
        Scores in [1/N, 1], ``(C,)``; higher is better.

    Raises
    ------
    ValueError
        As :func:`pds_l1`.
    """
    return _compute_scores(real, predicted, control, target_mask, "l2")


def pds_cosine(
    real: ArrayLike,
    predicted: ArrayLike,
    control: ArrayLike,
    *,
    target_mask: ArrayLike | None = None,
) -> np.ndarray:
    """Rank of the own real effect among all real effects, by cosine distance.

    As :func:`pds_l1`, with another distance; agrees with ``discrimination_score_cosine``. An
    effect of zero has the distance 1 to every other.

    Parameters
    ----------
    real, predicted, control, target_mask
        As in :func:`pds_l1`.

    Returns
    -------
    numpy.ndarray
        Scores in [1/N, 1], ``(C,)``; higher is better.

    Raises
    ------
    ValueError
        As :func:`pds_l1`.
    """
    return _compute_scores(real, predicted, control, target_mask, "cosine")


def pds_published(
    real: ArrayLike, predicted: ArrayLike, *, target_mask: ArrayLike | None = None
) -> np.ndarray:
    """Rank of the own real profile as scBIG's published code scores it.

    L1 distances between mean profiles instead of effects, and 1 - (rank - 1) / (N - 1) with the
    own condition's rank counted from 1: the share of the other conditions that lie farther. Where
    all conditions share their controls it orders them as :func:`pds_l1` does. Own targets are
    left out and ties share their rank, as there.

    Parameters
    ----------
    real
        Mean expression of the real cells, ``(C, G)``, log1p-normalised.
    predicted
        Mean expression of the predicted cells, ``(C, G)``.
    target_mask
        As in :func:`pds_l1`.

    Returns
    -------
    numpy.ndarray
        Scores in [0, 1], ``(C,)``; higher is better and 0.5 is chance.

    Raises
    ------
    ValueError
        As :func:`pds_l1`, and if there is only one condition.
    """
    one, other = _check_ranked(real, predicted, "pds_published")
    mask = check_target_mask(target_mask, one.shape)
    n_closer, n_tied = rank_own(one, other, mask, "l1")
    return 1.0 - (n_closer + n_tied / 2) / (len(one) - 1)


def centroid_accuracy(real: ArrayLike, predicted: ArrayLike) -> np.ndarray:
    """Share of the other conditions' centroids that lie farther than the own one.

    Euclidean distances between mean profiles over all genes, the targets included (Systema:
    Viñas Torné et al. 2025, doi:10.1038/s41587-025-02777-8). A centroid as far as the own one,
    up to rounding, is not farther.

    Parameters
    ----------
    real
        Mean expression of the real cells, ``(C, G)``, log1p-normalised.
    predicted
        Mean expression of the predicted cells, ``(C, G)``.

    Returns
    -------
    numpy.ndarray
        Shares in [0, 1], ``(C,)``; higher is better and 0.5 is chance.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, or there is only one condition.
    """
    one, other = _check_ranked(real, predicted, "centroid_accuracy")
    mask = check_target_mask(None, one.shape)
    n_closer, n_tied = rank_own(one, other, mask, "l2")
    return 1.0 - (n_closer + n_tied) / (len(one) - 1)


def _compute_scores(
    real: ArrayLike,
    predicted: ArrayLike,
    control: ArrayLike,
    target_mask: ArrayLike | None,
    distance: Distance,
) -> np.ndarray:
    means = check_means(real, predicted, control)
    mask = check_target_mask(target_mask, means.real.shape)
    n_closer, n_tied = rank_own(means.real_delta, means.predicted_delta, mask, distance)
    return 1.0 - (n_closer + n_tied / 2) / len(mask)


def _check_ranked(
    real: ArrayLike, predicted: ArrayLike, name: str
) -> tuple[np.ndarray, np.ndarray]:
    one, other = check_pair(real, predicted)
    if len(one) < 2:
        raise ValueError(f"{name} ranks a condition among others, and there is only one.")
    return one, other

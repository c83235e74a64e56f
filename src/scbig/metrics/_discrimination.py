"""Perturbation discrimination: is a prediction closest to its own condition?"""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from scbig.metrics._inputs import Averages, get_rounding
from scbig.metrics._means import check_means, check_pair

Distance = Literal["l1", "l2", "cosine"]


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
    distances that differ by no more than rounding of the means can do are equal.
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
    mask = _check_target_mask(target_mask, one.shape)
    n_closer, n_tied = _rank_own(one.array, other.array, one.rounding + other.rounding, mask, "l1")
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
    mask = _check_target_mask(None, one.shape)
    n_closer, n_tied = _rank_own(one.array, other.array, one.rounding + other.rounding, mask, "l2")
    return 1.0 - (n_closer + n_tied) / (len(one) - 1)


def get_target_mask(targets: Sequence[Collection[str]], gene_names: Sequence[str]) -> np.ndarray:
    """Mark the genes that each condition perturbs.

    Parameters
    ----------
    targets
        The perturbed genes of each of the C conditions; names that are not among the genes
        (unmeasured targets) mark nothing.
    gene_names
        Names of the G genes.

    Returns
    -------
    numpy.ndarray
        Boolean, ``(C, G)``.

    Raises
    ------
    ValueError
        If a condition is given as a string instead of a collection of names.
    """
    for genes in targets:
        if isinstance(genes, str):
            raise ValueError(f"targets holds the string {genes!r}; write [{genes!r}] instead.")
    names = np.asarray(gene_names, dtype=object)
    mask = np.zeros((len(targets), len(names)), dtype=bool)
    for row, genes in zip(mask, targets, strict=True):
        for gene in genes:
            row |= names == gene
    return mask


def _compute_scores(
    real: ArrayLike,
    predicted: ArrayLike,
    control: ArrayLike,
    target_mask: ArrayLike | None,
    distance: Distance,
) -> np.ndarray:
    means = check_means(real, predicted, control)
    mask = _check_target_mask(target_mask, means.real.shape)
    real_delta, delta = means.real_delta, means.predicted_delta
    # Another control would move both sides alike, but turn them.
    sides = (real_delta, delta) if distance == "cosine" else (means.real, means.predicted)
    rounding = sides[0].rounding + sides[1].rounding
    n_closer, n_tied = _rank_own(real_delta.effect, delta.effect, rounding, mask, distance)
    return 1.0 - (n_closer + n_tied / 2) / len(mask)


def _check_ranked(real: ArrayLike, predicted: ArrayLike, name: str) -> tuple[Averages, Averages]:
    one, other = check_pair(real, predicted)
    if len(one) < 2:
        raise ValueError(f"{name} ranks a condition among others, and there is only one.")
    return one, other


def _check_target_mask(target_mask: ArrayLike | None, shape: tuple[int, ...]) -> np.ndarray:
    """Check a mask of target genes; ``None`` marks nothing."""
    if target_mask is None:
        return np.zeros(shape, dtype=bool)
    mask = np.asarray(target_mask)
    if mask.shape != shape or mask.dtype != bool:
        raise ValueError(
            f"target_mask is {mask.dtype} of shape {mask.shape}; expected bool of shape {shape}. "
            "Make it with get_target_mask(targets, gene_names)."
        )
    if mask.all(axis=1).any():
        row = int(np.argmax(mask.all(axis=1)))
        raise ValueError(f"target_mask leaves no gene of condition {row} to compare.")
    return mask


class OwnRank(NamedTuple):
    """How many other real profiles lie closer than the own one, and equally far, ``(N,)``."""

    n_closer: np.ndarray
    n_tied: np.ndarray


def _rank_own(
    real: np.ndarray,
    predicted: np.ndarray,
    rounding: np.ndarray,
    mask: np.ndarray,
    distance: Distance,
) -> OwnRank:
    """Rank the own real profile of each prediction among all, without the genes of its mask."""
    if distance == "cosine":
        distances = _compute_cosine_distances(real, predicted, mask)
    else:
        distances = _compute_norms(real, predicted, mask, distance)
    own = np.diagonal(distances)
    # Ties have a tolerance, or rounding would decide their order.
    least = get_rounding(np.float64) * (1.0 if distance == "cosine" else own)
    tolerance = np.maximum(_compute_tolerance(predicted, rounding, mask, distance), least)
    excess = distances - own[:, None]
    is_closer = excess < -tolerance[:, None]
    is_tied = np.abs(excess) <= tolerance[:, None]
    return OwnRank(is_closer.sum(axis=1), is_tied.sum(axis=1) - 1)


def _compute_tolerance(
    predicted: np.ndarray, rounding: np.ndarray, mask: np.ndarray, distance: Distance
) -> np.ndarray:
    """How much of a difference of two distances rounding of the profiles can be, ``(N,)``.

    Errors of genes are independent, so that they add up as squares. A sum of absolute values takes
    all errors whole; a Euclidean distance takes each by the gene's share in a vector of length 1,
    and has no more than the largest; a cosine has that over the length of the effect.
    """
    kept = np.where(mask, 0.0, rounding)
    if distance == "l1":
        return np.asarray(np.linalg.norm(kept, axis=1))
    length = np.linalg.norm(np.where(mask, 0.0, predicted), axis=1)
    scale = np.where(length > 0, length, 1.0) if distance == "cosine" else 1.0
    return kept.max(axis=1) / scale


def _compute_norms(
    real: np.ndarray, predicted: np.ndarray, mask: np.ndarray, distance: Distance
) -> np.ndarray:
    """Sum over the genes that nobody leaves out at once, over the others prediction by prediction.

    Adding what is kept, instead of taking the masked genes off the whole sum, keeps equal
    distances equal and zeros zero.
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
    return total if distance == "l1" else np.sqrt(total)


def _compute_cosine_distances(
    real: np.ndarray, predicted: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """One minus cosine; the distance of or to a profile of zeros is 1."""
    kept = np.where(mask, 0.0, predicted)
    real_norm = np.sqrt((~mask).astype(np.float64) @ np.square(real).T)
    product = np.linalg.norm(kept, axis=1)[:, None] * real_norm
    cosine = kept @ real.T / np.where(product > 0, product, 1.0)
    return 1.0 - cosine

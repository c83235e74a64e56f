"""Perturbation discrimination: is a prediction closest to its own condition?"""

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import cosine_distances

from scbig.metrics._means import check_means


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
    conditions share the mean of their ranks, so that a score does not depend on their order.
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
        Scores in [1/N, 1], ``(C,)``; higher is better.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, or a condition perturbs every gene.
    """
    return _compute_scores(real, predicted, control, target_mask, "cityblock")


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
    return _compute_scores(real, predicted, control, target_mask, "euclidean")


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
    return np.array([np.isin(gene_names, list(genes)) for genes in targets], dtype=bool).reshape(
        len(targets), len(gene_names)
    )


_Metric = Literal["cityblock", "euclidean", "cosine"]


def _compute_scores(
    real: ArrayLike,
    predicted: ArrayLike,
    control: ArrayLike,
    target_mask: ArrayLike | None,
    metric: _Metric,
) -> np.ndarray:
    means = check_means(real, predicted, control)
    real_delta, predicted_delta = means.real_delta, means.predicted_delta
    is_kept = ~_check_mask(target_mask, real_delta.shape)
    scores = np.empty(len(real_delta))
    for p, keep in enumerate(is_kept):
        distance = _compute_distances(predicted_delta[p, keep], real_delta[:, keep], metric)
        scores[p] = 1.0 - _get_rank(distance, p) / len(distance)
    return scores


def _check_mask(target_mask: ArrayLike | None, shape: tuple[int, ...]) -> np.ndarray:
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


def _compute_distances(one: np.ndarray, many: np.ndarray, metric: _Metric) -> np.ndarray:
    if metric == "cosine":
        # SciPy's gives NaN for a zero vector, scikit-learn's 1.
        return cosine_distances(one[None, :], many)[0]
    return cdist(one[None, :], many, metric)[0]


def _get_rank(distance: np.ndarray, own: int) -> float:
    n_closer = np.count_nonzero(distance < distance[own])
    n_tied = np.count_nonzero(distance == distance[own]) - 1
    return n_closer + n_tied / 2

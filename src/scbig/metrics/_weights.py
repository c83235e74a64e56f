"""Which genes set a condition apart, and how right is a prediction if these count most?

Weights follow Mejia et al. 2025, arXiv:2506.22641.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, DTypeLike
from scipy import sparse

from scbig.metrics._inputs import Averages, Moments, get_rounding
from scbig.metrics._matched_cells import get_precision
from scbig.metrics._means import centre, check_means, check_pair

LONE_CELL = "1 real cell: weights of genes need at least 2"
NO_REST = "no other condition has real cells to compare with: weights of genes need some"


def weighted_mse(real: ArrayLike, predicted: ArrayLike, weights: ArrayLike) -> np.ndarray:
    """Weighted mean squared error of mean expression over genes.

    With weights from :func:`get_gene_weights` a prediction must be right where the condition
    differs from other perturbations, and the mean of all conditions is no longer a good one
    (Mejia et al. 2025, arXiv:2506.22641).

    Parameters
    ----------
    real
        Mean expression of the real cells, ``(C, G)``, log1p-normalised.
    predicted
        Mean expression of the predicted cells, ``(C, G)``.
    weights
        Weights, not negative, ``(C, G)``; each row is divided by its sum.

    Returns
    -------
    numpy.ndarray
        Errors, ``(C,)``; lower is better.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, or a row of weights is negative somewhere
        or zero everywhere.
    """
    one, other = check_pair(real, predicted)
    return (_check_weights(weights, one.shape) * np.square(other.array - one.array)).sum(axis=1)


def weighted_r2_delta(
    real: ArrayLike, predicted: ArrayLike, control: ArrayLike, weights: ArrayLike
) -> np.ndarray:
    """Weighted coefficient of determination of the effect over genes.

    One minus the weighted squared error of the predicted effect over the weighted variance of
    the real one (Mejia et al. 2025, arXiv:2506.22641). A prediction of no change scores at most
    0. Where the real effect is the same for all weighted genes, the ratio is undefined and
    scored as scikit-learn does: 1.0 if the prediction is exact and 0.0 if not.

    Parameters
    ----------
    real, predicted, weights
        As in :func:`weighted_mse`.
    control
        Mean expression of the real control cells, ``(G,)`` or one row a condition, ``(C, G)``;
        the mean of the training conditions instead gives effects relative to that.

    Returns
    -------
    numpy.ndarray
        Scores of at most 1, ``(C,)``; higher is better.

    Raises
    ------
    ValueError
        As :func:`weighted_mse`.
    """
    means = check_means(real, predicted, control)
    share = _check_weights(weights, means.real.shape)
    error = means.predicted_delta - means.real_delta
    centred, is_constant = centre(means.real_delta, share)
    variance = np.where(is_constant, 1.0, (share * np.square(centred)).sum(axis=1))
    is_exact = ~((share > 0) & (error.effect != 0)).any(axis=1)
    score = 1.0 - (share * np.square(error.array)).sum(axis=1) / variance
    return np.where(is_constant, is_exact.astype(np.float64), score)


def get_gene_weights(t_scores: ArrayLike) -> np.ndarray:
    """Turn t-scores into weights: absolute values, scaled to [0, 1] over genes, squared.

    The gene that sets a condition apart most has weight 1, the one that does least weight 0
    (Mejia et al. 2025, arXiv:2506.22641). An infinite score leaves weight 1 to the genes that
    have one and 0 to the others. Where all genes score alike none stands out: all weights are 1.

    Parameters
    ----------
    t_scores
        From :func:`compute_t_scores`, ``(C, G)``.

    Returns
    -------
    numpy.ndarray
        Weights in [0, 1], ``(C, G)``; for :func:`weighted_mse` and :func:`weighted_r2_delta`.

    Raises
    ------
    ValueError
        If the shape does not fit or a score is NaN.
    """
    size = np.abs(np.asarray(t_scores, dtype=np.float64))
    if size.ndim != 2 or 0 in size.shape:
        raise ValueError(f"t_scores has shape {size.shape}; expected conditions x genes.")
    if np.isnan(size).any():
        raise ValueError(f"t_scores holds {np.count_nonzero(np.isnan(size))} NaN.")
    is_infinite = np.isinf(size)
    has_infinite = is_infinite.any(axis=1, keepdims=True)
    size = np.where(has_infinite, is_infinite, size)
    low, high = size.min(axis=1, keepdims=True), size.max(axis=1, keepdims=True)
    span = high - low
    scaled = (size - low) / np.where(span > 0, span, 1.0)
    return np.square(np.where(span > 0, scaled, 1.0))


def compute_t_scores(
    cells: ArrayLike | sparse.sparray | sparse.spmatrix,
    labels: Sequence[str],
    conditions: Sequence[str],
) -> np.ndarray:
    """Welch's t of each condition's cells against all the other perturbed cells.

    Where a gene has no variance on either side, t is 0.0 if the means are equal and infinite
    if they are not. Mejia et al. (2025, arXiv:2506.22641) take scanpy's t-test with
    overestimated variance, which divides the variance of the others by the number of the
    condition's own cells; Welch's divides it by their own number.

    Parameters
    ----------
    cells
        Expression of the real perturbed cells, without controls, ``(n, G)``, dense or sparse,
        log1p-normalised.
    labels
        Condition of each cell, ``(n,)``. Cells of conditions that are not asked for count
        among the others.
    conditions
        The C conditions to compute rows for, each of at least two cells.

    Returns
    -------
    numpy.ndarray
        t-scores, positive where the condition is higher, ``(C, G)``.

    Raises
    ------
    ValueError
        If the shapes do not fit, a value is not finite, a condition has fewer than two cells or
        there are not two other cells to compare it with.
    """
    values = _check_cells(cells, labels)
    own = _compute_membership(labels, conditions)
    n_own = np.asarray(own.sum(axis=1), dtype=np.float64)
    _check_sizes(n_own, conditions, len(labels))
    squares = values**2
    return _compare_with_rest(
        CellSums(n_own[:, None], _to_dense(own @ values), _to_dense(own @ squares)),
        CellSums(np.array(len(labels)), values.sum(axis=0), squares.sum(axis=0)),
        get_precision(cells),
    )


def compute_weights(moments: Moments) -> tuple[np.ndarray, list[str]]:
    """Weigh genes by how they set a condition apart from the others of its context.

    The t-scores are those of :func:`scbig.metrics.compute_t_scores`, which takes the cells
    themselves: here they may be more than fit into memory.

    Returned are weights, ``(C, G)``, 1 where there are none; and for each condition why not.
    """
    n_rest = moments.n_cells.sum() - moments.n_cells
    problems = [
        LONE_CELL if own < 2 else NO_REST if rest < 2 else ""
        for own, rest in zip(moments.n_cells, n_rest, strict=True)
    ]
    is_weighed = np.array([not problem for problem in problems], dtype=bool)
    weights = np.ones_like(moments.total)
    if is_weighed.any():
        weights[is_weighed] = get_gene_weights(_compute_t_scores(moments, is_weighed))
    return weights, problems


def _compute_t_scores(moments: Moments, chosen: np.ndarray) -> np.ndarray:
    total, square = moments.total, moments.square
    if square is None:
        raise RuntimeError("Weights of genes were asked for without sums of squares.")
    return _compare_with_rest(
        CellSums(moments.n_cells[chosen, None], total[chosen], square[chosen]),
        CellSums(moments.n_cells.sum(), total.sum(axis=0), square.sum(axis=0)),
        moments.dtype,
    )


class CellSums(NamedTuple):
    """Numbers of cells ``(C, 1)``, sums of expression and of its squares ``(C, G)``."""

    n_cells: np.ndarray
    total: np.ndarray
    squares: np.ndarray


def _compare_with_rest(own: CellSums, everything: CellSums, dtype: DTypeLike) -> np.ndarray:
    """Compute Welch's t, ``(C, G)``, of own cells, read in a precision, against all the others."""
    rest = CellSums(
        everything.n_cells - own.n_cells,
        _subtract(everything.total, own.total),
        _subtract(everything.squares, own.squares),
    )
    (mean, error), (rest_mean, rest_error) = _get_moments(own, dtype), _get_moments(rest, dtype)
    difference = (Averages.read(mean, dtype) - Averages.read(rest_mean, dtype)).effect
    error = np.sqrt(error + rest_error)
    with np.errstate(divide="ignore"):
        return difference / np.where((error == 0) & (difference == 0), 1.0, error)


def _subtract(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Subtract sums, which are taken in float64 whatever the precision of the cells."""
    return (Averages.read(one) - Averages.read(other)).effect


def _get_moments(sums: CellSums, dtype: DTypeLike) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and squared standard error of the mean."""
    mean, mean_square = sums.total / sums.n_cells, sums.squares / sums.n_cells
    # Of a gene without variance the difference leaves a rounding error, of either sign.
    variance = np.maximum(_subtract(mean_square, np.square(mean)), 0.0)
    variance[variance <= get_rounding(dtype) ** 2 * mean_square] = 0.0
    return mean, variance / (sums.n_cells - 1)


def _check_weights(weights: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Check weights and scale each row to the sum 1."""
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"weights has shape {array.shape}; expected {shape}.")
    if not np.isfinite(array).all() or (array < 0).any():
        n_bad = np.count_nonzero(~np.isfinite(array) | (array < 0))
        raise ValueError(f"weights holds {n_bad} values that are negative or not finite.")
    total = array.sum(axis=1, keepdims=True)
    if (total == 0).any():
        raise ValueError(f"The weights of condition {int(np.argmin(total))} are all 0.")
    return array / total


def _check_cells(
    cells: ArrayLike | sparse.sparray | sparse.spmatrix, labels: Sequence[str]
) -> np.ndarray | sparse.csr_array:
    if sparse.issparse(cells):
        values = sparse.csr_array(cells, dtype=np.float64)
    else:
        values = np.asarray(cells, dtype=np.float64)
    if values.ndim != 2 or len(labels) != values.shape[0]:
        raise ValueError(
            f"cells has shape {values.shape} and there are {len(labels)} labels; "
            "expected cells x genes and one label a cell."
        )
    stored = values.data if sparse.issparse(values) else values
    if not np.isfinite(stored).all():
        raise ValueError("cells holds values that are not finite.")
    return values


def _compute_membership(labels: Sequence[str], conditions: Sequence[str]) -> sparse.csr_array:
    """One row a condition with ones at its cells, ``(C, n)``."""
    index = pd.Index(conditions)
    if index.has_duplicates:
        raise ValueError(f"conditions holds {list(index[index.duplicated()])} more than once.")
    rows = index.get_indexer(pd.Index(labels))
    (columns,) = np.nonzero(rows >= 0)
    ones = np.ones(len(columns))
    return sparse.csr_array((ones, (rows[columns], columns)), shape=(len(index), len(rows)))


def _check_sizes(n_own: np.ndarray, conditions: Sequence[str], n_cells: int) -> None:
    small = [str(name) for name, n in zip(conditions, n_own, strict=True) if n < 2]
    if small:
        raise ValueError(
            f"{len(small)} conditions have fewer than 2 cells, for example {small[:3]}; leave "
            "them out of conditions. Their cells still count among the others."
        )
    if len(n_own) and n_cells - n_own.max() < 2:
        raise ValueError(
            f"{conditions[int(n_own.argmax())]!r} has {int(n_own.max())} of {n_cells} cells: no "
            "two perturbed cells are left to compare it with."
        )


def _to_dense(matrix: np.ndarray | sparse.csr_array) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()

"""How clearly the cells of a condition differ from all the other perturbed cells."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse

from scbig.metrics._rounding import subtract


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
    sums = CellSums(n_own[:, None], _to_dense(own @ values), _to_dense(own @ squares))
    rest = CellSums(
        len(labels) - sums.n_cells,
        subtract(values.sum(axis=0), sums.total),
        subtract(squares.sum(axis=0), sums.squares),
    )
    return compute_welch_t(sums, rest)


class CellSums(NamedTuple):
    """Sums over the cells of each condition, or over the cells of all others.

    Parameters
    ----------
    n_cells
        Number of cells, at least 2, ``(C, 1)``.
    total
        Sums of expression, ``(C, G)``.
    squares
        Sums of squared expression, ``(C, G)``.
    """

    n_cells: np.ndarray
    total: np.ndarray
    squares: np.ndarray


def compute_welch_t(own: CellSums, rest: CellSums) -> np.ndarray:
    """Compute Welch's t from sums alone, for screens that do not fit into memory.

    Parameters
    ----------
    own
        Sums over the cells of each condition.
    rest
        Sums over the cells that each is compared with.

    Returns
    -------
    numpy.ndarray
        As :func:`compute_t_scores`, ``(C, G)``.
    """
    (mean, error), (rest_mean, rest_error) = _get_moments(own), _get_moments(rest)
    difference, error = subtract(mean, rest_mean), np.sqrt(error + rest_error)
    with np.errstate(divide="ignore"):
        return difference / np.where((error == 0) & (difference == 0), 1.0, error)


def _get_moments(sums: CellSums) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and squared standard error of the mean."""
    mean, mean_square = sums.total / sums.n_cells, sums.squares / sums.n_cells
    # Of a gene without variance the difference leaves a rounding error, of either sign.
    variance = np.maximum(subtract(mean_square, np.square(mean)), 0.0)
    return mean, variance / (sums.n_cells - 1)


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

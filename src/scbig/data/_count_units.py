"""What counts stand behind log1p values? Normalising makes one count of a cell one fixed value.

The judges want counts of every cell, so that each is read here as the fewest that fit. What is
built on counts reads them by :func:`scbig.cells.recover_counts`, which leaves doubtful cells out.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from scbig._constants import COUNTS
from scbig.data._check_numbers import name_matrix
from scbig.data._check_values import check_expression
from scbig.data._expression import get_matrix

# A cell without a count of one has the smallest count of two or three, hardly ever of more.
MAX_SMALLEST = 10
N_FIRST = 16
# Of a float32 log1p value, as a share of the count; beside it what is allowed of any count.
_SHARE, _ROOM, _MOST = 4e-6, 1e-3, 0.2


def find_count_units(matrix: Any) -> np.ndarray:
    """Find what one count of each cell is worth after normalising.

    ``expm1`` of the values of a cell are whole multiples of ``target_sum / depth``, whatever the
    target sum was and whatever genes were left out since. It is the largest such value of which
    all are multiples. Where the counts of a cell share a divisor, which in a cell of many genes
    they do not, it is that many times too large.

    Parameters
    ----------
    matrix
        Log1p values, shape ``(n_cells, n_genes)``, dense or sparse.

    Returns
    -------
    The value of one count of each cell, shape ``(n_cells,)``; NaN for cells that are no
    normalised counts and for empty ones.
    """
    # scipy knows no matrices of 16 bits.
    dtype = np.float32 if matrix.dtype == np.float16 else None
    rows = sparse.csr_matrix(matrix, dtype=dtype)
    return np.array(
        [_find_unit(rows.data[start:stop]) for start, stop in pairwise(rows.indptr)],
        dtype=np.float64,
    )


def _find_unit(values: np.ndarray) -> float:
    """Divide by the smallest value, taken for 1, 2, 3 ... counts until all are whole."""
    values = np.expm1(values[values > 0].astype(np.float64))
    if not len(values):
        return np.nan
    smallest = np.arange(1, MAX_SMALLEST + 1)[:, None]
    # A few values tell most numbers apart, and most cells.
    few = smallest * (values[:N_FIRST] / values.min())
    for number in smallest[_is_whole(few)]:
        counts = values / values.min() * number
        if _is_whole(counts):
            return float(values.sum() / np.rint(counts).sum())
    return np.nan


def _is_whole(counts: np.ndarray) -> np.ndarray:
    room = np.minimum(_ROOM + _SHARE * counts, _MOST)
    return np.all(np.abs(counts - np.rint(counts)) <= room, axis=-1)


def round_to_counts(matrix: Any, units: np.ndarray) -> sparse.csr_matrix:
    """Turn log1p values into counts.

    Parameters
    ----------
    matrix
        Log1p values, shape ``(n_cells, n_genes)``, dense or sparse.
    units
        What one count of each cell is worth, shape ``(n_cells,)``.

    Returns
    -------
    Whole numbers, as float32.
    """
    rows = sparse.csr_matrix(matrix, dtype=np.float64, copy=True)
    rows.data = np.rint(np.expm1(rows.data) / np.repeat(units, np.diff(rows.indptr)))
    rows.eliminate_zeros()
    return rows.astype(np.float32)


def is_counts(matrix: Any) -> bool:
    """Whether all values are whole and not negative, and some are there."""
    values = matrix.data if sparse.issparse(matrix) else np.asarray(matrix)
    is_whole = bool(np.all(values == np.rint(values))) and bool(np.all(values >= 0))
    return is_whole and bool(np.any(values > 0))


def check_log1p(adata: AnnData, layer: str | None, name: str) -> None:
    """Refuse what no log1p values are, as what evaluates does, before it is exponentiated."""
    try:
        check_expression(adata, layer)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def get_counts(adata: AnnData, layer: str | None, name: str) -> tuple[sparse.csr_matrix, str]:
    """Return the counts of measured cells, wherever they are.

    Parameters
    ----------
    adata
        Measured cells.
    layer
        Layer with their expression; ``None`` for ``X``.
    name
        What errors call them.

    Returns
    -------
    The counts ``(n_cells, n_genes)`` as float32, and where they come from: ``layers["counts"]``
    if it is there, the expression itself if it is counts, else recovered from log1p values.

    Raises
    ------
    ValueError
        When ``layers["counts"]`` holds none, the expression is neither counts nor log1p values,
        or they cannot be recovered.
    """
    where = name_matrix(layer)
    if COUNTS in adata.layers:
        matrix, where = adata.layers[COUNTS], f"layers[{COUNTS!r}]"
        if not is_counts(matrix):
            raise ValueError(
                f"{name}.{where} holds values that are no counts. Put the counts there, or take "
                f"it away to have them recovered: del {name}.{where}"
            )
    else:
        matrix = get_matrix(adata, layer)
    if is_counts(matrix):
        return sparse.csr_matrix(matrix, dtype=np.float32), where
    check_log1p(adata, layer, name)
    units = find_count_units(matrix)
    is_lost = np.isnan(units) & (np.ravel((matrix > 0).sum(axis=1)) > 0)
    if is_lost.any():
        raise ValueError(
            f"{int(is_lost.sum())} of the {adata.n_obs} cells in {name}.{where} are neither "
            f"counts nor log1p of normalised counts, the first being "
            f"{str(adata.obs_names[np.argmax(is_lost)])!r}. Give the counts: "
            f"{name}.layers[{COUNTS!r}] = ..."
        )
    return round_to_counts(matrix, np.nan_to_num(units, nan=1.0)), f"recovered from {where}"

"""As many real as predicted cells, whatever the order in which they are given."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from scbig.metrics._inputs import get_rounding

CellsLike: TypeAlias = ArrayLike | sparse.csr_matrix | sparse.csr_array

# Of each side: for the time of the classifier, and for one power of tests.
MAX_CELLS_A_SIDE = 500


def read_cells(cells: CellsLike, name: str, *, n_least: int, n_genes: int = 0) -> sparse.csr_array:
    """Check cells; float64, as single precision loses small variances."""
    matrix: Any = cells if sparse.issparse(cells) else np.asarray(cells, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError(f"{name} has shape {matrix.shape}; expected cells x genes.")
    if matrix.shape[0] < n_least:
        raise ValueError(f"{name} has {matrix.shape[0]} cells; at least {n_least} are needed.")
    if n_genes and matrix.shape[1] != n_genes:
        raise ValueError(f"real has {n_genes} genes and {name} {matrix.shape[1]}.")
    found = sparse.csr_array(matrix, dtype=np.float64)
    if not np.isfinite(found.data).all():
        raise ValueError(f"{name} holds values that are not finite.")
    if found.nnz and not found.data.all():
        found = found.copy()
        found.eliminate_zeros()
    return found


def read_pair(
    real: CellsLike, predicted: CellsLike, *, n_least: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Check both sides, which must have the same genes."""
    x = read_cells(real, "real", n_least=n_least)
    return x, read_cells(predicted, "predicted", n_least=n_least, n_genes=x.shape[1])


def get_precision(*cells: Any) -> np.dtype:
    """Return the least precise type of some matrices, dense or sparse, as a type of floats."""
    found = [np.dtype(c.dtype if hasattr(c, "dtype") else np.float64) for c in cells]
    is_short = [dtype in (np.float16, np.float32) for dtype in found]
    floats = [dtype for dtype, short in zip(found, is_short, strict=True) if short]
    return max(floats, key=get_rounding, default=np.dtype(np.float64))


def level_precision(
    groups: Sequence[sparse.csr_array], given: Sequence[CellsLike]
) -> list[sparse.csr_array]:
    """Round groups of cells to the least precise of what was given.

    Or equal values would differ by rounding: a test ranks one above the other, and a classifier
    tells them apart.
    """
    precision = get_precision(*given)
    values = [cells.data.astype(precision).astype(np.float64) for cells in groups]
    return [
        sparse.csr_array((data, cells.indices, cells.indptr), shape=cells.shape)
        for data, cells in zip(values, groups, strict=True)
    ]


def match_numbers(*sides: sparse.csr_array) -> list[sparse.csr_array]:
    """Take as many cells of each side as the smallest has, at most 500.

    More are drawn by a hash of what they hold: the draw is random, but the same whatever the
    order of cells and genes, and the same real cells are drawn for every prediction.
    """
    n_most = min(MAX_CELLS_A_SIDE, *(cells.shape[0] for cells in sides))
    return [_draw_cells(cells, n_most) for cells in sides]


def _draw_cells(cells: sparse.csr_array, n_most: int) -> sparse.csr_array:
    if cells.shape[0] <= n_most:
        return cells
    return cells[np.argsort(hash_content(cells)[0], kind="stable")[:n_most]]


def hash_content(cells: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Give each cell and gene a random number that depends on the values alone, not on places.

    A gene is told by its values and the cells that have them, a cell by its values and genes;
    twice around, as in the colour refinement of graphs. Sums of integers have no order.
    """
    entries = cells.tocoo()
    bits = entries.data.astype(np.float32).view(np.uint32).astype(np.uint64)
    row, column = entries.row, entries.col
    of_cells = np.zeros(cells.shape[0], dtype=np.uint64)
    of_genes = np.zeros(cells.shape[1], dtype=np.uint64)
    for _ in range(2):
        of_genes[:] = 0
        np.add.at(of_genes, column, _mix(bits ^ _mix(of_cells[row])))
        of_cells[:] = 0
        np.add.at(of_cells, row, _mix(bits ^ _mix(of_genes[column])))
    return of_cells, of_genes


def _mix(values: np.ndarray) -> np.ndarray:
    """Scramble integers, as SplitMix64 does (Steele et al. 2014, doi:10.1145/2660193.2660195)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))

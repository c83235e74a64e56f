"""Which counts stand behind log1p values, found cell by cell."""

import numpy as np
from scipy import sparse

from scbig.cells._counts import CellCounts, get_unit, has_one_sum, make_recovered, read_values

# Log odds that a cell's smallest value is one count, and not two or three, for it to be believed;
# more where genes were dropped after normalising, and counts of one with them.
MIN_EVIDENCE = np.log(1e4)
MIN_EVIDENCE_DROPPED = np.log(1e6)
# Of fewer positive values, all are whole multiples of the smallest too often by chance.
_N_TELLING = 3


def recover_counts(
    expression: sparse.spmatrix | np.ndarray, base: float | None = None
) -> CellCounts:
    """Find the counts that log1p-normalised values were made of, cell by cell.

    Normalising multiplies the counts of a cell by one number. Where a gene has one count, this
    number is the cell's smallest positive value before the logarithm, and all others are whole
    multiples of it, within the rounding of the matrix's type. A cell is not recovered where they
    are not, and where they are but the smallest value may as well be two or three counts, as
    after most genes are dropped. Which it is follows from how counts of each gene are distributed
    in the screen (geometric above zero, its mean growing with depth), and from how many cells
    plainly have no count of one: one count has to be 10,000 times as likely, 1,000,000 times
    where genes were dropped. Other cells are flagged and never guessed.

    Parameters
    ----------
    expression
        Cells x genes, log1p-normalised to any target sum; an array or a sparse matrix, in float32
        or float64.
    base
        Base of the logarithm; ``None`` for the natural one.

    Returns
    -------
    The counts; ``is_recovered`` flags the cells. Depth is the sum of a cell's counts where cells
    sum to one target sum.

    Raises
    ------
    ValueError
        When values are negative or not finite.
    """
    values = read_values(expression)
    eps = np.finfo(values.dtype).eps
    nats = values.data.astype(np.float64) * get_unit(base)
    scaled = np.expm1(nats)
    row = np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))
    error = eps * (4 + 2 * nats * (1 + scaled) / scaled)
    unit, unit_error = _find_smallest(scaled, error, values.indptr)
    ratio = scaled / unit[row]
    whole = np.rint(ratio)
    tolerance = 2 * ratio * (error + unit_error[row])
    is_odd = (np.abs(ratio - whole) > tolerance) | (tolerance > 0.25)
    is_recovered = np.isfinite(unit)
    is_recovered[row[is_odd]] = False
    n_positive = np.diff(values.indptr)
    evidence = _weigh_seen(is_recovered, n_positive) + _weigh_one_count(
        whole, values.indices, row, unit, is_recovered & (n_positive >= _N_TELLING), values.shape
    )
    total = np.bincount(row, scaled, minlength=values.shape[0])
    is_closed = has_one_sum(total[n_positive > 0])
    is_recovered &= evidence >= (MIN_EVIDENCE if is_closed else MIN_EVIDENCE_DROPPED)
    return make_recovered(values, whole, row, total, is_recovered, base)


def _find_smallest(
    scaled: np.ndarray, error: np.ndarray, indptr: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Smallest positive value of each row and the largest relative error; NaN for empty rows."""
    smallest = np.full(len(indptr) - 1, np.nan)
    largest = np.full(len(indptr) - 1, np.nan)
    filled = np.diff(indptr) > 0
    if filled.any():
        smallest[filled] = np.minimum.reduceat(scaled, indptr[:-1][filled])
        largest[filled] = np.maximum.reduceat(error, indptr[:-1][filled])
    return smallest, largest


def _weigh_seen(is_whole: np.ndarray, n_positive: np.ndarray) -> np.ndarray:
    """Log odds before the counts are looked at, from cells that plainly have no count of one.

    Such cells have values that are no whole multiples of the smallest. Those where all are, by
    chance, are rarer, if three or more values are positive. Cells are compared with those that
    have about as many.
    """
    size = np.log2(np.maximum(n_positive, 1)).astype(np.int64)
    n = np.bincount(size)
    n_plain = np.bincount(size, ~is_whole & (n_positive > 0))
    odds = np.log((n + 1) / (n_plain + 1))[size]
    return np.where(n_positive >= _N_TELLING, odds, -np.inf)


def _weigh_one_count(
    whole: np.ndarray,
    gene: np.ndarray,
    row: np.ndarray,
    unit: np.ndarray,
    is_whole: np.ndarray,
    shape: tuple[int, int],
) -> np.ndarray:
    """Log odds, for each cell, that its smallest value is one count and not two or three."""
    use = is_whole[row]
    if not use.any():
        return np.zeros(shape[0])
    k, gene, cell = whole[use], gene[use], row[use]
    # Relative depth, were the smallest value one count.
    depth = np.nanmedian(unit[is_whole]) / unit[cell]
    n = np.bincount(gene, depth, minlength=shape[1])
    overall = max((k - 1).sum() / depth.sum(), 1e-3)
    # Two cells' worth of the mean of all genes keeps rare genes from being certain.
    excess = (np.bincount(gene, k - 1, minlength=shape[1]) + 2 * overall) / (n + 2)
    one = _log_geometric(k, excess[gene] * depth)
    odds = [
        np.bincount(cell, one - _log_geometric(c * k, excess[gene] * depth * c), shape[0])
        for c in (2, 3)
    ]
    return np.minimum(*odds)


def _log_geometric(k: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """Log probability of counts that are geometric from 1 on, with mean ``1 + excess``."""
    return (k - 1) * (np.log(excess) - np.log1p(excess)) - np.log1p(excess)

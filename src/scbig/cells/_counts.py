"""Which counts stand behind log1p values, and which values behind counts."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

# Log odds that a cell's smallest value is one count, and not two or three, for it to be believed;
# more where genes were dropped after normalising, and counts of one with them.
MIN_EVIDENCE = np.log(1e4)
MIN_EVIDENCE_DROPPED = np.log(1e6)
# Rows are taken to sum to one target sum where their sums differ by less.
SUM_TOLERANCE = 1e-3
# Of fewer positive values, all are whole multiples of the smallest too often by chance.
_N_TELLING = 3
_N_SHOWN = 3


@dataclass(frozen=True)
class CellCounts:
    """Counts of cells, and how log1p values are made of them.

    A value is ``log(1 + target_sum * count / depth)`` to the logarithm's base.

    Attributes
    ----------
    counts
        Cells x genes, CSR of int32. Cells that are not recovered are empty.
    depth
        Depth of each cell, in counts, shape ``(n_cells,)``; NaN where it is not recovered.
    total
        What the values of each cell sum to before the logarithm, shape ``(n_cells,)``.
    target_sum
        The sum of which ``depth`` is that of a cell: the common one of all cells where there is
        one, else the median.
    is_recovered
        Whether the counts of a cell are known, shape ``(n_cells,)``.
    base
        Base of the logarithm; ``None`` for the natural one.
    """

    counts: sparse.csr_matrix
    depth: np.ndarray
    total: np.ndarray
    target_sum: float
    is_recovered: np.ndarray
    base: float | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the cells sum to one target sum, so that a cell's depth is its counts' sum.

        They do not where genes were left out after normalising.
        """
        off = np.abs(self.total[self.is_recovered] / self.target_sum - 1)
        return bool((off <= SUM_TOLERANCE).all())

    def subset(self, rows: np.ndarray) -> "CellCounts":
        """Choose cells.

        Parameters
        ----------
        rows
            Row numbers, or a mask of shape ``(n_cells,)``.

        Returns
        -------
        The counts of these cells; the target sum stays.
        """
        return replace(
            self,
            counts=self.counts[rows],
            depth=self.depth[rows],
            total=self.total[rows],
            is_recovered=self.is_recovered[rows],
        )


def compute_log1p(
    counts: sparse.csr_matrix, depth: np.ndarray, target_sum: float, base: float | None = None
) -> sparse.csr_matrix:
    """Normalise counts to a target sum and take log1p.

    Parameters
    ----------
    counts
        Cells x genes.
    depth
        Depth of each cell, shape ``(n_cells,)``; cells of depth 0 have no counts.
    target_sum
        Counts of a cell after normalising.
    base
        Base of the logarithm; ``None`` for the natural one.

    Returns
    -------
    Values, CSR of float32.
    """
    counts = sparse.csr_matrix(counts)
    factor = target_sum / np.repeat(depth, np.diff(counts.indptr))
    values = np.log1p(counts.data * factor) / _get_unit(base)
    parts = (values.astype(np.float32), counts.indices, counts.indptr)
    return sparse.csr_matrix(parts, shape=counts.shape)


def normalise_counts(
    counts: sparse.spmatrix | np.ndarray,
    target_sum: float | None = 1e4,
    base: float | None = None,
) -> CellCounts:
    """Take counts as they are, to be normalised by the sum of each cell.

    Parameters
    ----------
    counts
        Cells x genes, whole numbers.
    target_sum
        Counts of a cell after normalising; ``None`` for the median depth, as in scanpy.
    base
        Base of the logarithm; ``None`` for the natural one.

    Returns
    -------
    The counts with their depths. Cells without any count are not recovered; those of the others
    are values by :func:`compute_log1p`.

    Raises
    ------
    ValueError
        When values are negative, not finite or no whole numbers.
    """
    whole = _read_counts(counts)
    depth = np.asarray(whole.sum(axis=1), dtype=np.float64).ravel()
    has_counts = depth > 0
    if target_sum is None:
        target_sum = float(np.median(depth[has_counts])) if has_counts.any() else 1.0
    total = np.where(has_counts, target_sum, 0.0)
    depth[~has_counts] = np.nan
    return CellCounts(whole, depth, total, float(target_sum), has_counts, base)


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
    values = _read_values(expression)
    eps = np.finfo(values.dtype).eps
    nats = values.data.astype(np.float64) * _get_unit(base)
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
    is_closed = _is_closed(total[n_positive > 0])
    is_recovered &= evidence >= (MIN_EVIDENCE if is_closed else MIN_EVIDENCE_DROPPED)
    return _make_recovered(values, whole, row, total, is_recovered, base)


def check_counts(
    counts: sparse.spmatrix | np.ndarray,
    expression: sparse.spmatrix | np.ndarray,
    base: float | None = None,
) -> CellCounts:
    """Check that counts and log1p values are those of the same cells.

    They are where each cell's values, before the logarithm, are its counts times one number.

    Parameters
    ----------
    counts
        Cells x genes, whole numbers.
    expression
        The same cells and genes, log1p-normalised to any target sum.
    base
        Base of the logarithm; ``None`` for the natural one.

    Returns
    -------
    The counts with the depths that the values tell.

    Raises
    ------
    ValueError
        When shapes differ, counts are no whole numbers, or some cells disagree: the message
        counts them and names the first.
    """
    whole, values = _read_counts(counts), _read_values(expression)
    if whole.shape != values.shape:
        raise ValueError(
            f"The counts have shape {whole.shape} and the expression {values.shape}: give the "
            "counts of the same cells and genes."
        )
    disagrees, total = _find_disagreement(whole, values, base)
    if disagrees.any():
        raise ValueError(
            f"The counts of {int(disagrees.sum())} of {len(disagrees)} cells do not agree with "
            f"their expression, the first is cell {int(np.argmax(disagrees))}: expression is to "
            "be log1p of the counts times one number for each cell. Normalise the counts again: "
            'adata.X = adata.layers["counts"].copy(); sc.pp.normalize_total(adata, '
            "target_sum=1e4); sc.pp.log1p(adata)"
        )
    row = np.repeat(np.arange(whole.shape[0]), np.diff(whole.indptr))
    has_counts = np.diff(whole.indptr) > 0
    return _make_recovered(whole, whole.data, row, total, has_counts, base)


def _get_unit(base: float | None) -> float:
    """Natural units of one unit of the logarithm."""
    return 1.0 if base is None else float(np.log(base))


def _is_closed(total: np.ndarray) -> bool:
    """Whether all cells sum to one number."""
    return bool(len(total)) and bool(np.ptp(total) <= SUM_TOLERANCE * total.max())


def _read_values(expression: sparse.spmatrix | np.ndarray) -> sparse.csr_matrix:
    """Positive values as canonical CSR, in their own precision."""
    values = sparse.csr_matrix(expression, copy=True)
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float32)
    if not np.isfinite(values.data).all() or (values.data < 0).any():
        n_bad = int((~np.isfinite(values.data) | (values.data < 0)).sum())
        raise ValueError(
            f"The expression has {n_bad} values that are negative or not finite: log1p-normalised "
            "counts have none. Give the matrix as it was before scaling."
        )
    values.sum_duplicates()
    values.eliminate_zeros()
    return values


def _read_counts(counts: sparse.spmatrix | np.ndarray) -> sparse.csr_matrix:
    """Counts as canonical CSR of int32."""
    matrix = sparse.csr_matrix(counts, copy=True)
    # Not equal to its rounding is also what is not a number.
    is_bad = (matrix.data < 0) | ~(matrix.data == np.rint(matrix.data)) | np.isinf(matrix.data)
    if is_bad.any():
        shown = ", ".join(f"{value:g}" for value in matrix.data[is_bad][:_N_SHOWN])
        raise ValueError(
            f"{int(is_bad.sum())} of the counts are no whole numbers from 0: {shown}. Give raw "
            "counts, as they were before normalising."
        )
    matrix = matrix.astype(np.int32)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


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


def _make_recovered(
    matrix: sparse.csr_matrix,
    whole: np.ndarray,
    row: np.ndarray,
    total: np.ndarray,
    is_recovered: np.ndarray,
    base: float | None,
) -> CellCounts:
    """Keep the counts of recovered cells, and find depths on one target sum."""
    keep = is_recovered[row]
    n_kept = np.bincount(row[keep], minlength=len(total))
    parts = (
        whole[keep].astype(np.int32),
        matrix.indices[keep],
        np.concatenate([[0], np.cumsum(n_kept)]),
    )
    counts = sparse.csr_matrix(parts, shape=matrix.shape)
    target_sum = float(np.median(total[is_recovered])) if is_recovered.any() else np.nan
    depth = np.full(len(total), np.nan)
    n_counts = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    depth[is_recovered] = n_counts[is_recovered] * target_sum / total[is_recovered]
    found = CellCounts(counts, depth, total, target_sum, is_recovered, base)
    if found.is_closed:
        # Without the rounding of the values that tell it.
        depth[is_recovered] = n_counts[is_recovered]
    return found


def _find_disagreement(
    counts: sparse.csr_matrix, values: sparse.csr_matrix, base: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Which cells have values that are not their counts times one number, and their totals."""
    n_cells = counts.shape[0]
    scaled = values.astype(np.float64)
    nats = scaled.data * _get_unit(base)
    scaled.data = np.expm1(nats)
    total = np.asarray(scaled.sum(axis=1)).ravel()
    n_counts = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    factor = np.divide(total, n_counts, out=np.zeros(n_cells), where=n_counts > 0)
    expected = sparse.diags_array(factor) @ counts.astype(np.float64)
    difference = np.abs(sparse.csr_matrix(scaled - expected)).tocoo()
    # The relative error of a value before the logarithm; a sum over genes has no larger one.
    slack = np.finfo(values.dtype).eps * (16 + 8 * nats.max(initial=1.0))
    size = np.asarray(scaled.maximum(expected)[difference.row, difference.col]).ravel()
    disagrees = np.zeros(n_cells, dtype=bool)
    disagrees[difference.row[difference.data > slack * size]] = True
    return disagrees | ((total > 0) != (n_counts > 0)), total

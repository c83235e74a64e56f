"""Counts of cells, and the log1p values that are made of them."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

# Rows are taken to sum to one target sum where their sums differ by less.
SUM_TOLERANCE = 1e-3
# How near to the target sum wanted means may come, from where those of controls are.
_NEAR = 0.9
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
    values = np.log1p(counts.data * factor) / get_unit(base)
    parts = (values.astype(np.float32), counts.indices.copy(), counts.indptr.copy())
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
    whole = _read_whole(counts)
    depth = np.asarray(whole.sum(axis=1), dtype=np.float64).ravel()
    has_counts = depth > 0
    if target_sum is None:
        target_sum = float(np.median(depth[has_counts])) if has_counts.any() else 1.0
    total = np.where(has_counts, target_sum, 0.0)
    depth[~has_counts] = np.nan
    return CellCounts(whole, depth, total, float(target_sum), has_counts, base)


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
    whole, values = _read_whole(counts), read_values(expression)
    if whole.shape != values.shape:
        raise ValueError(
            f"The counts have shape {whole.shape} and the expression {values.shape}: give the "
            "counts of the same cells and genes."
        )
    disagrees, total = _find_disagreement(whole, values, base)
    if disagrees.any() and _is_rounded(whole, values, base):
        raise ValueError(
            f"The expression of {int(disagrees.sum())} of {len(disagrees)} cells is that of their "
            "counts but for its rounding to 16 bits (float16), which hides the counts; a cast to "
            "float32 does not bring them back. Normalise them again: adata.X = adata.layers"
            '["counts"].astype("float32"); sc.pp.normalize_total(adata, target_sum=1e4); '
            "sc.pp.log1p(adata)"
        )
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
    return make_recovered(whole, whole.data, row, total, has_counts, base)


def scale_counts(found: CellCounts, target_sum: float) -> CellCounts:
    """Let depths be told as those of a screen model; values stay what they are.

    Parameters
    ----------
    found
        Counts of cells.
    target_sum
        The target sum of a screen model.

    Returns
    -------
    The same counts. Where cells sum to one target sum, whichever it is, depths are sums of counts
    and stay; else they are those at the given target sum.
    """
    if found.is_closed:
        return found
    depth = found.depth * (target_sum / found.target_sum)
    return replace(found, depth=depth, target_sum=target_sum)


def find_most(controls: CellCounts) -> float:
    """Find what wanted means may add up to before the logarithm, in cells of one target sum.

    A mean logarithm is at most the logarithm of the mean, so that means add up to less than the
    target sum; by how much less depends on how cells vary.

    Parameters
    ----------
    controls
        Control cells, which tell how cells vary.

    Returns
    -------
    Nine tenths of the way from what the means of control cells add up to to the target sum;
    infinite where cells do not sum to one target sum.
    """
    if not controls.is_closed:
        return np.inf
    values = compute_log1p(controls.counts, controls.depth, controls.target_sum, controls.base)
    mean = np.asarray(values.mean(axis=0, dtype=np.float64)).ravel()
    now = np.expm1(mean * get_unit(controls.base)).sum()
    return float(_NEAR * controls.target_sum + (1 - _NEAR) * now)


def bound_target(target: np.ndarray, controls: CellCounts, most: float) -> np.ndarray:
    """Lower wanted means that no cells of one target sum can have, all by one factor.

    Parameters
    ----------
    target
        Wanted mean of each gene, shape ``(n_genes,)``.
    controls
        Control cells.
    most
        What :func:`find_most` found for them.

    Returns
    -------
    The means; they are changed only if they add up, before the logarithm, to more than ``most``.
    """
    unit = get_unit(controls.base)
    # No gene has more than the whole cell.
    target = np.clip(target, 0, np.log1p(controls.target_sum) / unit)
    wanted = np.expm1(target * unit)
    if wanted.sum() <= most:
        return target
    return np.log1p(wanted * (most / wanted.sum())) / unit


def get_unit(base: float | None) -> float:
    """Natural units of one unit of the logarithm."""
    return 1.0 if base is None else float(np.log(base))


def has_one_sum(total: np.ndarray) -> bool:
    """Whether all cells sum to one number."""
    return bool(len(total)) and bool(np.ptp(total) <= SUM_TOLERANCE * total.max())


def read_values(expression: sparse.spmatrix | np.ndarray) -> sparse.csr_matrix:
    """Positive values as canonical CSR, in their own precision."""
    if expression.dtype == np.float16:  # scipy knows no matrices of 16 bits
        expression = expression.astype(np.float32)
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


def _read_whole(counts: sparse.spmatrix | np.ndarray) -> sparse.csr_matrix:
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


def make_recovered(
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


def _is_rounded(counts: sparse.csr_matrix, values: sparse.csr_matrix, base: float | None) -> bool:
    """Whether values have the precision of 16 bits, and within it are those of the counts."""
    with np.errstate(over="ignore"):
        is_half = np.array_equal(values.data, values.data.astype(np.float16))
    return is_half and not _find_disagreement(counts, values, base, np.float16)[0].any()


def _find_disagreement(
    counts: sparse.csr_matrix,
    values: sparse.csr_matrix,
    base: float | None,
    dtype: type[np.floating] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Which cells have values that are not their counts times one number, and their totals.

    Values have the precision of ``dtype``, by default that of their own.
    """
    n_cells = counts.shape[0]
    scaled = values.astype(np.float64)
    nats = scaled.data * get_unit(base)
    scaled.data = np.expm1(nats)
    total = np.asarray(scaled.sum(axis=1)).ravel()
    n_counts = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    factor = np.divide(total, n_counts, out=np.zeros(n_cells), where=n_counts > 0)
    expected = sparse.diags_array(factor) @ counts.astype(np.float64)
    difference = np.abs(sparse.csr_matrix(scaled - expected)).tocoo()
    # The relative error of a value before the logarithm; a sum over genes has no larger one.
    slack = np.finfo(values.dtype if dtype is None else dtype).eps * (
        16 + 8 * nats.max(initial=1.0)
    )
    size = np.asarray(scaled.maximum(expected)[difference.row, difference.col]).ravel()
    disagrees = np.zeros(n_cells, dtype=bool)
    disagrees[difference.row[difference.data > slack * size]] = True
    return disagrees | ((total > 0) != (n_counts > 0)), total

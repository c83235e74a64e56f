"""Are these values log1p-normalised expression? If not, an error; if perhaps not, a warning.

Models, metrics, benchmarks and the command line ask here, so that all of them refuse the same.
"""

import logging
from typing import Any

import numpy as np
from anndata import AnnData
from anndata.abc import CSCDataset
from scipy import sparse

from scbig.data._check_numbers import (
    check_piece,
    check_sign,
    get_numbers,
    iter_pieces,
    mark_rows,
    name_matrix,
)
from scbig.data._expression import CHUNK_SIZE, Expression, get_log_base, get_matrix
from scbig.data._transforms import check_scaling, check_transform, warn_of_odd_values

logger = logging.getLogger(__name__)

MAX_LOG1P = 20
# Of a larger logarithm not even double precision knows the value; of a larger value, nobody.
_MAX_EXPONENT, _MAX_VALUE = 700.0, 1e7
# Cells that tell how values were made, from all over the matrix.
_N_TOLD = 200
# Sums of cells vary by this share at least where they are depths; counts that were corrected to
# one depth vary by less, and by chance.
_SPREAD, _WHOLE_SPREAD, _MOST_SPREAD = 0.02, 0.15, 0.3
# Cells in which that can be told, and distinct values of all.
_FEW_CELLS, _FEW_VALUES, _MANY_GENES = 5, 3, 50


def check_expression(adata: AnnData, layer: str | None, *, is_log1p: bool = False) -> None:
    """Raise when expression is no log1p-normalised expression, as far as one can see.

    Values are read in pieces, so that a backed file is never loaded whole. Refused are

    - values that are no numbers, not finite, negative (scaled data), or above 20, as log1p of
      normalised counts never is;
    - raw counts: whole numbers in all cells, three different ones at least in five cells or more;
      or in some cells, where one of them has four different ones;
    - values below 20 that were made otherwise, in all cells or in some: normalised and not logged,
      logged to another base than ``uns["log1p"]`` says, twice, or a square root, as 200 cells
      tell (:func:`check_transform`); and genes that were scaled (:func:`check_scaling`).

    Parameters
    ----------
    adata
        Annotated data; may be backed.
    layer
        Layer to check; ``None`` for ``X``.
    is_log1p
        ``True`` takes whole and large values for log1p values all the same. What is above 700, of
        which no number is the logarithm, is refused nevertheless.

    Returns
    -------
    Nothing; values that pass are log1p values as far as one can see.

    Raises
    ------
    ValueError
        When there is nothing to read, or what was read is refused; the message says where, and the
        line that mends it.
    """
    name, matrix = name_matrix(layer), get_numbers(adata, layer)
    seen = _Seen(adata.n_obs, _MAX_EXPONENT if is_log1p else MAX_LOG1P)
    for where, start, piece in iter_pieces(matrix):
        values = piece.data if sparse.issparse(piece) else piece
        check_piece(piece, values, name, where, start, adata)
        check_sign(piece, values, name, where, adata)
        if not is_log1p:
            _check_counts(values, name, where, layer)
            seen.look_for_counts(start, piece, values)
        seen.look_for_large(start, piece, values)
    if seen.is_none.any():
        raise ValueError(describe_no_values(seen.is_none, seen.largest, name, adata, _MAX_VALUE))
    if not is_log1p:
        _check_kind(seen, matrix, adata, layer)
    elif seen.is_large.any():
        raise ValueError(_describe_large(seen.is_large, seen.largest, name, adata, is_log1p=True))


def _check_kind(seen: "_Seen", matrix: Any, adata: AnnData, layer: str | None) -> None:
    """Raise when values are counts, or were not logged, in all cells or in some."""
    name = name_matrix(layer)
    large, whole = seen.is_large & seen.fractions, seen.expressed & ~seen.fractions
    if 2 * whole.sum() < seen.expressed.sum():
        # Some cells may be whole by chance, whatever was done to all of them.
        if large.any():
            raise ValueError(_describe_large(large, seen.largest, name, adata))
        cells, rows = _read_some(matrix), choose_some(adata.n_obs, _N_TOLD)
        if not check_transform(cells, rows, name, adata, layer):
            check_scaling(cells, (piece for *_, piece in iter_pieces(matrix)), name, adata)
    _check_cells(matrix, np.flatnonzero(whole), name, adata)
    if seen.is_whole:
        raise ValueError(_describe_counts("values", seen.largest, name, layer))
    if seen.is_large.any():
        raise ValueError(_describe_large(seen.is_large, seen.largest, name, adata))


def warn_of_depth(adata: AnnData, layer: str | None) -> None:
    """Warn when log1p values are of counts that were not normalised, as 200 cells tell.

    Either all of them are log1p of whole numbers, or what cells add up to before the logarithm
    differs as much as depths do, and cells that add up to more express more genes. What else is
    odd is warned of, too (:func:`warn_of_odd_values`).

    Parameters
    ----------
    adata
        Annotated data that :func:`check_expression` lets pass; may be backed.
    layer
        Layer to look at; ``None`` for ``X``.
    """
    cells = _read_some(get_matrix(adata, layer))
    warn_of_odd_values(cells, name_matrix(layer))
    base = get_log_base(adata)
    # Of the largest values overflow is of no matter; their cells have been looked at.
    linear = np.expm1(
        np.minimum(cells.data, _MAX_EXPONENT) * (1.0 if base is None else np.log(base))
    )
    total = _add_up(cells, linear)
    n_values = np.diff(cells.indptr)
    total, n_values = total[n_values > 0], n_values[n_values > 0]
    if len(total) < _FEW_CELLS or np.ptp(total) <= _SPREAD * total.max():
        return
    room = 8 * _get_precision(adata, layer) * (1 + cells.data) * (1 + linear)
    is_sure = room < 0.05
    is_whole = is_sure.any() and np.all(np.abs(linear - np.rint(linear))[is_sure] <= room[is_sure])
    # As many counts as there are vary so by chance.
    by_chance = 2 / np.sqrt(max(total.mean(), 1))
    is_whole &= total.std() > max(_WHOLE_SPREAD, by_chance) * total.mean()
    if is_whole or _vary_as_depths(total, n_values, cells.shape[1]):
        name = name_matrix(layer)
        logger.warning(
            "%s looks like log1p of counts that were not normalised: before the logarithm cells "
            "add up to between %.6g and %.6g%s. Depth is then taken for expression. Normalise: "
            "adata.%s = np.expm1(adata.%s%s); sc.pp.normalize_total(adata, target_sum=1e4%s); "
            "sc.pp.log1p(adata%s). If this is meant, say so: is_log1p=True",
            name,
            total.min(),
            total.max(),
            ", in whole numbers" if is_whole else ", and those with more express more genes",
            *(name, name, "" if base is None else f" * np.log({base:g})"),
            *(2 * ("" if layer is None else f", layer={layer!r}",)),
        )


class _Seen:
    """What the values of a matrix are, cell by cell, after some of its pieces."""

    def __init__(self, n_cells: int, limit: float) -> None:
        self.limit, self.largest = limit, 0.0
        self.is_large, self.is_none, self.fractions, self.expressed = np.zeros((4, n_cells), bool)
        self._integers = np.zeros(MAX_LOG1P + 1, dtype=bool)

    @property
    def is_whole(self) -> bool:
        """Whether there are several values, and no fraction among them."""
        n_values, n_cells = int(self._integers[1:].sum()), len(self.fractions)
        return not self.fractions.any() and n_values >= _FEW_VALUES and n_cells >= _FEW_CELLS

    def look_for_counts(self, start: int, piece: Any, values: np.ndarray) -> None:
        """Mark the cells that have fractions, and those that have anything."""
        rows = slice(start, start + piece.shape[0])
        self.fractions[rows] |= _find_fractions(piece)
        self.expressed[rows] |= mark_rows(piece, values > 0)
        if values.max() <= MAX_LOG1P and not self.fractions.any():
            whole = np.ravel(values).astype(np.int8)
            self._integers |= np.bincount(whole, minlength=len(self._integers)) > 0

    def look_for_large(self, start: int, piece: Any, values: np.ndarray) -> None:
        """Mark the cells that have values above what can be."""
        rows, top = slice(start, start + piece.shape[0]), float(values.max())
        for marks, limit in ((self.is_large, self.limit), (self.is_none, _MAX_VALUE)):
            if top > limit:
                marks[rows] |= mark_rows(piece, values > limit)
        self.largest = max(self.largest, top)


def _find_fractions(piece: Any) -> np.ndarray:
    if sparse.issparse(piece):
        return mark_rows(piece, piece.data != np.rint(piece.data))
    # Where the largest has one, no other value need be looked at.
    top = piece.max(axis=1)
    has_fraction = top != np.rint(top)
    rest = np.flatnonzero(~has_fraction & (top > 0))
    has_fraction[rest] = (piece[rest] != np.rint(piece[rest])).any(axis=1)
    return has_fraction


def _check_cells(matrix: Any, cells: np.ndarray, name: str, adata: AnnData) -> None:
    """Raise when some of the cells that hold only integers, among others, are raw counts.

    Four different integers in a cell are no accident; fewer can be logarithms to the base 2.
    """
    found: list[int] = []
    step = max(1, CHUNK_SIZE**2 // matrix.shape[1])
    for start in range(0, len(cells), step):
        rows = Expression(matrix).rows(cells[start : start + step])
        least = np.where(rows > 0, rows, np.inf).min(axis=1, keepdims=True)
        most = rows.max(axis=1, keepdims=True)
        is_between = (rows > least) & (rows < most)
        differ = np.where(is_between, rows, most).min(axis=1) < (rows * is_between).max(axis=1)
        is_counts = (most[:, 0] > MAX_LOG1P) | differ
        found += cells[start : start + step][is_counts].tolist()
    if found:
        raise ValueError(
            f"{name} holds raw counts in {_name_cells(found, adata)}: their values are "
            "integers only. Normalise counts before they join other cells: "
            "sc.pp.normalize_total(cells, target_sum=1e4); sc.pp.log1p(cells)"
        )


def _name_cells(cells: list[int], adata: AnnData) -> str:
    first, n = adata.obs_names[cells[0]], len(cells)
    return f"{n} of {adata.n_obs} cells ({n / adata.n_obs:.1%}), such as {first}"


def _check_counts(values: np.ndarray, name: str, where: str, layer: str | None) -> None:
    largest = float(values.max())
    if MAX_LOG1P < largest <= _MAX_VALUE and bool(np.all(values == np.rint(values))):
        raise ValueError(_describe_counts(f"values of {where}", largest, name, layer))


def _describe_counts(which: str, largest: float, name: str, layer: str | None) -> str:
    copy = "" if layer is None else f"adata.X = adata.{name}.copy(); "
    instead = "" if layer is None else " and leave out layer"
    return (
        f"{name} holds raw counts: all {which} are integers, up to {largest:g}. "
        f"Normalise them: {copy}sc.pp.normalize_total(adata, target_sum=1e4); "
        f"sc.pp.log1p(adata){instead}. If they are log1p values already, say so: is_log1p=True"
    )


def _describe_large(
    is_large: np.ndarray, largest: float, name: str, adata: AnnData, *, is_log1p: bool = False
) -> str:
    insist = "Leave out is_log1p=True, for no number has such a logarithm"
    return (
        f"{name} reaches {largest:g}, as no log1p value does: a million counts have 14. Found in "
        f"{_name_cells(np.flatnonzero(is_large).tolist(), adata)}. Normalise them: "
        "sc.pp.normalize_total(adata, target_sum=1e4); sc.pp.log1p(adata). What is normalised "
        "already lacks the logarithm alone. "
        + (insist if is_log1p else "If they are log1p values already, say so: is_log1p=True")
    )


def describe_no_values(
    is_none: np.ndarray, largest: float, name: str, adata: AnnData, limit: float
) -> str:
    """Say that values are beyond what cells can express, counted or logged."""
    beyond = ", and float32 does not hold it" if largest > float(np.finfo(np.float32).max) else ""
    remedy = (
        f"Drop the cells: adata = adata[np.ravel(adata.{name}.sum(axis=1)) <= {limit:g}].copy()"
    )
    if is_none.mean() > 0.5:
        remedy = "Is it in some genes? Drop them: adata = adata[:, ~adata.var_names.isin(['...'])]"
    return (
        f"{name} reaches {largest:g}, which is no count and no logarithm of one{beyond}. Found in "
        f"{_name_cells(np.flatnonzero(is_none).tolist(), adata)}. {remedy}"
    )


def choose_some(n_cells: int, n_wanted: int) -> np.ndarray:
    """Some cells from all over the data, as screens are often joined."""
    return np.unique(np.linspace(0, n_cells - 1, n_wanted).astype(np.int64))


def _read_some(matrix: Any) -> sparse.csr_matrix:
    """Read the positive values of some cells, in double precision."""
    rows = choose_some(matrix.shape[0], _N_TOLD)
    if isinstance(matrix, CSCDataset):
        # Read by genes: cells cannot be cut out of such a file.
        some: Any = [piece[rows] for *_, piece in iter_pieces(matrix)]
        some = sparse.hstack(some) if some else sparse.csr_matrix((len(rows), 1))
    else:
        some = matrix[rows]
    if some.dtype == np.float16:  # scipy knows no matrices of 16 bits
        some = some.astype(np.float32)
    cells = sparse.csr_matrix(some, dtype=np.float64)
    cells.eliminate_zeros()
    return cells


def _get_precision(adata: AnnData, layer: str | None) -> float:
    dtype = np.dtype(get_matrix(adata, layer).dtype)
    return float(np.finfo(dtype if dtype.kind == "f" else np.float64).eps)


def _add_up(cells: sparse.csr_matrix, values: np.ndarray) -> np.ndarray:
    """Sums of values of each cell, shape ``(n_cells,)``."""
    row = np.repeat(np.arange(cells.shape[0]), np.diff(cells.indptr))
    return np.bincount(row, weights=values, minlength=cells.shape[0])


def _vary_as_depths(total: np.ndarray, n_values: np.ndarray, n_genes: int) -> bool:
    """Whether sums vary as depths do, and go with numbers of expressed genes.

    After normalising, sums differ only where genes were left out since, and by less: on five real
    screens by up to a tenth, uncorrelated, without three quarters of their genes, against half or
    more before. Few genes tell nothing.
    """
    if n_genes < _MANY_GENES or total.std() < _MOST_SPREAD * total.mean() or not np.ptp(n_values):
        return False
    return bool(np.corrcoef(np.log(total), np.log(n_values))[0, 1] > 0.7)

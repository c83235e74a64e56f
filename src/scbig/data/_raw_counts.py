"""Raw counts or log1p values: how are cells read that have the ones, or the others?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from scbig._arguments import check_number
from scbig._constants import COUNTS
from scbig.data._check_numbers import iter_pieces, name_matrix
from scbig.data._check_values import choose_some
from scbig.data._expression import Expression, get_log_base, get_matrix, is_csc

# What raw counts are normalised to where nothing else is wanted.
TARGET_SUM = 1e4
_N_CHECKED = 1000
# Places that some cells are taken from, and values that are looked at together.
_N_PLACES, _N_VALUES = 10, 2_000_000


@dataclass(frozen=True)
class CellMatrices:
    """Expression of cells, and the counts behind it.

    Attributes
    ----------
    expression
        Log1p values.
    counts
        Counts, where they are kept; else ``None``.
    base
        Base of the logarithm; ``None`` for the natural one.
    is_raw
        Whether the data hold counts alone, which are normalised as they are read.
    """

    expression: Expression
    counts: Expression | None
    base: float | None
    is_raw: bool


def holds_counts(adata: AnnData, layer: str | None, *, n_cells: int | None = None) -> bool:
    """Whether expression is raw counts: all values whole, none negative, and some there.

    Parameters
    ----------
    adata
        Annotated data; may be backed, and is read in pieces, up to the first fraction.
    layer
        Layer to look at; ``None`` for ``X``.
    n_cells
        Number of cells that tell, from all over the matrix; by default all. Only where all were
        checked before do some tell: what was joined of counts and log1p values is refused then.
    """
    return find_largest_count(adata, layer, n_cells=n_cells) > 0


def find_largest_count(adata: AnnData, layer: str | None, *, n_cells: int | None = None) -> float:
    """Return the largest raw count, 0 where there are none; see :func:`holds_counts`."""
    matrix = get_matrix(adata, layer)
    if matrix is None or 0 in matrix.shape or np.dtype(matrix.dtype).kind not in "iuf":
        return 0.0
    largest = 0.0
    for values in _iter_values(matrix, n_cells):
        # The smallest and the largest tell of NaN and infinities, too.
        least, most = (values.min(), values.max()) if values.size else (0, 0)
        is_whole = values.dtype.kind in "iu" or np.array_equal(values, np.rint(values))
        if not (least >= 0 and np.isfinite(most) and is_whole):
            return 0.0
        largest = max(largest, float(most))
    return largest


def _iter_values(matrix: Any, n_cells: int | None) -> Iterator[np.ndarray]:
    """Yield stored values, some at a time; of a matrix by genes, those of genes in its order."""
    if n_cells is not None and n_cells < matrix.shape[0] and not is_csc(matrix):
        starts = np.linspace(0, matrix.shape[0] - n_cells // _N_PLACES, _N_PLACES).astype(int)
        pieces = (matrix[start : start + n_cells // _N_PLACES] for start in starts.tolist())
    elif sparse.issparse(matrix):
        # Slices of rows would be copies.
        steps = range(0, len(matrix.data), _N_VALUES)
        yield from (matrix.data[start : start + _N_VALUES] for start in steps)
        return
    else:
        pieces = (piece for *_, piece in iter_pieces(matrix))
    for piece in pieces:
        yield piece.data if sparse.issparse(piece) else np.asarray(piece)


def read_matrices(
    adata: AnnData,
    layer: str | None,
    counts_layer: str | None = None,
    columns: np.ndarray | None = None,
    fill: np.ndarray | None = None,
    *,
    is_log1p: bool = False,
    target_sum: float | None = None,
) -> CellMatrices:
    """Read log1p values, and counts where they are kept; raw counts are normalised.

    Parameters
    ----------
    adata
        Annotated data.
    layer
        Layer with expression, log1p values or raw counts; ``None`` for ``X``.
    counts_layer
        Layer with the counts behind log1p values; ``None`` for ``"counts"``, if it is there.
    columns, fill
        See :class:`Expression`.
    is_log1p
        Take whole values for log1p values.
    target_sum
        Sum that raw counts of each cell are normalised to; 10,000 by default.

    Raises
    ------
    ValueError
        When the named layer with counts is not there, or the target sum is not positive; when the
        expression is raw counts, and the layer with counts holds others.
    """
    if target_sum is not None:
        check_number("target_sum", target_sum, is_open=True, hint=", such as 10_000")
    kept = _find_counts_layer(adata, counts_layer, layer)
    matrix = get_matrix(adata, layer)
    if not is_log1p and holds_counts(adata, layer, n_cells=_N_CHECKED):
        if kept is not None:
            _check_same(adata, layer, kept)
        total = TARGET_SUM if target_sum is None else target_sum
        values = Expression(matrix, columns, fill, target_sum=total)
        return CellMatrices(values, _keep_counts(matrix, columns), None, True)
    counts = None if kept is None else _keep_counts(get_matrix(adata, kept), columns)
    return CellMatrices(Expression(matrix, columns, fill), counts, get_log_base(adata), False)


def _find_counts_layer(adata: AnnData, wanted: str | None, layer: str | None) -> str | None:
    """Return the layer with the counts behind the expression; ``None`` where there is none.

    Parameters
    ----------
    adata
        Annotated data.
    wanted
        Name of the layer; ``None`` for ``"counts"``, if it is there.
    layer
        Layer with the expression.

    Raises
    ------
    ValueError
        When the named layer is not there.
    """
    if wanted is not None and wanted not in adata.layers:
        # anndata 0.13 lists X among the layers, under None.
        found = [name for name in adata.layers if name is not None]
        raise ValueError(
            f"There is no layer {wanted!r} with counts (counts_layer). Layers found: {found}."
        )
    name = COUNTS if wanted is None else wanted
    return name if name in adata.layers and name != layer else None


def _check_same(adata: AnnData, layer: str | None, counts_layer: str) -> None:
    """Raise when raw counts are not those of the layer with counts, as far as some cells tell."""
    rows = choose_cells(adata.n_obs)
    one, other = (Expression(get_matrix(adata, name)).rows(rows) for name in (layer, counts_layer))
    differs = (one != other).any(axis=1)
    if differs.any():
        name, kept = name_matrix(layer), name_matrix(counts_layer)
        raise ValueError(
            f"{name} holds raw counts, and {kept}, which is to have the counts, holds others: "
            f"{int(differs.sum())} of {len(rows)} cells looked at differ, the first is "
            f"{str(adata.obs_names[rows[np.argmax(differs)]])!r}. Keep one of them: "
            f"adata.{name} = adata.{kept}.copy(), or: del adata.{kept}"
        )


def choose_cells(n_cells: int) -> np.ndarray:
    """Cells that tell of all."""
    return choose_some(n_cells, _N_CHECKED)


def _keep_counts(matrix: object, columns: np.ndarray | None) -> Expression | None:
    """Counts of genes that are missing are not known: those of cells are not, then."""
    is_whole = columns is None or bool((columns >= 0).all())
    return Expression(matrix, columns) if is_whole else None

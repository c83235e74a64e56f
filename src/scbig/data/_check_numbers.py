"""Are the values of a matrix numbers, finite and not below zero? Read in pieces, if in a file."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from scbig._reading import check_sparse
from scbig.data._expression import CHUNK_SIZE, get_matrix, is_csc

# Below zero by so little, as a share of the largest, is rounding and no scaling.
_NOISE = 1e-4


def name_matrix(layer: str | None) -> str:
    return "X" if layer is None else f"layers[{layer!r}]"


def get_numbers(adata: AnnData, layer: str | None) -> Any:
    """Return the matrix, or raise where it is none of real numbers."""
    name, matrix = name_matrix(layer), get_matrix(adata, layer)
    if matrix is None or 0 in matrix.shape:
        shape = "missing" if matrix is None else f"of shape {tuple(matrix.shape)}"
        raise ValueError(f"{name} is {shape}: there is no expression to read.")
    if np.dtype(matrix.dtype).kind not in "iuf":
        raise ValueError(
            f"{name} has dtype {matrix.dtype}; real numbers are expected. Convert it: "
            f"adata.{name} = adata.{name}.astype('float32')"
        )
    return matrix


def iter_pieces(matrix: Any) -> Iterator[tuple[str, int, Any]]:
    """Yield the matrix piece by piece, with its place and first cell; empty pieces not."""
    # A piece has about the volume of CHUNK_SIZE cells, along the axis that is cheap to cut.
    by_gene = is_csc(matrix)
    n_cells, n_genes = matrix.shape
    n, step = (
        (n_genes, max(1, n_genes * CHUNK_SIZE // n_cells)) if by_gene else (n_cells, CHUNK_SIZE)
    )
    for start in range(0, n, step):
        stop = min(start + step, n)
        piece: Any = matrix[:, start:stop] if by_gene else matrix[start:stop]
        piece = piece if sparse.issparse(piece) else np.asarray(piece)
        if not sparse.issparse(matrix):
            check_sparse(piece, "What was read of the file")
        if not sparse.issparse(piece) or piece.nnz:
            where = f"{'genes' if by_gene else 'cells'} {start} to {stop - 1}"
            yield where, 0 if by_gene else start, piece


def mark_rows(piece: Any, is_marked: np.ndarray) -> np.ndarray:
    """Mark the rows of a piece that hold a marked one of its stored values."""
    if not sparse.issparse(piece):
        return np.asarray(is_marked.any(axis=1))
    stored = is_marked.astype(np.float32), piece.indices, piece.indptr
    n_marked = type(piece)(stored, shape=piece.shape) @ np.ones(piece.shape[1], np.float32)
    return np.asarray(n_marked, dtype=np.float32) > 0


def check_finite(adata: AnnData, layer: str | None) -> None:
    """Raise when values are not finite, as they may have become since they were set up.

    Parameters
    ----------
    adata
        Annotated data; may be backed.
    layer
        Layer to check; ``None`` for ``X``.

    Raises
    ------
    ValueError
        When there is nothing to read, or values are NaN or infinite; the message names a cell.
    """
    matrix = get_numbers(adata, layer)
    for where, start, piece in iter_pieces(matrix):
        values = piece.data if sparse.issparse(piece) else piece
        check_piece(piece, values, name_matrix(layer), where, start, adata)


def check_piece(
    piece: Any, values: np.ndarray, name: str, where: str, start: int, adata: AnnData
) -> None:
    if values.dtype.kind != "f" or (is_finite := np.isfinite(values)).all():
        return
    n_nan, n_inf = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    cells = start + np.flatnonzero(mark_rows(piece, ~is_finite))
    raise ValueError(
        f"{n_nan} NaN and {n_inf} infinite value(s) in {name}, {where}: in {len(cells)} cell(s), "
        f"such as {adata.obs_names[cells[0]]}{_name_gene(piece, ~is_finite, adata)}. Drop the "
        f"cells: adata = adata[np.isfinite(np.ravel(adata.{name}.sum(axis=1)))].copy()"
    )


def _name_gene(piece: Any, is_marked: np.ndarray, adata: AnnData) -> str:
    """Name the gene of the first marked value, where a piece has all genes."""
    if piece.shape[1] != adata.n_vars or is_csc(piece):
        return ""
    first = int(np.flatnonzero(is_marked)[0])
    gene = piece.indices[first] if sparse.issparse(piece) else first % adata.n_vars
    return f" ({adata.var_names[gene]})"


def check_sign(piece: Any, values: np.ndarray, name: str, where: str, adata: AnnData) -> None:
    least = float(values.min())
    load = "adata = adata.to_memory(); " if adata.isbacked else ""
    zeroed = f"adata.{name}.maximum(0)" if sparse.issparse(piece) else f"adata.{name}.clip(0)"
    if -_NOISE * float(values.max()) <= least < 0:
        raise ValueError(
            f"{int((values < 0).sum())} values in {name}, {where}, are below zero by no more than "
            f"rounding (smallest {least:g}), as smoothing leaves them. Put them to zero: "
            f"{load}adata.{name} = {zeroed}"
        )
    if least < 0:
        raise ValueError(
            f"Negative values (smallest {least:g}) in {name}, {where}. Scaled or centred "
            "data cannot be used. Name the log1p-normalised layer: layer='...'. "
            f"Layers found: {list(filter(None, adata.layers))}."
        )

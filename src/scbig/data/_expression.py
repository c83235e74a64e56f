"""Expression as the models read it: dense rows in a fixed gene order, from any storage."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from anndata import AnnData
from anndata.abc import CSCDataset
from scipy import sparse

logger = logging.getLogger(__name__)

CHUNK_SIZE = 4096


class Expression:
    """Rows of a log1p expression matrix, read in batches.

    Works alike for dense, CSR, CSC and backed matrices. Backed files are read in sorted
    pieces and never loaded whole, except those stored by columns (CSC): cells cannot be read
    from them one by one, so that they are loaded once, with a warning.

    Parameters
    ----------
    matrix
        Matrix of shape ``(n_cells, n_columns)``.
    columns
        For each gene of the model its column in ``matrix``, ``-1`` where it is missing. By
        default all columns in their order.
    fill
        Value for each gene, used where it is missing; zero by default.
    """

    def __init__(
        self, matrix: Any, columns: np.ndarray | None = None, fill: np.ndarray | None = None
    ) -> None:
        self._matrix = _by_rows(matrix)
        self._columns = columns
        self._fill = fill

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self._matrix.shape[0]

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return self._matrix.shape[1] if self._columns is None else len(self._columns)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Read cells by number.

        Parameters
        ----------
        indices
            Row numbers, in any order and with repeats.

        Returns
        -------
        A new float32 array of shape ``(len(indices), n_genes)``.
        """
        # Files are read in increasing order without repeats; h5py refuses anything else.
        unique, inverse = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        return self._select(_to_dense(self._matrix[unique]))[inverse]

    def chunks(self, size: int = CHUNK_SIZE) -> Iterator[tuple[slice, np.ndarray]]:
        """Read all cells in order.

        Parameters
        ----------
        size
            Number of cells to read at once.

        Yields
        ------
        The slice of the cells, and a float32 array of shape ``(at most size, n_genes)``, which
        may be part of the matrix itself: read it, do not write into it.
        """
        for start in range(0, self.n_cells, size):
            rows = slice(start, min(start + size, self.n_cells))
            yield rows, self._select(_to_dense(self._matrix[rows]))

    def _select(self, values: np.ndarray) -> np.ndarray:
        if self._columns is None:
            return values
        chosen = values[:, self._columns]
        is_missing = self._columns < 0
        chosen[:, is_missing] = 0 if self._fill is None else self._fill[is_missing]
        return chosen


def get_matrix(adata: AnnData, layer: str | None) -> Any:
    """Return ``X`` or a layer as stored.

    Parameters
    ----------
    adata
        Annotated data.
    layer
        Name of a layer; ``None`` for ``X``.

    Returns
    -------
    The matrix itself, dense, sparse or backed; nothing is copied.
    """
    return adata.X if layer is None else adata.layers[layer]


def is_csc(matrix: Any) -> bool:
    """Whether a matrix is stored by columns, in memory or in a file."""
    return isinstance(matrix, CSCDataset) or (sparse.issparse(matrix) and matrix.format == "csc")


def _by_rows(matrix: Any) -> Any:
    """Return a matrix whose rows can be sliced cheaply, which those of CSC cannot."""
    if isinstance(matrix, CSCDataset):
        logger.warning(
            "The file stores expression by columns (CSC) and is read whole. To read it in pieces, "
            "store it by rows: adata = adata.to_memory(); adata.X = adata.X.tocsr()"
        )
        matrix = matrix.to_memory()
    return matrix.tocsr() if is_csc(matrix) else matrix


def _to_dense(rows: Any) -> np.ndarray:
    dense = rows.toarray() if sparse.issparse(rows) else np.asarray(rows)
    return dense.astype(np.float32, copy=False)

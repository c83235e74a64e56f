"""Expression as the models read it: dense rows in a fixed gene order, from any storage."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

CHUNK_SIZE = 4096


class Expression:
    """Rows of a log1p expression matrix, read in batches.

    Works alike for dense, CSR, CSC and backed matrices. Backed files are read in sorted
    pieces and never loaded whole.

    Parameters
    ----------
    matrix
        Matrix of shape ``(n_cells, n_columns)``.
    columns
        For each gene of the model its column in ``matrix``, ``-1`` where it is missing. By
        default all columns in their order.
    fill
        Value for each gene, used where it is missing.
    """

    def __init__(
        self, matrix: Any, columns: np.ndarray | None = None, fill: np.ndarray | None = None
    ) -> None:
        # Rows of a CSC matrix cannot be sliced cheaply.
        self._matrix = matrix.tocsr() if _is_csc(matrix) else matrix
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
        """Return cells as a float32 array of shape ``(len(indices), n_genes)``."""
        # Files are read in increasing order without repeats; h5py refuses anything else.
        unique, inverse = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        return self._select(_to_dense(self._matrix[unique]))[inverse]

    def chunks(self, size: int = CHUNK_SIZE) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield all cells in order, as slices and float32 arrays."""
        for start in range(0, self.n_cells, size):
            rows = slice(start, min(start + size, self.n_cells))
            yield rows, self._select(_to_dense(self._matrix[rows]))

    def _select(self, values: np.ndarray) -> np.ndarray:
        if self._columns is None:
            return values
        chosen = values[:, self._columns]
        if self._fill is not None:
            is_missing = self._columns < 0
            chosen[:, is_missing] = self._fill[is_missing]
        return chosen


def get_matrix(adata: AnnData, layer: str | None) -> Any:
    """Return ``X`` or a layer as stored."""
    return adata.X if layer is None else adata.layers[layer]


def _is_csc(matrix: Any) -> bool:
    return sparse.issparse(matrix) and matrix.format == "csc"


def _to_dense(rows: Any) -> np.ndarray:
    dense = rows.toarray() if sparse.issparse(rows) else np.asarray(rows)
    return dense.astype(np.float32, copy=False)

"""Sums over groups of cells in float64, from one reading of the expression."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from scbig.data import Expression

# Values of one chunk, 64 MB in float64, whatever the number of genes.
CHUNK_VALUES = 2**23


@dataclass(frozen=True)
class Moments:
    """Number of cells, sum and sum of squares of each group.

    Attributes
    ----------
    n_cells
        Number of cells, shape ``(n_groups,)``.
    total
        Sum over the cells, shape ``(n_groups, n_genes)``.
    square
        Sum of the squares, of the same shape; ``None`` where they were not asked for.
    """

    n_cells: np.ndarray
    total: np.ndarray
    square: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """Means, shape ``(n_groups, n_genes)``; NaN for groups without cells."""
        with np.errstate(invalid="ignore"):
            return self.total / self.n_cells[:, None]

    def select(self, groups: slice) -> "Moments":
        """Choose groups.

        Parameters
        ----------
        groups
            Where they stand.

        Returns
        -------
        Their sums.
        """
        square = None if self.square is None else self.square[groups]
        return Moments(self.n_cells[groups], self.total[groups], square)


def compute_moments(
    expression: Expression, groups: Sequence[np.ndarray], *, use_squares: bool = False
) -> Moments:
    """Add up the cells of each group, reading the expression once, in chunks.

    Parameters
    ----------
    expression
        Expression of the cells.
    groups
        Row numbers of the cells of each group; groups may share cells.
    use_squares
        Add up the squares, too.

    Returns
    -------
    The sums.
    """
    n_cells = np.array([len(rows) for rows in groups], dtype=np.int64)
    rows = np.concatenate([np.empty(0, dtype=np.int64), *groups])
    member = sparse.csc_array(
        (np.ones(len(rows)), (np.repeat(np.arange(len(groups)), n_cells), rows)),
        shape=(len(groups), expression.n_cells),
    )
    total = np.zeros((len(groups), expression.n_genes))
    square = np.zeros_like(total) if use_squares else None
    for chunk, values in expression.chunks(max(1, CHUNK_VALUES // expression.n_genes)):
        part = member[:, chunk]
        if part.nnz:
            # Squares in float64: the difference of two large float32 sums is no variance.
            wide = values.astype(np.float64)
            total += part @ wide
            if square is not None:
                square += part @ np.square(wide, out=wide)
    return Moments(n_cells, total, square)

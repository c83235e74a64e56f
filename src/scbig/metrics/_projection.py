"""The principal components in which clouds of cells are compared."""

import logging
from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA

from scbig.data import Expression
from scbig.metrics._cells import PreparedCells
from scbig.metrics._moments import CHUNK_VALUES

logger = logging.getLogger(__name__)

N_COMPONENTS = 50
MAX_FIT_CELLS = 10_000


class Projection:
    """Principal components of some cells, whatever the order of these cells and their genes.

    The solver of scikit-learn starts from random numbers, one a gene. Genes are put in the
    order of their names first, so that a gene always meets the same number.

    Parameters
    ----------
    expression
        The cells to fit on; of more than 10,000, that many are drawn.
    cell_names, gene_names
        Names of its rows and columns.
    seed
        Seed of the draw and of the solver.
    """

    def __init__(
        self, expression: Expression, cell_names: np.ndarray, gene_names: np.ndarray, seed: int
    ) -> None:
        self._genes = np.argsort(gene_names, kind="stable")
        rows = np.argsort(cell_names, kind="stable")
        if len(rows) > MAX_FIT_CELLS:
            kept = np.random.default_rng(seed).choice(len(rows), MAX_FIT_CELLS, replace=False)
            rows = rows[np.sort(kept)]
        cells = expression.rows(rows)[:, self._genes]
        n_components = min(N_COMPONENTS, cells.shape[0] - 1, cells.shape[1])
        self._pca = PCA(n_components, random_state=seed).fit(cells)
        logger.info("Cells are compared in %d components of %d cells.", n_components, len(rows))

    @property
    def n_components(self) -> int:
        """Number of components."""
        return int(self._pca.n_components_)

    def project_all(
        self, expression: Expression, groups: Sequence[np.ndarray]
    ) -> list[PreparedCells]:
        """Project groups of cells, reading them in chunks.

        Parameters
        ----------
        expression
            Expression of cells, with the genes of those fitted on.
        groups
            Row numbers of each group, which may be empty.

        Returns
        -------
        Coordinates of each group, float64, ``(n, n_components)``.
        """
        rows = np.concatenate([np.empty(0, dtype=np.int64), *groups])
        step = max(1, CHUNK_VALUES // expression.n_genes)
        points = np.empty((len(rows), self.n_components))
        for start in range(0, len(rows), step):
            cells = expression.rows(rows[start : start + step])[:, self._genes]
            points[start : start + step] = self._pca.transform(cells)
        ends = np.cumsum([len(group) for group in groups])[:-1]
        return [PreparedCells(part) for part in np.split(points, ends)]

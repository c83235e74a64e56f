"""How far apart are two clouds of cells, and in which components are they compared?"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist, pdist
from sklearn.decomposition import PCA

from scbig.data import Expression
from scbig.metrics._inputs import CHUNK_VALUES, get_rounding

logger = logging.getLogger(__name__)

N_COMPONENTS = 50
MAX_FIT_CELLS = 10_000


@dataclass(frozen=True)
class PreparedCells:
    """Checked cells that remember the terms which depend on them alone.

    Made by :func:`prepare_cells`. The terms are computed when first asked for.

    Parameters
    ----------
    values
        Cells x features, ``(n, d)`` float64.
    rounding
        Distances up to this may be rounding errors.
    """

    values: np.ndarray
    rounding: float = 0.0

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.values)

    @property
    def n_pairs(self) -> int:
        """Number of unordered pairs of different cells."""
        return self.n_cells * (self.n_cells - 1) // 2

    @cached_property
    def distance_sum(self) -> float:
        """Sum of Euclidean distances over the pairs, each counted once."""
        return float(pdist(self.values).sum())

    @cached_property
    def median_squared_distance(self) -> float:
        """Median of squared Euclidean distances over the pairs."""
        return float(np.median(pdist(self.values, "sqeuclidean")))

    @cached_property
    def kernel_sum(self) -> float:
        """Sum of the kernel of :func:`mmd_rbf` over the pairs, at the cloud's own bandwidth."""
        squared = pdist(self.values, "sqeuclidean")
        return float(_compute_kernel(squared, self.median_squared_distance).sum())


def prepare_cells(cells: ArrayLike | PreparedCells, *, name: str = "real") -> PreparedCells:
    """Check cells, so that several predictions can be compared with them at less cost.

    Parameters
    ----------
    cells
        Cells x features, ``(n, d)``; prepared ones are returned as they are.
    name
        What messages call them.

    Returns
    -------
    PreparedCells
        For ``real`` of :func:`energy_distance` and :func:`mmd_rbf`.

    Raises
    ------
    ValueError
        If there is no cell, the shape does not fit or a value is not finite.
    """
    if isinstance(cells, PreparedCells):
        return cells
    given = np.asarray(cells)
    array = given.astype(np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} has shape {array.shape}; expected cells x features.")
    if len(array) == 0:
        raise ValueError(f"{name} has 0 cells; at least 1 is needed.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite.")
    return PreparedCells(array, get_rounding(given.dtype) * _get_length(array))


def energy_distance(
    real: ArrayLike | PreparedCells, predicted: ArrayLike, *, is_unbiased: bool = True
) -> float:
    r"""Energy distance between real and predicted cells.

    :math:`2 E|x - y| - E|x - x'| - E|y - y'|` with Euclidean norms (Székely and Rizzo 2013,
    doi:10.1016/j.jspi.2013.03.018). The unbiased form leaves each cell's distance to itself out
    of the two inner means: it is 0 on average for two samples of one distribution, whatever
    their sizes, and can be slightly negative. The V-form keeps those zeros; it is never
    negative but depends on the number of cells. It equals ``Distance("edistance")`` of pertpy.

    Parameters
    ----------
    real
        Cells x features, ``(n, d)``, for example 50 principal components fitted on the training
        cells; from :func:`prepare_cells` when several predictions are compared with them.
    predicted
        Cells x features, ``(m, d)``.
    is_unbiased
        Use the unbiased form; otherwise the V-form.

    Returns
    -------
    float
        The distance, in units of the features; lower is better.

    Raises
    ------
    ValueError
        If the shapes do not fit, a value is not finite, or a sample is too small.
    """
    x, y = _check_clouds(real, predicted, n_least=2 if is_unbiased else 1)
    within = sum(
        cloud.distance_sum / (cloud.n_pairs if is_unbiased else cloud.n_cells**2 / 2)
        for cloud in (x, y)
    )
    return float(2.0 * cdist(x.values, y.values).mean() - within)


def mmd_rbf(real: ArrayLike | PreparedCells, predicted: ArrayLike) -> float:
    r"""Squared maximum mean discrepancy between real and predicted cells, unbiased.

    :math:`E k(x, x') + E k(y, y') - 2 E k(x, y)` without the terms of a cell with itself
    (Gretton et al. 2012, JMLR 13:723). The kernel is the mean of four Gaussian ones,
    :math:`\exp(-d^2 / 2 s^2)` with :math:`s^2` at 0.5, 1, 2 and 4 times the median squared
    distance of the *real* cells, so that all predictions are measured with one ruler. It is 0
    on average for two samples of one distribution and can be slightly negative. pertpy's
    ``Distance("mmd")`` has another kernel and keeps a cell's terms with itself.

    Parameters
    ----------
    real
        Cells x features, ``(n, d)``, or what :func:`prepare_cells` made of them.
    predicted
        Cells x features, ``(m, d)``.

    Returns
    -------
    float
        The squared discrepancy, at most 2; lower is better.

    Raises
    ------
    ValueError
        If the shapes do not fit, a value is not finite, there are fewer than two cells, or at
        least half of the pairs of real cells are equal up to rounding, which leaves no bandwidth.
    """
    x, y = _check_clouds(real, predicted, n_least=2)
    bandwidth = x.median_squared_distance
    if bandwidth <= x.rounding**2:
        raise ValueError(
            f"The median distance of the {x.n_cells} real cells is 0, so mmd_rbf has no "
            "bandwidth. Use energy_distance for cells without variance."
        )
    y_squared = pdist(y.values, "sqeuclidean")
    cross = _compute_kernel(cdist(x.values, y.values, "sqeuclidean"), bandwidth).mean()
    within = x.kernel_sum / x.n_pairs + _compute_kernel(y_squared, bandwidth).mean()
    return float(within - 2.0 * cross)


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
        # The centre was taken off in the precision of the cells.
        share, centre = get_rounding(expression.dtype), float(np.linalg.norm(self._pca.mean_))
        return [
            PreparedCells(part, share * (centre + _get_length(part)))
            for part in np.split(points, ends)
        ]


def _get_length(points: np.ndarray) -> float:
    """Length of the longest vector."""
    return float(np.sqrt(np.einsum("ij,ij->i", points, points).max(initial=0.0)))


def _check_clouds(
    real: ArrayLike | PreparedCells, predicted: ArrayLike, *, n_least: int
) -> tuple[PreparedCells, PreparedCells]:
    x, y = prepare_cells(real, name="real"), prepare_cells(predicted, name="predicted")
    for cloud, name in ((x, "real"), (y, "predicted")):
        if cloud.n_cells < n_least:
            raise ValueError(f"{name} has {cloud.n_cells} cells; at least {n_least} are needed.")
    if x.values.shape[1] != y.values.shape[1]:
        raise ValueError(
            f"real has {x.values.shape[1]} features and predicted {y.values.shape[1]}: "
            "project both alike."
        )
    return x, y


def _compute_kernel(squared: np.ndarray, bandwidth: float) -> np.ndarray:
    """Compute the mean of four Gaussian kernels.

    Parameters
    ----------
    squared
        Squared distances, any shape.
    bandwidth
        Median squared distance m; the kernels are exp(-d2 / (2 s2)) at s2 = m/2, m, 2m and 4m.

    Returns
    -------
    numpy.ndarray
        Values in [0, 1], shaped as ``squared``.
    """
    # Halving s2 squares a kernel: one exponential does for all four.
    kernel = np.exp(squared / (-8.0 * bandwidth))
    total = kernel.copy()
    for _ in range(3):
        kernel = np.square(kernel)
        total += kernel
    return total / 4.0

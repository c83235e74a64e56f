"""Clouds of cells, with what every comparison with one cloud needs computed once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist


@dataclass(frozen=True)
class PreparedCells:
    """Checked cells that remember the terms which depend on them alone.

    Made by :func:`prepare_cells`. The terms are computed when first asked for.

    Parameters
    ----------
    values
        Cells x features, ``(n, d)`` float64.
    """

    values: np.ndarray

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
        """Sum of :func:`compute_kernel` over the pairs, at the cloud's own bandwidth."""
        squared = pdist(self.values, "sqeuclidean")
        return float(compute_kernel(squared, self.median_squared_distance).sum())


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
    array = np.asarray(cells, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} has shape {array.shape}; expected cells x features.")
    if len(array) == 0:
        raise ValueError(f"{name} has 0 cells; at least 1 is needed.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite.")
    return PreparedCells(array)


def compute_kernel(squared: np.ndarray, bandwidth: float) -> np.ndarray:
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

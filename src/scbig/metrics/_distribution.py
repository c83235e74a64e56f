"""Distances between two clouds of cells."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist


def energy_distance(real: ArrayLike, predicted: ArrayLike, *, is_unbiased: bool = True) -> float:
    r"""Energy distance between real and predicted cells.

    :math:`2 E|x - y| - E|x - x'| - E|y - y'|` with Euclidean norms (Székely and Rizzo 2013,
    doi:10.1016/j.jspi.2013.03.018). The unbiased form leaves each cell's distance to itself out
    of the two inner means: it is 0 on average for two samples of one distribution, whatever
    their sizes, and can be slightly negative. The V-form keeps those zeros; it is never
    negative but depends on the number of cells.

    Parameters
    ----------
    real
        Cells x features, ``(n, d)``, for example 50 principal components fitted on the training
        cells.
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
    x = _check_cells(real, "real", is_unbiased)
    y = _check_cells(predicted, "predicted", is_unbiased)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"real has {x.shape[1]} features and predicted {y.shape[1]}: project both alike."
        )
    within = _mean_within(x, is_unbiased) + _mean_within(y, is_unbiased)
    return float(2.0 * cdist(x, y).mean() - within)


def _check_cells(cells: ArrayLike, name: str, is_unbiased: bool) -> np.ndarray:
    array = np.asarray(cells, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}; expected cells x features.")
    n_least = 2 if is_unbiased else 1
    if len(array) < n_least:
        raise ValueError(f"{name} has {len(array)} cells; at least {n_least} are needed.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite.")
    return array


def _mean_within(cells: np.ndarray, is_unbiased: bool) -> float:
    n_cells = len(cells)
    n_pairs = n_cells * (n_cells - 1) if is_unbiased else n_cells**2
    return cdist(cells, cells).sum() / n_pairs

"""Distances between two clouds of cells."""

from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist, pdist

from scbig.metrics._cells import PreparedCells, compute_kernel, prepare_cells


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
        least half of the pairs of real cells are equal, which leaves no bandwidth.
    """
    x, y = _check_clouds(real, predicted, n_least=2)
    bandwidth = x.median_squared_distance
    if bandwidth <= 0:
        raise ValueError(
            f"The median distance of the {x.n_cells} real cells is 0, so mmd_rbf has no "
            "bandwidth. Use energy_distance for cells without variance."
        )
    y_squared = pdist(y.values, "sqeuclidean")
    cross = compute_kernel(cdist(x.values, y.values, "sqeuclidean"), bandwidth).mean()
    within = x.kernel_sum / x.n_pairs + compute_kernel(y_squared, bandwidth).mean()
    return float(within - 2.0 * cross)


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

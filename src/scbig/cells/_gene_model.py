"""How counts of each gene vary between control cells: mean and dispersion."""

from dataclasses import dataclass, fields, replace

import numpy as np
from scipy import sparse
from scipy.optimize import nnls

from scbig.cells._counts import CellCounts

# Genes with fewer counts in all control cells together count as silent in them.
MIN_CONTROL_COUNTS = 3
# Bounds of the squared coefficient of variation beyond Poisson.
_LEAST, _MOST = 1e-3, 1e3
# Share of all counts of control cells from which on a gene is dominant.
_DOMINANT = 0.1
# Of few genes each has much: a dominant one has so many times its even share.
_TIMES_EVEN = 4.0
_N_TREND_ROUNDS = 10
_ALL_GENES = ("reference", "trend")
# Means of conditions that are worked on at once.
_N_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class GeneModel:
    """Mean and dispersion of the counts of each gene in one context.

    Counts of a cell of size factor ``s`` are negative binomial with mean ``s * mean`` and variance
    ``s * mean + (s * mean)**2 / theta``.

    Attributes
    ----------
    mean
        Mean count in control cells of size factor 1, positive, shape ``(n_genes,)``.
    reference
        What the sizes of cells are divided by to have size factors: their mean in control cells.
    is_dominant
        Genes that make up so much of a cell that its size is that of the others, ``(n_genes,)``.
    is_silent
        Whether a gene has next to no counts in control cells, shape ``(n_genes,)``.
    dispersion
        ``1 / theta`` by moments, before it is shrunk, shape ``(n_genes,)``.
    weight
        Weight of ``dispersion`` against the trend, in [0, 1], shape ``(n_genes,)``.
    trend
        Intercept and slope of the trend: ``trend[0] + trend[1] / mean``.
    training_mean
        Mean over all training cells, at which the trend is read, shape ``(n_genes,)``.
    """

    mean: np.ndarray
    reference: float
    is_dominant: np.ndarray
    is_silent: np.ndarray
    dispersion: np.ndarray
    weight: np.ndarray
    trend: np.ndarray
    training_mean: np.ndarray

    def compute_size(self, counts: sparse.spmatrix, depth: np.ndarray) -> np.ndarray:
        """Compute size factors.

        Parameters
        ----------
        counts
            Cells x genes.
        depth
            Depth of each cell, in counts, shape ``(n_cells,)``.

        Returns
        -------
        Size factors, positive, shape ``(n_cells,)``.
        """
        return _compute_sizes(counts, depth, self.is_dominant) / self.reference

    def compute_theta(self, predicted_mean: np.ndarray | None = None) -> np.ndarray:
        """Compute the inverse dispersion of each gene, shrunk to the trend.

        Parameters
        ----------
        predicted_mean
            Predicted mean count at size factor 1, shape ``(n_genes,)``. Genes that are silent in
            control cells take the trend at it.

        Returns
        -------
        Inverse dispersions, shape ``(n_genes,)``.
        """
        at = self.training_mean
        if predicted_mean is not None:
            at = np.where(self.is_silent & (predicted_mean > 0), predicted_mean, at)
        trend = _compute_trend(self.trend, at)
        shrunk = self.weight * self.dispersion + (1 - self.weight) * trend
        return 1 / np.clip(shrunk, _LEAST, _MOST)


def fit_gene_model(
    counts: sparse.csr_matrix, depth: np.ndarray, group: np.ndarray, control: int = 0
) -> GeneModel:
    """Fit mean and dispersion of each gene.

    Dispersions are found by moments, about the mean of each condition, over all cells. Each is
    shrunk to a trend over the mean, the more the less certain it is: the trend is fitted to all
    genes by weighted non-negative least squares, and the spread of true dispersions about it by
    moments. The form of the trend is that of Anders and Huber (2010),
    doi:10.1186/gb-2010-11-10-r106.

    Parameters
    ----------
    counts
        Cells x genes: the training cells of one context, controls among them.
    depth
        Depth of each cell, in counts, positive, shape ``(n_cells,)``.
    group
        Number of the condition of each cell, shape ``(n_cells,)``.
    control
        Number of the control.

    Returns
    -------
    The model; size factor 1 is the mean of the control cells.

    Raises
    ------
    ValueError
        When there are no control cells, or depths are not positive.
    """
    is_control = group == control
    if not is_control.any():
        raise ValueError(f"No cell has group {control}, the control: give control cells.")
    if not (depth > 0).all():
        raise ValueError(
            f"{int((~(depth > 0)).sum())} cells have no positive depth, such as cells whose "
            "counts were not recovered: leave them out."
        )
    counts = sparse.csr_matrix(counts, dtype=np.float64)
    n_control = np.asarray(counts[is_control].sum(axis=0)).ravel()
    is_dominant = n_control > max(_DOMINANT, _TIMES_EVEN / len(n_control)) * n_control.sum()
    size = _compute_sizes(counts, depth, is_dominant)
    reference = float(size[is_control].mean())
    size /= reference
    # Half a count for genes without any, so that a ratio can raise them.
    mean = np.maximum(n_control, 0.5) / size[is_control].sum()
    everywhere = np.asarray(counts.sum(axis=0)).ravel()
    training_mean = np.maximum(everywhere, 0.5) / size.sum()
    moments = _measure_dispersions(counts, size, group)
    trend, weight = _fit_trend(moments[0], training_mean, *moments[1:])
    is_silent = n_control < MIN_CONTROL_COUNTS
    return GeneModel(
        mean, reference, is_dominant, is_silent, moments[0], weight, trend, training_mean
    )


def take_genes(
    found: CellCounts, model: GeneModel, columns: np.ndarray, genes: np.ndarray
) -> tuple[CellCounts, GeneModel]:
    """Take some genes of cells and of a model; the depths of cells stay what they are.

    Parameters
    ----------
    found
        Counts of cells, all recovered.
    model
        Mean and dispersion of genes.
    columns, genes
        Where the same genes stand among those of the cells, and of the model.

    Returns
    -------
    The counts and the model of these genes.
    """
    counts = sparse.csr_matrix(found.counts[:, columns])
    total = found.total
    if len(columns) < found.counts.shape[1]:
        sums = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        total = found.target_sum * sums / found.depth
    taken = {
        name.name: getattr(model, name.name)[genes]
        for name in fields(GeneModel)
        if name.name not in _ALL_GENES
    }
    return replace(found, counts=counts, total=total), replace(model, **taken)


def widen_genes(
    found: CellCounts, model: GeneModel, columns: np.ndarray, genes: np.ndarray
) -> GeneModel:
    """Model all genes of cells, of which a model knows some.

    Parameters
    ----------
    found
        Counts of control cells, all recovered.
    model, columns, genes
        As for :func:`take_genes`.

    Returns
    -------
    A model of all genes of the cells, in their order. Size factor 1 is the mean of these cells.
    Genes that the model knows keep their means to each other and their dispersions; those of
    others are told by these cells.
    """
    own = fit_gene_model(found.counts, found.depth, np.zeros(len(found.depth)))
    # What a cell has of the known genes is as much of it as before, whatever its size is told by.
    unit = own.mean[columns].sum() / model.mean[genes].sum()
    dispersion, weight = 1 / own.compute_theta(), np.ones(len(own.mean))
    mean, training_mean, is_silent = (
        own.mean.copy(),
        own.training_mean.copy(),
        own.is_silent.copy(),
    )
    mean[columns] = model.mean[genes] * unit
    training_mean[columns] = model.training_mean[genes] * unit
    is_silent[columns] = model.is_silent[genes]
    dispersion[columns], weight[columns] = model.dispersion[genes], model.weight[genes]
    trend = model.trend * np.array([1.0, unit])
    return replace(
        own,
        mean=mean,
        is_silent=is_silent,
        dispersion=dispersion,
        weight=weight,
        trend=trend,
        training_mean=training_mean,
    )


def _compute_sizes(
    counts: sparse.spmatrix, depth: np.ndarray, is_dominant: np.ndarray
) -> np.ndarray:
    """Size of each cell: its depth, or the counts of all genes that are not dominant."""
    if not is_dominant.any():
        return depth.astype(np.float64)
    # Half a count, for cells that have dominant genes alone.
    return np.maximum(counts @ (~is_dominant).astype(np.float64), 0.5)


def _measure_dispersions(
    counts: sparse.csr_matrix, size: np.ndarray, group: np.ndarray
) -> list[np.ndarray]:
    """Dispersions by moments, and sums over cells of powers 2, 3 and 4 of the fitted means."""
    _, code = np.unique(group, return_inverse=True)
    # The mean of each gene in each condition is needed, which may be many numbers.
    n_genes = max(_N_AT_ONCE // (int(code.max()) + 1), 1)
    by_gene = sparse.csc_matrix(counts)
    parts = [
        _measure_dispersion(sparse.csr_matrix(by_gene[:, i : i + n_genes]), size, code)
        for i in range(0, counts.shape[1], n_genes)
    ]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _measure_dispersion(
    counts: sparse.csr_matrix, size: np.ndarray, code: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Do so for some of the genes, of conditions that are numbered from 0."""
    n_cells = np.bincount(code).astype(np.float64)
    member = sparse.csr_matrix((np.ones(len(code)), (code, np.arange(len(code)))))
    squared = counts.copy()
    squared.data **= 2
    sums, sums_squared = (member @ c for c in (counts, squared))
    crossed = (member @ sparse.diags_array(size) @ counts).toarray()
    s1, s2, s3, s4 = (np.bincount(code, size**p)[:, None] for p in (1, 2, 3, 4))
    rate = sums.toarray() / s1
    residual = sums_squared.toarray() - 2 * rate * crossed + rate**2 * s2
    enough = n_cells > 1
    # The mean of a condition is fitted to its own cells.
    freed = np.where(enough, n_cells / np.maximum(n_cells - 1, 1), 0.0)[:, None]
    excess = (residual * freed - rate * s1 * enough[:, None]).sum(axis=0)
    powers = [(rate**p * s)[enough].sum(axis=0) for p, s in ((2, s2), (3, s3), (4, s4))]
    dispersion = np.divide(excess, powers[0], out=np.zeros_like(excess), where=powers[0] > 0)
    return dispersion, *powers


def _fit_trend(
    dispersion: np.ndarray,
    mean: np.ndarray,
    squares: np.ndarray,
    cubes: np.ndarray,
    fourths: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Trend over the mean, and the weight of each gene's own dispersion against it."""
    known = squares > 0
    trend = np.array([0.1, 0.0])
    if not known.any():
        return trend, np.zeros(len(mean))
    x = np.stack([np.ones(known.sum()), 1 / mean[known]], axis=1)
    y, spread = dispersion[known], 0.0
    for _ in range(_N_TREND_ROUNDS):
        expected = np.clip(x @ trend, _LEAST, _MOST)
        noise = _compute_noise(expected, squares[known], cubes[known], fourths[known])
        scale = 1 / np.sqrt(noise + spread * expected**2)
        trend = nnls(x * scale[:, None], y * scale)[0]
        expected = np.clip(x @ trend, _LEAST, _MOST)
        spread = _find_spread(y, expected, noise)
    weight = np.zeros(len(mean))
    weight[known] = spread * expected**2 / (spread * expected**2 + noise)
    return trend, weight


def _compute_noise(
    dispersion: np.ndarray, squares: np.ndarray, cubes: np.ndarray, fourths: np.ndarray
) -> np.ndarray:
    """Sampling variance of a dispersion by moments, from the fourth moment of the counts."""
    d = dispersion
    # Variance v = m + d m^2; that of the squared residual is v^2 (2 + 6 d) + v. Sums over cells
    # of m are left out of v, as they cancel with those that are taken off by the estimate.
    spread = (2 + 6 * d) * (squares + 2 * d * cubes + d**2 * fourths) + d * squares
    return spread / squares**2


def _find_spread(dispersion: np.ndarray, expected: np.ndarray, noise: np.ndarray) -> float:
    """Relative variance of true dispersions about the trend, from genes that are well known."""
    precise = noise <= max(np.median(noise), 0.0)
    relative = ((dispersion - expected) ** 2 - noise)[precise] / expected[precise] ** 2
    weight = expected[precise] ** 2 / noise[precise]
    # Single genes far off the trend are not to say how far all others may be.
    return float(np.clip(np.average(np.minimum(relative, 4.0), weights=weight), 0.0, 4.0))


def _compute_trend(trend: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return np.clip(trend[0] + trend[1] / mean, _LEAST, _MOST)

"""Which control cells are transported, how deep are they to be, and which of them respond?

Control cells that are taken a second time are drawn anew: no copies, but cells like the first.
"""

from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.stats import rankdata

from scbig.cells._counts import CellCounts
from scbig.cells._gene_model import GeneModel
from scbig.cells._match import MIN_MATCHED

# So many cells that are wanted are matched by themselves; fewer among as many as MIN_MATCHED.
MIN_WANTED = 50
# Cells of a condition that weigh as much, for its depths, as all perturbed cells together.
DEPTH_PRIOR = 20.0
# By how much mean depths of conditions, and depths of the cells of one, differ, in logarithms.
DEPTH_SPREAD, _CELL_SPREAD = 0.4, 0.5
# Share of the molecules of the first cell that the second has from it, on average.
_KEPT = 0.5
_N_AT_ONCE = 2_000_000


def draw_sources(n_controls: int, n_cells: int, rng: np.random.Generator) -> np.ndarray:
    """Draw control cells to be transported, all as often as each other.

    Parameters
    ----------
    n_controls
        Number of control cells.
    n_cells
        Number of cells that are wanted.
    rng
        Source of randomness.

    Returns
    -------
    Row numbers. Means are matched over the cells that are wanted if there are at least 50. Fewer
    would have their means by being alike, so that 500 are drawn, of which the first ``n_cells``
    are those that are wanted.
    """
    n_drawn = n_cells if n_cells >= MIN_WANTED else MIN_MATCHED
    rounds = [rng.permutation(n_controls) for _ in range(-(-n_drawn // n_controls))]
    return np.concatenate(rounds)[:n_drawn]


def draw_strength(n_cells: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw which cells respond, in each stretch of them as many as the share says.

    Parameters
    ----------
    n_cells
        Number of cells, in random order.
    share
        Share of the cells that respond.
    rng
        Source of randomness.

    Returns
    -------
    1 for cells that respond, else 0. Any ``n`` neighbours have ``n * share`` that do, up to one;
    each cell does with probability ``share``.
    """
    return np.diff(np.floor(rng.random() + share * np.arange(n_cells + 1)))


def map_depths(
    controls: np.ndarray,
    pooled: np.ndarray,
    own: np.ndarray | None = None,
    n_prior: float = DEPTH_PRIOR,
) -> np.ndarray:
    """Give each control cell the depth of the same rank among perturbed cells.

    Parameters
    ----------
    controls
        Depths of all control cells of the context, shape ``(n_controls,)``.
    pooled
        Depths of all perturbed training cells of the context.
    own
        Depths of the training cells of the condition; ``None`` where it was not measured.
    n_prior
        Number of cells of the condition at which its own quantiles weigh as much as the pooled.

    Returns
    -------
    A depth for each control cell, shape ``(n_controls,)``.
    """
    rank = (rankdata(controls, method="ordinal") - 0.5) / len(controls)
    depths = np.quantile(np.log(pooled), rank)
    if own is not None and len(own):
        weight = len(own) / (len(own) + n_prior)
        depths = weight * np.quantile(np.log(own), rank) + (1 - weight) * depths
    return np.exp(depths)


def estimate_depth_error(n_cells: int) -> float:
    """Estimate how far the mean depth of a condition may be from that of :func:`map_depths`.

    Its own depths have the error of a mean, and the pooled ones are those of other conditions.

    Parameters
    ----------
    n_cells
        Number of its training cells, which told its depths; 0 for a new condition.

    Returns
    -------
    Standard deviation of the logarithm.
    """
    variance = (DEPTH_SPREAD * DEPTH_PRIOR) ** 2 + n_cells * _CELL_SPREAD**2
    return float(np.sqrt(variance)) / (n_cells + DEPTH_PRIOR)


def renew_cells(
    cells: CellCounts, model: GeneModel, rows: np.ndarray, rng: np.random.Generator
) -> CellCounts:
    """Draw half of the molecules of some cells anew.

    Each molecule is kept or lost by chance, and others come at the posterior rate of the cell and
    gene given those that are kept, so that counts stay negative binomial with the same mean.

    Parameters
    ----------
    cells
        Cells, all recovered.
    model
        Mean and dispersion of each gene.
    rows
        Numbers of the cells to renew.
    rng
        Source of randomness.

    Returns
    -------
    All cells, in their order.
    """
    if not len(rows):
        return cells
    size, theta = model.compute_size(cells.counts, cells.depth), model.compute_theta()
    step = max(_N_AT_ONCE // len(theta), 1)
    parts = []
    for part in np.split(rows, np.arange(step, len(rows), step)):
        kept = rng.binomial(cells.counts[part].toarray(), _KEPT)
        rate = theta / (size[part, None] * model.mean) + _KEPT
        new = rng.poisson((1 - _KEPT) * rng.standard_gamma(kept + theta) / rate)
        parts.append(sparse.csr_matrix((kept + new).astype(np.int32)))
    stacked = sparse.vstack([cells.counts, *parts], format="csr")
    order = np.arange(cells.counts.shape[0])
    order[rows] = len(order) + np.arange(len(rows))
    counts = stacked[order]
    if not cells.is_closed:
        # Depth is that of genes which are not all there, and what counts were drawn about.
        return replace(cells, counts=counts)
    depth = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    return replace(cells, counts=counts, depth=np.where(depth > 0, depth, cells.depth))

"""Cells that are drawn a second time: no copies, but cells like the first."""

from dataclasses import replace

import numpy as np
from scipy import sparse

from scbig.cells._counts import CellCounts
from scbig.cells._gene_model import GeneModel

# Share of the molecules of the first cell that the second has from it, on average.
_KEPT = 0.5
_N_AT_ONCE = 2_000_000


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

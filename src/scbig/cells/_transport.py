"""Count transport: control cells become cells of a condition whose mean expression is given."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.stats import poisson

from scbig.cells._counts import CellCounts, compute_log1p
from scbig.cells._gene_model import GeneModel
from scbig.cells._match import Match
from scbig.cells._paths import CountPaths, SourceCells
from scbig.cells._sources import DEPTH_SPREAD

# Cells whose means are matched at once, at most.
MAX_MATCHED = 1024
# A cell may have so many times the counts of a gene that its like have, or so many times fewer.
_MAX_OFFSET = 3.0
# Counts of a gene in a cell, on average, between which ratios are told; how many are many.
_RATES = np.geomspace(0.01, 1e5, 200)
_MANY = 50


@dataclass(frozen=True)
class TransportedCells:
    """Cells made of control cells.

    Attributes
    ----------
    counts
        Cells x genes, CSR of int32.
    values
        ``log1p(target_sum * counts / depth)``, CSR of float32.
    depth
        Depth of each cell, shape ``(n_cells,)``.
    log_ratio
        Log ratio of each gene that matched its mean, shape ``(n_genes,)``; ``-inf`` for genes that
        have no counts left. The mean over blocks where there were several.
    missing
        Wanted mean less the mean of ``values``, over all cells, shape ``(n_genes,)``.
    is_at_limit
        Whether a gene stands at the limit of its ratio, with its mean not reached, ``(n_genes,)``.
    """

    counts: sparse.csr_matrix
    values: sparse.csr_matrix
    depth: np.ndarray
    log_ratio: np.ndarray
    missing: np.ndarray
    is_at_limit: np.ndarray

    def head(self, n_cells: int) -> "TransportedCells":
        """Return the first cells; what is said of genes stays that of all.

        Parameters
        ----------
        n_cells
            Number of cells.

        Returns
        -------
        The first ``n_cells``.
        """
        rows = slice(n_cells)
        counts, values = self.counts[rows], self.values[rows]
        return replace(self, counts=counts, values=values, depth=self.depth[rows])


def transport_cells(
    controls: CellCounts,
    model: GeneModel,
    target: np.ndarray,
    rng: np.random.Generator,
    *,
    new_depth: np.ndarray | None = None,
    depth_error: float = DEPTH_SPREAD,
    strength: np.ndarray | None = None,
    offset: np.ndarray | None = None,
) -> TransportedCells:
    """Change the counts of control cells so that they have a given mean expression.

    Genes that fall lose molecules by binomial thinning; genes that rise gain Poisson molecules,
    at the posterior rate of the cell and gene. Counts of each gene stay negative binomial, and
    what is particular to a cell stays with it. The ratio of each gene is the one at which the mean
    of the values that are handed out is nearest to the wanted one; between the two nearest it is
    chosen at random, so that it is right on average. Means are matched on values that are
    normalised by the depth that is handed out: the sum of the drawn counts, or the new depth where
    the screen's cells do not sum to one target sum.

    Parameters
    ----------
    controls
        Control cells, drawn by :func:`draw_sources`; all recovered.
    model
        Mean and dispersion of each gene.
    target
        Wanted mean of each gene, in the units of the screen's values, shape ``(n_genes,)``; below
        0 stands for 0.
    rng
        Source of randomness.
    new_depth
        Depth that each cell is to have, shape ``(n_cells,)``; its own by default.
    depth_error
        How far the mean depth may be from that, as a standard deviation of its logarithm. Within
        it, cells are as deep as the wanted means ask for.
    strength
        How strongly each cell responds, from 0, shape ``(n_cells,)``; 1 for all by default.
    offset
        Log ratio of each cell and gene beside that of the gene, ``(n_cells, n_genes)``. What it
        does to the mean is taken off by the match.

    Returns
    -------
    The cells, in the order of ``controls``.

    Raises
    ------
    ValueError
        When a cell has no positive depth, or shapes do not fit.
    """
    _check_shapes(controls, target, new_depth, strength, offset)
    n_cells = controls.counts.shape[0]
    parts = []
    for rows in np.array_split(np.arange(n_cells), -(-n_cells // MAX_MATCHED)):
        depth = controls.depth[rows]
        to_have = depth if new_depth is None else new_depth[rows]
        source = SourceCells(
            sparse.csc_matrix(controls.counts[rows]),
            model.compute_size(controls.counts[rows], depth),
            to_have / depth,
            None if strength is None else strength[rows],
            None if offset is None else offset[rows],
        )
        match = Match(source, model, controls, depth, np.maximum(target, 0), depth_error)
        parts.append(_hand_out(match, *match.run(rng)))
    return parts[0] if len(parts) == 1 else _join(parts)


def find_offset(
    deviation: np.ndarray, target: np.ndarray, scale: float, unit: float = 1.0
) -> np.ndarray:
    """Find the log ratios that move cells about their mean.

    Ratios are those of the Poisson rates at which values have the mean and the moved mean.

    Parameters
    ----------
    deviation
        By how much each cell is to be above or below the mean of each gene, in the units of the
        screen's values, shape ``(n_cells, n_genes)``.
    target
        That mean, shape ``(n_genes,)``.
    scale
        What one count adds to the value before the logarithm: target sum over depth.
    unit
        Natural logarithm of the base of the values.

    Returns
    -------
    For ``offset`` of :func:`transport_cells`, float32, ``(n_cells, n_genes)``: ratios of 1/3 to 3.
    Their average over cells is 0.
    """
    mean = np.array([_expect_log1p(rate, scale) for rate in _RATES])
    level = np.maximum(target * unit, mean[0])
    moved = np.clip(level + deviation * unit, mean[0], mean[-1])
    rates = np.log(_RATES)
    offset = np.interp(moved, mean, rates) - np.interp(level, mean, rates)
    offset = np.clip(offset, -np.log(_MAX_OFFSET), np.log(_MAX_OFFSET))
    return (offset - offset.mean(axis=0)).astype(np.float32)


def _expect_log1p(rate: float, scale: float) -> float:
    """Mean of ``log1p(scale * count)`` for Poisson counts."""
    if rate > _MANY:
        # The curvature of the logarithm takes the rest off.
        return float(np.log1p(scale * rate) - 0.5 * rate * (scale / (1 + scale * rate)) ** 2)
    counts = np.arange(4 * _MANY)
    return float(poisson.pmf(counts, rate) @ np.log1p(scale * counts))


def _check_shapes(
    controls: CellCounts,
    target: np.ndarray,
    new_depth: np.ndarray | None,
    strength: np.ndarray | None,
    offset: np.ndarray | None,
) -> None:
    n_cells, n_genes = controls.counts.shape
    wanted: list[tuple[str, np.ndarray | None, tuple[int, ...]]] = [
        ("target", target, (n_genes,)),
        ("new_depth", new_depth, (n_cells,)),
        ("strength", strength, (n_cells,)),
        ("offset", offset, (n_cells, n_genes)),
    ]
    for name, array, shape in wanted:
        if array is not None and array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, but {shape} is needed.")
    if not np.isfinite(target).all():
        raise ValueError(f"{int((~np.isfinite(target)).sum())} wanted means are not finite.")
    depths = controls.depth if new_depth is None else np.minimum(controls.depth, new_depth)
    if not (depths > 0).all():
        raise ValueError(
            f"{int((~(depths > 0)).sum())} of {n_cells} cells have no positive depth. Leave out "
            "those whose counts are not known: controls.subset(controls.is_recovered)"
        )


def _hand_out(match: Match, paths: CountPaths, cut: np.ndarray) -> TransportedCells:
    n_cells, n_genes = match.source.n_cells, len(match.target)
    counts = paths.get_counts(cut, n_genes)
    depth = match.new_depth
    if match.is_closed:
        depth = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    values = compute_log1p(counts, depth, match.target_sum, match.base)
    # scipy sums sparse matrices in their own precision.
    mean = np.bincount(values.indices, values.data, n_genes) / n_cells
    missing = match.target / match.unit - mean
    log_ratio = np.empty(n_genes)
    log_ratio[paths.genes] = paths.get_log_ratio(cut)
    is_at_limit = np.zeros(n_genes, dtype=bool)
    at_end = (cut == paths.start[1:]) & (paths.upper >= match.limit[paths.genes])
    is_at_limit[paths.genes] = at_end
    is_at_limit &= missing > 0
    return TransportedCells(counts, values, depth, log_ratio, missing, is_at_limit)


def _join(parts: list[TransportedCells]) -> TransportedCells:
    weight = np.array([part.counts.shape[0] for part in parts], dtype=np.float64)
    weight /= weight.sum()
    return TransportedCells(
        sparse.vstack([part.counts for part in parts], format="csr"),
        sparse.vstack([part.values for part in parts], format="csr"),
        np.concatenate([part.depth for part in parts]),
        weight @ np.stack([part.log_ratio for part in parts]),
        weight @ np.stack([part.missing for part in parts]),
        np.any([part.is_at_limit for part in parts], axis=0),
    )

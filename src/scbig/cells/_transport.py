"""Count transport: control cells become cells of a condition whose mean expression is given."""

from copy import copy
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.stats import rankdata

from scbig.cells._counts import CellCounts, compute_log1p
from scbig.cells._gene_model import GeneModel
from scbig.cells._paths import CountPaths, SourceCells, draw_paths, join_paths

# Means are matched over at least so many cells, of which a user may want only the first.
MIN_MATCHED = 500
# And at most so many at once.
MAX_MATCHED = 1024
# Cells of a condition that weigh as much, for its depths, as all perturbed cells together.
DEPTH_PRIOR = 20.0
# Bound of the log ratio for genes that are silent in control cells.
MAX_LOG_RATIO = float(np.log(1e6))
# A gene may be raised up to so many times the counts of a whole cell.
_MAX_SHARE = 4.0
_N_SEARCHES = 12
# Values are normalised again until the totals of the drawn cells stay.
_N_RENORMALISED = 10
_DEPTH_TOLERANCE = 2e-3
# Totals may leave the wanted depth by so much, in logarithms, for the sake of the means.
_MAX_MOVE = 0.1
# Rounds in which the ratio of each cell is found, and the mean change that is no more looked at.
_N_SETTLED = 4
_SCALE_TOLERANCE = 0.02
# With more molecules the search begins with every so-many-eth cell.
_N_WITHOUT_PILOT = 150_000
_PILOT = 8
_N_KNOWN = 20


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
    Row numbers, at least 500 of them, so that means can be matched; the first ``n_cells`` are
    those that are wanted.
    """
    n_drawn = max(n_cells, MIN_MATCHED)
    rounds = [rng.permutation(n_controls) for _ in range(-(-n_drawn // n_controls))]
    return np.concatenate(rounds)[:n_drawn]


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


def transport_cells(
    controls: CellCounts,
    model: GeneModel,
    target: np.ndarray,
    rng: np.random.Generator,
    *,
    new_depth: np.ndarray | None = None,
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
        Wanted mean of each gene, in the units of the screen's values, shape ``(n_genes,)``. Below 0
        stands for 0.
    rng
        Source of randomness.
    new_depth
        Depth that each cell is to have, shape ``(n_cells,)``; its own by default.
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
            depth / model.reference_depth,
            to_have / depth,
            None if strength is None else strength[rows],
            None if offset is None else offset[rows],
        )
        parts.append(_Match(source, model, controls, to_have, np.maximum(target, 0)).run(rng))
    return parts[0] if len(parts) == 1 else _join(parts)


def _check_shapes(
    controls: CellCounts,
    target: np.ndarray,
    new_depth: np.ndarray | None,
    strength: np.ndarray | None,
    offset: np.ndarray | None,
) -> None:
    n_cells, n_genes = controls.counts.shape
    wanted = {"target": (target, (n_genes,)), "new_depth": (new_depth, (n_cells,))}
    wanted |= {"strength": (strength, (n_cells,)), "offset": (offset, (n_cells, n_genes))}
    for name, (array, shape) in wanted.items():
        if array is not None and array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, but {shape} is needed.")
    depths = controls.depth if new_depth is None else np.minimum(controls.depth, new_depth)
    if not (depths > 0).all():
        raise ValueError(
            f"{int((~(depths > 0)).sum())} of {n_cells} cells have no positive depth. Leave out "
            "those whose counts are not known: controls.subset(controls.is_recovered)"
        )


class Bounds(NamedTuple):
    """Genes, and the bounds of the log ratio of each."""

    genes: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


class _Match:
    """The search for the ratios of one block of cells."""

    def __init__(
        self,
        source: SourceCells,
        model: GeneModel,
        scale: CellCounts,
        new_depth: np.ndarray,
        target: np.ndarray,
    ) -> None:
        self.source, self.target, self.new_depth = source, target, new_depth
        self.depth = source.size * model.reference_depth
        self.target_sum, self.base, self.is_closed = scale.target_sum, scale.base, scale.is_closed
        self.unit = 1.0 if scale.base is None else float(np.log(scale.base))
        # What a single count is worth in the mean of all cells, for each at size factor 1.
        one = np.log1p(self.target_sum / new_depth) / self.unit
        self.worth = float(np.mean(one * new_depth)) / model.reference_depth
        self.mean = model.mean
        self.theta = model.compute_theta(target / self.worth)
        share = np.log(_MAX_SHARE * model.mean.sum() / model.mean)
        self.limit = np.clip(share, 1.0, MAX_LOG_RATIO)

    def run(self, rng: np.random.Generator) -> TransportedCells:
        bounds, used = self._guess(), self.new_depth
        if self.source.n_cells >= MIN_MATCHED and self.source.counts.sum() > _N_WITHOUT_PILOT:
            bounds, used = self._sharpen(bounds, rng)
            paths, cut, _ = self.match(bounds, used, rng)
        else:
            paths, cut = self._settle(bounds, rng)[:2]
        return self._hand_out(paths, cut)

    def _settle(
        self, bounds: Bounds, rng: np.random.Generator
    ) -> tuple[CountPaths, np.ndarray, np.ndarray]:
        """Match until the ratio of each cell is that which gives it its new depth.

        A gene that makes up much of a cell takes its depth with it when it falls.
        """
        paths, cut, used = self.match(bounds, self.new_depth, rng)
        for _ in range(_N_SETTLED * self.is_closed):
            if not self.rescale(paths, cut):
                break
            slack = 0.1 + 0.5 * (bounds.upper - np.maximum(bounds.lower, bounds.upper - 1))
            found = np.empty(len(self.target))
            found[paths.genes] = paths.get_log_ratio(cut)
            bounds = self._bound(bounds.genes, found - slack, found + slack)
            paths, cut, used = self.match(bounds, self.new_depth, rng)
        return paths, cut, used

    def rescale(self, paths: CountPaths, cut: np.ndarray) -> bool:
        """Give each cell the ratio with which it is expected to have its new depth.

        Returns whether this changes cells by more than chance does.
        """
        log_ratio = np.empty(len(self.target))
        log_ratio[paths.genes] = np.minimum(paths.get_log_ratio(cut), self.limit[paths.genes])
        scale = self.new_depth / np.maximum(self._expect_depth(log_ratio), 1e-3 * self.new_depth)
        # What is common to all cells is in the ratios of genes.
        scale *= np.exp(np.mean(np.log(self.source.scale / scale)))
        change = np.abs(np.log(scale / self.source.scale))
        self.source = replace(self.source, scale=scale)
        return float(np.mean(change)) > _SCALE_TOLERANCE

    def _expect_depth(self, log_ratio: np.ndarray) -> np.ndarray:
        """Depth of each cell that is expected at log ratios of genes, without its own ratio."""
        source = self.source
        ratio = np.exp(log_ratio)
        rises = ratio > 1
        counts = source.counts
        # A rising gene gains molecules at its posterior rate, which is linear in its counts.
        size = source.size[:, None]
        theta, mean = self.theta[rises], self.mean[rises]
        weight = size * mean / (theta + size * mean)
        gain = (weight * (theta + counts[:, rises].toarray())) @ (ratio[rises] - 1)
        return counts @ np.minimum(ratio, 1) + gain

    def match(
        self, bounds: Bounds, used: np.ndarray, rng: np.random.Generator
    ) -> tuple[CountPaths, np.ndarray, np.ndarray]:
        """Find paths, cuts, and the depths by which values are normalised."""
        dither = rng.random(len(self.target))
        paths, cut = self._search(*bounds, used, dither, rng)
        wanted, before = self.new_depth.sum(), 0.0
        for _ in range(_N_RENORMALISED * self.is_closed):
            drawn = self._sum_counts(paths, cut)
            total = max(float(drawn.sum()), 1.0)
            moved = float(np.log(total / used.sum()))
            # Totals move by a fixed share of the last move: the sum of what is to come is taken
            # at once.
            share = np.clip(moved / before, 0, 0.8) if before else 0.0
            final = np.clip(
                np.log(total / wanted) + moved * share / (1 - share), -_MAX_MOVE, _MAX_MOVE
            )
            used, before = drawn * (np.exp(final) * wanted / total), moved
            paths, cut = self._cut_again(paths, used, dither, rng)
            if abs(moved) < _DEPTH_TOLERANCE or abs(final) == _MAX_MOVE:
                break
        return paths, cut, used

    def _sharpen(self, bounds: Bounds, rng: np.random.Generator) -> tuple[Bounds, np.ndarray]:
        """Find narrower bounds, and nearer depths, with a few of the cells."""
        rows = np.arange(0, self.source.n_cells, _PILOT)
        pilot = copy(self)
        pilot.source = self.source.subset(rows)
        pilot.depth, pilot.new_depth = self.depth[rows], self.new_depth[rows]
        # By chance the few cells express a gene more or less than all.
        pilot.target = np.maximum(self.target + pilot._average() - self._average(), 0)
        paths, cut, depth = pilot._settle(bounds, rng)
        if self.is_closed:
            self.rescale(paths, cut)
        found = np.full(len(self.target), -np.inf)
        found[paths.genes] = paths.get_log_ratio(cut)
        n_counts = np.zeros(len(self.target))
        n_counts[paths.genes] = paths.count_molecules(cut)
        slack = 0.01 + 1.0 / np.sqrt(n_counts + 1)
        is_known = n_counts >= _N_KNOWN
        lower = np.where(is_known, found - slack, bounds.lower)
        upper = np.where(is_known, found + slack, bounds.upper)
        change = depth.sum() / pilot.new_depth.sum()
        return self._bound(bounds.genes, lower, upper), self.new_depth * change

    def _average(self) -> np.ndarray:
        """Mean value of each gene in the source cells."""
        counts = self.source.counts
        return self._sum_values(counts.indices, counts.data, counts.indptr, self.depth)

    def _cut_again(
        self,
        paths: CountPaths,
        depth: np.ndarray,
        dither: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[CountPaths, np.ndarray]:
        """Cut where values are normalised by other depths, which may lead beyond the bounds."""
        cut, below, above = self._cut(paths, depth, dither)
        outside = self._is_outside(paths, below, above)
        if not outside.any():
            return paths, cut
        bounds = self._widen(paths.keep(outside), below[outside], above[outside])
        wider, _ = self._search(*bounds, depth, dither, rng)
        paths = join_paths([paths.keep(~outside), wider])
        return paths, self._cut(paths, depth, dither)[0]

    def _search(
        self,
        genes: np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
        depth: np.ndarray,
        dither: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[CountPaths, np.ndarray]:
        """Draw genes between bounds, and anew between wider ones where these were too narrow."""
        parts, cuts = [], []
        for i in range(_N_SEARCHES):
            paths = draw_paths(
                self.source, self.mean, self.theta, rng, lower=lower, upper=upper, genes=genes
            )
            cut, below, above = self._cut(paths, depth, dither)
            outside = self._is_outside(paths, below, above) & (i < _N_SEARCHES - 1)
            if not outside.any():
                break
            parts.append(paths.keep(~outside))
            genes, lower, upper = self._widen(paths.keep(outside), below[outside], above[outside])
        if not parts:
            return paths, cut
        joined = join_paths([*parts, paths])
        return joined, self._cut(joined, depth, dither)[0]

    def _guess(self) -> Bounds:
        """Bounds between which the log ratio of each gene may be looked for."""
        counts, n_cells = self.source.counts, self.source.n_cells
        now = self._average()
        gain = self._compute_values(counts.indices, counts.data, self.depth)
        gain -= self._compute_values(counts.indices, counts.data - 1, self.depth)
        slope = _sum_genes(gain * counts.data, counts.indptr) / n_cells
        least = self.mean * self.worth
        has_counts = now > 0
        guess = _extrapolate(
            np.where(has_counts, now, least), np.where(has_counts, slope, least), self.target
        )
        n_counts = np.asarray(counts.sum(axis=0)).ravel()
        slack = 0.08 + 0.15 * np.minimum(np.abs(guess), 5.0) + 1.5 / np.sqrt(n_counts + 1)
        # With a target of 0 nothing is to be left.
        lower = np.where(self.target > 0, guess - slack, -np.inf)
        return self._bound(np.arange(len(self.target)), lower, guess + slack)

    def _sum_values(
        self, cell: np.ndarray, count: np.ndarray, start: np.ndarray, depth: np.ndarray
    ) -> np.ndarray:
        """Mean value of each gene over all cells, of entries by gene."""
        return _sum_genes(self._compute_values(cell, count, depth), start) / self.source.n_cells

    def _compute_values(
        self, cell: np.ndarray, count: np.ndarray, depth: np.ndarray
    ) -> np.ndarray:
        factor = np.divide(self.target_sum, depth, out=np.zeros(len(depth)), where=depth > 0)
        scaled = count.astype(np.float32) * factor.astype(np.float32)[cell]
        return np.log1p(scaled) / np.float32(self.unit)

    def _cut(
        self, paths: CountPaths, depth: np.ndarray, dither: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cut each gene's points where its mean is the wanted one.

        Returns the cuts, and the means at both bounds.
        """
        gain = self._compute_values(paths.cell, paths.step, depth)
        gain -= self._compute_values(paths.cell, paths.step - 1, depth)
        sums = np.concatenate([[0.0], np.cumsum(gain, dtype=np.float64)])
        n_cells = self.source.n_cells
        below = self._sum_values(paths.base_cell, paths.base_count, paths.base_start, depth)
        first, last = paths.start[:-1], paths.start[1:]
        wanted = sums[first] + (self.target[paths.genes] - below) * n_cells
        cut = np.clip(np.searchsorted(sums, wanted, side="right") - 1, first, last)
        # Of the two nearest the upper one, as often as the mean is near it.
        can_rise = np.flatnonzero(cut < last)
        share = (wanted[can_rise] - sums[cut[can_rise]]) / np.maximum(gain[cut[can_rise]], 1e-30)
        cut[can_rise] += share > dither[paths.genes[can_rise]]
        return cut, below, below + (sums[last] - sums[first]) / n_cells

    def _is_outside(
        self, paths: CountPaths, below: np.ndarray, above: np.ndarray
    ) -> np.ndarray:
        """Whether the wanted mean of each gene lies outside the bounds, and these can be moved."""
        target = self.target[paths.genes]
        can_fall, can_rise = paths.lower > -np.inf, paths.upper < self.limit[paths.genes]
        return (can_fall & (below > target)) | (can_rise & (above < target))

    def _sum_counts(self, paths: CountPaths, cut: np.ndarray) -> np.ndarray:
        is_in, _ = paths.select(cut)
        n_cells = self.source.n_cells
        depth = np.bincount(paths.base_cell, paths.base_count, minlength=n_cells)
        return depth + np.bincount(paths.cell[is_in], minlength=n_cells)

    def _widen(self, paths: CountPaths, below: np.ndarray, above: np.ndarray) -> Bounds:
        """Genes whose bounds were too narrow, and bounds about where the mean may be reached."""
        target = self.target[paths.genes]
        half = np.clip(paths.upper - paths.lower, 0.04, 2.0) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            # As if the mean grew in proportion, which it does at most.
            fall = np.fmin(np.log(target / below), 0)
            # Steps are bounded, lest a gene with few counts by chance be drawn by the million.
            rise = np.clip(np.log(target / above), 0, 1.5)
        is_low = below > target
        middle = np.where(is_low, paths.lower + 1.3 * fall, paths.upper + 1.3 * rise)
        half += 0.5 * np.where(is_low, -fall, rise)
        return self._bound(paths.genes, middle - half, middle + half)

    def _bound(self, genes: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Bounds:
        """Bounds that keep to the limit of each gene."""
        limit = self.limit[genes]
        # What falls far has few counts: all of them are looked at.
        lower = np.where(lower > -7, np.minimum(lower, limit - 0.5), -np.inf)
        return Bounds(genes, lower, np.clip(upper, -5.0, limit))

    def _hand_out(self, paths: CountPaths, cut: np.ndarray) -> TransportedCells:
        n_cells, n_genes = self.source.n_cells, len(self.target)
        counts = paths.get_counts(cut, n_genes)
        depth = self.new_depth
        if self.is_closed:
            depth = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        values = compute_log1p(counts, depth, self.target_sum, self.base)
        missing = self.target - np.asarray(values.sum(axis=0, dtype=np.float64)).ravel() / n_cells
        log_ratio = np.empty(n_genes)
        log_ratio[paths.genes] = paths.get_log_ratio(cut)
        is_at_limit = np.zeros(n_genes, dtype=bool)
        at_end = (cut == paths.start[1:]) & (paths.upper >= self.limit[paths.genes])
        is_at_limit[paths.genes] = at_end
        is_at_limit &= missing > 0
        return TransportedCells(counts, values, depth, log_ratio, missing, is_at_limit)


def _sum_genes(values: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Sum entries that are stored gene by gene."""
    return np.diff(np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])[start])


def _extrapolate(mean: np.ndarray, slope: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Guess the log ratio that takes a mean to another, from its slope in the log ratio.

    Taken is ``a log(1 + b r)``, which grows in proportion to the ratio ``r`` where few cells have
    a count, and with its logarithm where all have many.
    """
    grid = np.exp(np.linspace(-8, 12, 400))
    relative = grid / (1 + grid) / np.log1p(grid)
    b = np.interp(-np.clip(slope / mean, relative[-1], relative[0]), -relative, grid)
    wanted = np.minimum(target / mean * np.log1p(b), 50.0)
    with np.errstate(divide="ignore"):
        return np.log(np.expm1(wanted) / b)


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

"""At which ratio of each gene cells have the wanted mean: searched for all genes at once."""

from copy import copy
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from scbig.cells._counts import CellCounts
from scbig.cells._draw import draw_paths
from scbig.cells._gene_model import GeneModel
from scbig.cells._paths import CountPaths, SourceCells, join_paths

# Where fewer cells are wanted than their means can be matched over, so many are matched.
MIN_MATCHED = 500
# Bound of the log ratio for genes that are silent in control cells.
MAX_LOG_RATIO = float(np.log(1e6))
# A gene may be raised up to so many times the counts of a whole cell.
_MAX_SHARE = 4.0
_N_SEARCHES = 12
# Values are normalised again until the totals of the drawn cells stay.
_N_RENORMALISED = 10
_DEPTH_TOLERANCE = 2e-3
# Totals leave the wanted depth for the sake of the means: all means off by so much, in
# logarithms, are as bad as totals off by the error of the wanted depth.
_MEANS_OFF = 0.02
# Errors of the wanted depth by which totals are off at most.
_MOST_ERRORS = 2.5
# With less to give up totals go all the way.
_LITTLE = 0.05
_MAX_SLOPE = 0.98
_N_HELD, _MAX_RISE = 8, 0.3
# Rounds in which the ratio of each cell is found, and the mean change that is no more looked at.
_N_SETTLED = 4
_SCALE_TOLERANCE = 0.02
# With more molecules the search begins with every so-many-eth cell.
_N_WITHOUT_PILOT = 150_000
_PILOT = 8
_N_KNOWN = 20


class Bounds(NamedTuple):
    """Genes, and the bounds of the log ratio of each."""

    genes: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


class Match:
    """The search for the ratios of one block of cells."""

    def __init__(
        self,
        source: SourceCells,
        model: GeneModel,
        scale: CellCounts,
        depth: np.ndarray,
        target: np.ndarray,
        depth_error: float,
    ) -> None:
        self.source, self.depth_error = source, depth_error
        self.depth, self.new_depth = depth, depth * source.scale
        self.target_sum, self.base, self.is_closed = scale.target_sum, scale.base, scale.is_closed
        self.unit = 1.0 if scale.base is None else float(np.log(scale.base))
        # The search is in natural logarithms.
        self.target = target * self.unit
        # What a single count is worth in the mean of all cells, for each at size factor 1.
        one = np.log1p(self.target_sum / self.new_depth)
        self.worth = float(np.mean(one * source.size * source.scale))
        self.mean = model.mean
        self.theta = model.compute_theta(self.target / self.worth)
        share = np.log(_MAX_SHARE * model.mean.sum() / model.mean)
        if source.strength is not None:
            # Nor may the cell that responds most raise a gene further.
            share /= max(float(source.strength.max(initial=1.0)), 1.0)
        # In the precision in which paths keep their bounds, to be told from these.
        self.limit = np.clip(share, 1.0, MAX_LOG_RATIO).astype(np.float32)

    def run(self, rng: np.random.Generator) -> tuple[CountPaths, np.ndarray]:
        """Find the paths of all genes, and where each is cut."""
        bounds, used = self._guess(), self.new_depth
        if self.source.n_cells >= MIN_MATCHED and self.source.counts.sum() > _N_WITHOUT_PILOT:
            bounds, used = self._sharpen(bounds, rng)
            return self.match(bounds, used, rng)[:2]
        return self.settle(bounds, rng)[:2]

    def settle(
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
        expected = self.source.expect_depth(log_ratio, self.mean, self.theta)
        scale = self.new_depth / np.maximum(expected, 1e-3 * self.new_depth)
        if self.source.strength is None:
            # What is common to all cells stays in the ratios of genes.
            scale *= np.exp(np.mean(np.log(self.source.scale / scale)))
        change = np.abs(np.log(scale / self.source.scale))
        self.source = replace(self.source, scale=scale)
        return float(np.mean(change)) > _SCALE_TOLERANCE

    def match(
        self, bounds: Bounds, used: np.ndarray, rng: np.random.Generator
    ) -> tuple[CountPaths, np.ndarray, np.ndarray]:
        """Find paths, cuts, and the depths by which values are normalised."""
        dither = rng.random(len(self.target))
        paths, cut = self._search(*bounds, used, dither, rng)
        before = share = 0.0
        for i in range(_N_RENORMALISED * self.is_closed):
            drawn = self._sum_counts(paths, cut)
            if not drawn.any():
                break
            moved = float(np.log(drawn.sum() / used.sum()))
            # Totals move by a fixed share of the last move: the sum of what is to come is taken
            # at once.
            if i > 1:
                share = float(np.clip(moved / before, 0, _MAX_SLOPE)) if before else 0.0
            off = self._compare_depth(drawn) + moved * share / (1 - share)
            most = _MOST_ERRORS * self.depth_error
            held = float(np.clip(off * _compromise(share, off, self.depth_error), -most, most))
            if abs(off - held) > _LITTLE:
                return self._hold(paths, cut, held, dither, rng)
            used, before = drawn * np.exp(off - self._compare_depth(drawn)), moved
            paths, cut = self._cut_again(paths, used, dither, rng)
            if i > 1 and abs(moved) < _DEPTH_TOLERANCE:
                break
        return paths, cut, used

    def _compare_depth(self, drawn: np.ndarray) -> float:
        """Logarithm of the total over the wanted one."""
        return float(np.log(drawn.sum() / self.new_depth.sum()))

    def _hold(
        self,
        paths: CountPaths,
        cut: np.ndarray,
        off: float,
        dither: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[CountPaths, np.ndarray, np.ndarray]:
        """Cut where totals are off the wanted ones by ``off``; all means are then off alike."""
        drawn = used = self._sum_counts(paths, cut)
        low, high = -np.inf, np.inf
        for _ in range(_N_HELD):
            # What is counted grows with what it is normalised by, mostly less than in proportion.
            at, missing = self._compare_depth(used), off - self._compare_depth(drawn)
            low, high = (max(low, at), high) if missing > 0 else (low, min(high, at))
            near = at + min(missing, _MAX_RISE)
            at = near if low <= near <= high else (low + high) / 2
            used = drawn * np.exp(at - self._compare_depth(drawn))
            paths, cut = self._cut_again(paths, used, dither, rng)
            drawn = self._sum_counts(paths, cut)
            if not drawn.any() or abs(self._compare_depth(drawn) - off) < _DEPTH_TOLERANCE:
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
        paths, cut, depth = pilot.settle(bounds, rng)
        if self.is_closed:
            self.rescale(paths, cut)
        found = np.full(len(self.target), -np.inf)
        found[paths.genes] = paths.get_log_ratio(cut)
        n_counts = np.zeros(len(self.target))
        n_counts[paths.genes] = paths.count_molecules(cut)
        slack = 0.01 + 1.0 / np.sqrt(n_counts + 1) + 0.1 * (self.source.strength is not None)
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
        wider = self._search(*bounds, depth, dither, rng)
        return _join([_keep(paths, cut, ~outside), wider])

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
        parts = []
        for i in range(_N_SEARCHES):
            paths = draw_paths(
                self.source, self.mean, self.theta, rng, lower=lower, upper=upper, genes=genes
            )
            cut, below, above = self._cut(paths, depth, dither)
            outside = self._is_outside(paths, below, above) & (i < _N_SEARCHES - 1)
            if not outside.any():
                break
            parts.append(_keep(paths, cut, ~outside))
            genes, lower, upper = self._widen(paths.keep(outside), below[outside], above[outside])
        return _join([*parts, (paths, cut)])

    def _guess(self) -> Bounds:
        """Bounds between which the log ratio of each gene may be looked for."""
        counts, n_cells = self.source.counts, self.source.n_cells
        now = self._average()
        gain = self._compute_gains(counts.indices, counts.data, self.depth)
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
        scaled = self._get_factor(depth).take(cell)
        scaled *= count.astype(np.float32)
        return np.log1p(scaled, out=scaled)

    def _compute_gains(self, cell: np.ndarray, count: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """By how much values are above those of one count less."""
        factor = self._get_factor(depth).take(cell)
        before = factor * (count - 1).astype(np.float32)
        before += 1
        return np.log1p(np.divide(factor, before, out=factor), out=factor)

    def _get_factor(self, depth: np.ndarray) -> np.ndarray:
        factor = np.divide(self.target_sum, depth, out=np.zeros(len(depth)), where=depth > 0)
        return factor.astype(np.float32)

    def _cut(
        self, paths: CountPaths, depth: np.ndarray, dither: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cut each gene's points where its mean is the wanted one.

        Returns the cuts, and the means at both bounds.
        """
        gain = self._compute_gains(paths.cell, paths.step, depth)
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

    def _is_outside(self, paths: CountPaths, below: np.ndarray, above: np.ndarray) -> np.ndarray:
        """Whether the wanted mean of each gene lies outside the bounds, and these can be moved."""
        target = self.target[paths.genes]
        can_fall, can_rise = paths.lower > -np.inf, paths.upper < self.limit[paths.genes]
        return (can_fall & (below > target)) | (can_rise & (above < target))

    def _sum_counts(self, paths: CountPaths, cut: np.ndarray) -> np.ndarray:
        is_in = paths.select(cut)
        n_cells = self.source.n_cells
        depth = np.bincount(paths.base_cell, paths.base_count, minlength=n_cells)
        return depth + np.bincount(paths.cell[is_in], minlength=n_cells)

    def _widen(self, paths: CountPaths, below: np.ndarray, above: np.ndarray) -> Bounds:
        """Genes whose bounds were too narrow, and bounds about where the mean may be reached."""
        target = self.target[paths.genes]
        half = np.clip(paths.upper - paths.lower, 0.04, 2.0) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            # As if the mean grew in proportion, which it does at most.
            fall = np.clip(np.fmin(np.log(target / below), 0), -20, 0)
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


def _keep(
    paths: CountPaths, cut: np.ndarray, is_kept: np.ndarray
) -> tuple[CountPaths, np.ndarray]:
    """Choose genes, and where they are cut."""
    kept = paths.keep(is_kept)
    return kept, kept.start[:-1] + (cut - paths.start[:-1])[is_kept]


def _join(parts: list[tuple[CountPaths, np.ndarray]]) -> tuple[CountPaths, np.ndarray]:
    """Put paths of different genes together, and where they are cut."""
    joined = join_paths([paths for paths, _ in parts])
    steps = [cut - paths.start[:-1] for paths, cut in parts]
    return joined, joined.start[:-1] + np.concatenate(steps)


def _sum_genes(values: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Sum entries that are stored gene by gene."""
    sums = np.zeros(len(start) - 1)
    filled = np.flatnonzero(np.diff(start))
    if len(filled):
        sums[filled] = np.add.reduceat(values, start[filled], dtype=np.float64)
    return sums


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


def _compromise(slope: float, off: float, depth_error: float) -> float:
    """Share of a move of the totals at which it and what is left of the means are least bad.

    With totals held where they are wanted, means are off by ``off * (1 - slope) / slope``; moved
    by ``off``, none is. Far off, totals are not told by means, and better stay.
    """
    loss = (slope / (1 - slope) * _MEANS_OFF / depth_error) ** 2
    return 1 / (1 + loss * (1 + (off / depth_error) ** 2))

"""Counts of cells as functions of a ratio: every molecule has the ratio at which it appears.

Let a gene's counts in a cell be Poisson about a rate, and the rate gamma distributed. Then counts
at all ratios are one process: at ratio ``r`` the molecules below ``r`` of a Poisson process with
that rate. Given the counts of a control cell, at ratio 1, its molecules lie uniformly between 0
and 1, which is binomial thinning, and further ones come with the rate's posterior. Counts at each
ratio are negative binomial, and never fall as the ratio rises.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

# Entries, cells x genes, that are worked on at once.
_N_AT_ONCE = 400_000


@dataclass(frozen=True)
class SourceCells:
    """Control cells, and how their counts are to change.

    The log ratio of a cell and gene is ``log(scale) + offset + strength * x``, where ``x`` is the
    log ratio of the gene.

    Attributes
    ----------
    counts
        Cells x genes, CSC.
    size
        Size factor of each cell, shape ``(n_cells,)``.
    scale
        Ratio of each cell, for all genes alike, shape ``(n_cells,)``.
    strength
        How strongly each cell responds, from 0, shape ``(n_cells,)``; ``None`` for 1.
    offset
        Log ratio of each cell and gene beside that of the gene, ``(n_cells, n_genes)``.
    """

    counts: sparse.csc_matrix
    size: np.ndarray
    scale: np.ndarray
    strength: np.ndarray | None = None
    offset: np.ndarray | None = None

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.counts.shape[0]

    def subset(self, rows: np.ndarray) -> "SourceCells":
        """Choose cells by number."""
        return SourceCells(
            self.counts[rows],
            self.size[rows],
            self.scale[rows],
            None if self.strength is None else self.strength[rows],
            None if self.offset is None else self.offset[rows],
        )

    def compute_log_ratio(
        self, cell: np.ndarray, gene: np.ndarray, log_ratio: np.ndarray
    ) -> np.ndarray:
        """Compute log ratios of entries, given that of each one's gene."""
        if self.strength is None:
            return log_ratio + self._compute_fixed(cell, gene)
        strength = self.strength[cell]
        # A cell that does not respond does not do so at any ratio, be it 0.
        with np.errstate(invalid="ignore"):
            change = np.where(strength == 0, 0.0, strength * log_ratio)
        return change + self._compute_fixed(cell, gene)

    def invert_log_ratio(
        self, cell: np.ndarray, gene: np.ndarray, critical: np.ndarray
    ) -> np.ndarray:
        """Compute the gene's log ratio at which an entry has the log ratio ``critical``."""
        above = critical - self._compute_fixed(cell, gene)
        if self.strength is None:
            return above
        strength = self.strength[cell]
        never = np.where(above > 0, np.inf, -np.inf)
        return np.divide(above, strength, out=never, where=strength > 0)

    def _compute_fixed(self, cell: np.ndarray, gene: np.ndarray) -> np.ndarray:
        fixed = np.log(self.scale).astype(np.float32)[cell]
        return fixed if self.offset is None else fixed + self.offset[cell, gene]


@dataclass(frozen=True)
class CountPaths:
    """Counts of cells at all log ratios between two bounds, gene by gene.

    Attributes
    ----------
    genes
        Genes, in the order in which their entries and points are stored.
    n_cells
        Number of cells.
    lower, upper
        Bounds of the log ratio of each of ``genes``.
    base_start, base_cell, base_count
        Positive counts at the lower bound, as in CSC.
    start, cell, critical, step
        Molecules that appear between the bounds, as in CSC: the cell of each, the log ratio at
        which it appears, rising within a gene, and how many the cell has with it.
    """

    genes: np.ndarray
    n_cells: int
    lower: np.ndarray
    upper: np.ndarray
    base_start: np.ndarray
    base_cell: np.ndarray
    base_count: np.ndarray
    start: np.ndarray
    cell: np.ndarray
    critical: np.ndarray
    step: np.ndarray

    def find_cut(self, log_ratio: np.ndarray) -> np.ndarray:
        """Find for each gene the number of the first point that has not appeared.

        Parameters
        ----------
        log_ratio
            Log ratio of each of ``genes``, between the bounds.

        Returns
        -------
        Positions among all points.
        """
        gene = np.repeat(np.arange(len(self.genes)), np.diff(self.start))
        is_in = self.critical <= log_ratio[gene]
        return self.start[:-1] + np.bincount(gene[is_in], minlength=len(self.genes))

    def get_counts(self, cut: np.ndarray, n_genes: int) -> sparse.csr_matrix:
        """Count the molecules that have appeared.

        Parameters
        ----------
        cut
            For each gene the number of the first point that has not appeared.
        n_genes
            Number of genes of the screen.

        Returns
        -------
        Cells x genes, CSR of int32, in the screen's order of genes.
        """
        is_in, gene = self.select(cut)
        base_gene = np.repeat(self.genes, np.diff(self.base_start))
        cell = np.concatenate([self.base_cell, self.cell[is_in]])
        where = (cell, np.concatenate([base_gene, self.genes[gene[is_in]]]))
        count = np.concatenate([self.base_count, np.ones(int(is_in.sum()), dtype=np.int32)])
        # Entries that occur twice are added up.
        counts = sparse.coo_matrix((count, where), shape=(self.n_cells, n_genes)).tocsr()
        counts.sort_indices()
        return counts

    def get_log_ratio(self, cut: np.ndarray) -> np.ndarray:
        """Log ratio of each gene at which its last molecule before the cut appeared."""
        last = np.append(self.critical, np.nan)[np.maximum(cut - 1, 0)]
        return np.where(cut > self.start[:-1], last, self.lower)

    def count_molecules(self, cut: np.ndarray) -> np.ndarray:
        """Count the molecules of each gene in all cells."""
        sums = np.concatenate([[0], np.cumsum(self.base_count)])
        return np.diff(sums[self.base_start]) + cut - self.start[:-1]

    def select(self, cut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tell which points lie before the cut of their gene, and the gene's position."""
        n_points = np.diff(self.start)
        is_in = np.arange(len(self.cell)) < np.repeat(cut, n_points)
        return is_in, np.repeat(np.arange(len(self.genes)), n_points)

    def keep(self, is_kept: np.ndarray) -> "CountPaths":
        """Choose genes by a mask over ``genes``."""
        base = np.repeat(is_kept, np.diff(self.base_start))
        points = np.repeat(is_kept, np.diff(self.start))
        return CountPaths(
            self.genes[is_kept],
            self.n_cells,
            self.lower[is_kept],
            self.upper[is_kept],
            _to_start(np.diff(self.base_start)[is_kept]),
            self.base_cell[base],
            self.base_count[base],
            _to_start(np.diff(self.start)[is_kept]),
            self.cell[points],
            self.critical[points],
            self.step[points],
        )


def join_paths(parts: list[CountPaths]) -> CountPaths:
    """Put paths of different genes of the same cells together."""
    if len(parts) == 1:
        return parts[0]

    def join(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    def join_start(name: str) -> np.ndarray:
        return _to_start(np.concatenate([np.diff(getattr(part, name)) for part in parts]))

    return CountPaths(
        join("genes"),
        parts[0].n_cells,
        join("lower"),
        join("upper"),
        join_start("base_start"),
        join("base_cell"),
        join("base_count"),
        join_start("start"),
        join("cell"),
        join("critical"),
        join("step"),
    )


def draw_paths(
    source: SourceCells,
    mean: np.ndarray,
    theta: np.ndarray,
    rng: np.random.Generator,
    *,
    lower: np.ndarray,
    upper: np.ndarray,
    genes: np.ndarray | None = None,
) -> CountPaths:
    """Draw counts of cells at all log ratios between two bounds.

    Parameters
    ----------
    source
        Control cells.
    mean, theta
        Mean at size factor 1 and inverse dispersion of all genes, shape ``(n_genes,)``.
    rng
        Source of randomness.
    lower, upper
        Bounds of the log ratio of each of ``genes``; ``lower`` may be ``-inf``.
    genes
        Genes to draw; all by default.

    Returns
    -------
    The paths.
    """
    genes = np.arange(len(mean)) if genes is None else genes
    n_genes = max(_N_AT_ONCE // source.n_cells, 1)
    parts = []
    for start in range(0, len(genes), n_genes):
        block = slice(start, start + n_genes)
        chosen = _Block(source, genes[block], mean, theta, lower[block], upper[block])
        parts.append(chosen.draw(rng))
    return join_paths(parts)


class _Block:
    """Some genes of all cells; an entry's number is ``position of the gene * n_cells + cell``."""

    def __init__(
        self,
        source: SourceCells,
        genes: np.ndarray,
        mean: np.ndarray,
        theta: np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
    ) -> None:
        self.source, self.genes = source, genes
        self.mean, self.theta = (p[genes].astype(np.float32) for p in (mean, theta))
        self.lower, self.upper = (x.astype(np.float32) for x in (lower, upper))
        counts = source.counts[:, genes]
        self.gene = np.repeat(np.arange(len(genes)), np.diff(counts.indptr))
        self.cell = counts.indices
        self.entry = self.gene * source.n_cells + self.cell
        self.count = counts.data.astype(np.int32)

    def draw(self, rng: np.random.Generator) -> CountPaths:
        old, *old_points = self._draw_old(rng)
        new_entry, new_critical = self._draw_new(rng)
        is_base = new_critical <= self.lower[new_entry // self.source.n_cells]
        n_entries = len(self.genes) * self.source.n_cells
        base = np.bincount(new_entry[is_base], minlength=n_entries).astype(np.int32)
        base[self.entry] += old
        new_points = (new_entry[~is_base], new_critical[~is_base])
        pairs = zip(old_points, new_points, strict=True)
        return self._sort(base, *(np.concatenate(pair) for pair in pairs))

    def _split(self, entry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cell and position of the gene of entries."""
        gene = entry // self.source.n_cells
        return entry - gene * self.source.n_cells, gene

    def _draw_old(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """The molecules of the control cells: at ratios uniform between 0 and 1.

        How many of each entry are there at the lower bound; entries and log ratios of those that
        appear up to the upper one.
        """
        critical = -rng.standard_exponential(int(self.count.sum()), dtype=np.float32)
        low, high = (self._compute_log_ratio(bound) for bound in (self.lower, self.upper))
        is_base = critical <= np.repeat(low, self.count)
        base = np.zeros(len(self.entry), dtype=np.int32)
        if len(self.entry):
            start = np.cumsum(self.count) - self.count
            base[:] = np.add.reduceat(is_base, start, dtype=np.int32)
        is_point = np.flatnonzero((critical <= np.repeat(high, self.count)) & ~is_base)
        entry = np.repeat(self.entry, self.count)[is_point]
        return base, entry, self._invert(entry, critical[is_point])

    def _compute_log_ratio(self, bound: np.ndarray) -> np.ndarray:
        """Log ratios of the entries with counts, at a bound of their genes."""
        gene = self.genes[self.gene]
        return self.source.compute_log_ratio(self.cell, gene, bound[self.gene])

    def _draw_new(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Further molecules: the first of an entry, then all others given it."""
        entry, count, wait = self._draw_first(rng)
        cell, gene = self._split(entry)
        theta = self.theta[gene]
        # The rate's posterior is gamma with shape count + theta and rate prior + ratio.
        prior = theta / (self.mean[gene] * self.source.size[cell])
        first = 1 + (1 + prior) * np.expm1(wait / (count + theta))
        last = np.exp(self.source.compute_log_ratio(cell, self.genes[gene], self.upper[gene]))
        is_in = first <= last
        entry, first, last, prior = (x[is_in] for x in (entry, first, last, prior))
        shape = (count + theta)[is_in] + 1
        rate = rng.standard_gamma(shape) / (prior + first)
        n_more = rng.poisson(rate * (last - first))
        low, high = np.repeat(first, n_more), np.repeat(last, n_more)
        ratio = np.concatenate([first, low + (high - low) * rng.random(len(low))])
        entry = np.concatenate([entry, np.repeat(entry, n_more)])
        return entry, self._invert(entry, np.log(ratio))

    def _draw_first(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Entries that may gain a molecule: their numbers, counts, and its waiting time."""
        n_cells = self.source.n_cells
        wait = rng.standard_exponential((len(self.genes), n_cells), dtype=np.float32)
        bound = self._bound_hazard()
        wait, bound = wait.ravel(), bound.ravel()
        # Entries with counts have hazards of their own; those without are below the bound.
        hazard = self._compute_hazard()
        is_near = np.flatnonzero(wait[self.entry] < hazard)
        bound[self.entry] = -1
        empty = np.flatnonzero(wait < bound)
        entry = np.concatenate([self.entry[is_near], empty])
        count = np.concatenate([self.count[is_near], np.zeros(len(empty), dtype=np.int32)])
        return entry, count, wait[entry].astype(np.float64)

    def _bound_hazard(self) -> np.ndarray:
        """Expected new molecules up to the upper bound, which no hazard of an empty entry exceeds."""
        source, mean = self.source, self.mean[:, None]
        if source.strength is None and source.offset is None:
            above = np.exp(self.upper).astype(np.float32)[:, None] * mean
            size = source.size.astype(np.float32)
            return above * (source.scale.astype(np.float32) * size) - mean * size
        cell = np.arange(source.n_cells)
        change = source.compute_log_ratio(cell[None], self.genes[:, None], self.upper[:, None])
        return ((np.exp(change) - 1) * mean * source.size).astype(np.float32) * (1 + 1e-6)

    def _compute_hazard(self) -> np.ndarray:
        """Expected waiting time up to the upper bound of entries with counts."""
        last = np.exp(self._compute_log_ratio(self.upper))
        size = self.source.size.astype(np.float32)
        theta, mean = self.theta[self.gene], self.mean[self.gene] * size[self.cell]
        gain = np.maximum(last - 1, 0) * mean / (theta + mean)
        return (self.count + theta) * np.log1p(gain)

    def _invert(self, entry: np.ndarray, critical: np.ndarray) -> np.ndarray:
        cell, gene = self._split(entry)
        found = self.source.invert_log_ratio(cell, self.genes[gene], critical)
        return found.astype(np.float32)

    def _sort(self, base: np.ndarray, entry: np.ndarray, critical: np.ndarray) -> CountPaths:
        """Number the molecules of each entry, and order those of each gene."""
        n_cells, n_genes = self.source.n_cells, len(self.genes)
        # Between 0 and 1, and rising with the ratio.
        place = np.clip(1 / (1 + np.exp(-critical.astype(np.float64))), 0, 1 - 1e-9)
        step = base[entry] + 1
        crowded = np.flatnonzero(np.bincount(entry, minlength=len(base))[entry] > 1)
        order = crowded[np.argsort(entry[crowded] + place[crowded], kind="stable")]
        step[order] += _count_up(entry[order])
        gene = entry // n_cells
        order = np.argsort(gene + place, kind="stable")
        filled = np.flatnonzero(base)
        return CountPaths(
            self.genes,
            n_cells,
            self.lower,
            self.upper,
            _to_start(np.bincount(filled // n_cells, minlength=n_genes)),
            (filled % n_cells).astype(np.int32),
            base[filled],
            _to_start(np.bincount(gene, minlength=n_genes)),
            (entry - gene * n_cells)[order].astype(np.int32),
            critical[order],
            step[order],
        )


def _count_up(sorted_ids: np.ndarray) -> np.ndarray:
    """Number equal neighbours from 0."""
    position = np.arange(len(sorted_ids))
    is_first = np.ones(len(sorted_ids), dtype=bool)
    is_first[1:] = sorted_ids[1:] != sorted_ids[:-1]
    return position - np.maximum.accumulate(np.where(is_first, position, 0))


def _to_start(numbers: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(numbers)])

"""How the ratios at which molecules appear are drawn, for many cells and genes at once."""

import numpy as np

from scbig.cells._paths import N_AT_ONCE, CountPaths, SourceCells, join_paths, to_start


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
    n_genes = max(N_AT_ONCE // source.n_cells, 1)
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
        self.size = source.size.astype(np.float32)
        self.lower, self.upper = (x.astype(np.float32) for x in (lower, upper))
        counts = source.counts[:, genes]
        self.gene = np.repeat(np.arange(len(genes), dtype=np.int32), np.diff(counts.indptr))
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
        prior = theta / (self.mean[gene] * self.size[cell])
        first = 1 + (1 + prior) * np.expm1(wait / (count + theta))
        last = np.exp(self.source.compute_log_ratio(cell, self.genes[gene], self.upper[gene]))
        is_in = first <= last
        entry, first, last, prior = (x[is_in] for x in (entry, first, last, prior))
        shape = (count + theta)[is_in] + 1
        rate = rng.standard_gamma(shape, dtype=np.float32) / (prior + first)
        n_more = rng.poisson(rate * (last - first))
        low, high = np.repeat(first, n_more), np.repeat(last, n_more)
        ratio = np.concatenate(
            [first, low + (high - low) * rng.random(len(low), dtype=np.float32)]
        )
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
        empty = np.flatnonzero(wait < bound).astype(np.int32)
        entry = np.concatenate([self.entry[is_near], empty])
        count = np.concatenate([self.count[is_near], np.zeros(len(empty), dtype=np.int32)])
        return entry, count, wait[entry]

    def _bound_hazard(self) -> np.ndarray:
        """Expected new molecules up to the upper bound: no hazard of an empty entry is above."""
        source, mean = self.source, self.mean[:, None]
        if source.strength is None and source.offset is None:
            above = np.exp(self.upper).astype(np.float32)[:, None] * mean
            return above * (source.scale.astype(np.float32) * self.size) - mean * self.size
        cell = np.arange(source.n_cells)
        change = source.compute_log_ratio(cell[None], self.genes[:, None], self.upper[:, None])
        return ((np.exp(change) - 1) * mean * source.size).astype(np.float32) * (1 + 1e-6)

    def _compute_hazard(self) -> np.ndarray:
        """Expected waiting time up to the upper bound of entries with counts."""
        last = np.exp(self._compute_log_ratio(self.upper))
        theta, mean = self.theta[self.gene], self.mean[self.gene] * self.size[self.cell]
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
            to_start(np.bincount(filled // n_cells, minlength=n_genes)),
            (filled % n_cells).astype(np.int32),
            base[filled],
            to_start(np.bincount(gene, minlength=n_genes)),
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

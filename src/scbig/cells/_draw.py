"""How the ratios at which molecules appear are drawn, for many cells and genes at once."""

import numpy as np

from scbig.cells._paths import N_AT_ONCE, CountPaths, SourceCells, join_paths, to_start

_N_PLACES = 2**16
# Genes whose cells have no more than so many events each have them drawn one by one.
_RARE = 0.5


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
    n_genes = int(np.clip(N_AT_ONCE // source.n_cells, 1, _N_PLACES))
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
        self._take_counts()
        self.entry = self.gene * source.n_cells + self.cell
        # Log ratios of the entries with counts, at the bounds of their genes.
        own = self.gene if source.offset is None else genes[self.gene]
        self.low, self.high = (
            source.compute_log_ratio(self.cell, own, bound[self.gene])
            for bound in (self.lower, self.upper)
        )

    def _take_counts(self) -> None:
        counts, genes = self.source.counts, self.genes
        if (np.diff(genes) == 1).all():
            # Neighbours are taken as they lie.
            start = counts.indptr[genes[0] : genes[-1] + 2]
            data, cell = (x[start[0] : start[-1]] for x in (counts.data, counts.indices))
        else:
            some = counts[:, genes]
            start, data, cell = some.indptr, some.data, some.indices
        self.gene = np.repeat(np.arange(len(genes), dtype=np.int32), np.diff(start))
        self.cell, self.count = cell, data.astype(np.int32)

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
        base = self.count.copy()
        # Entries that rise even at the lower bound keep all.
        falls = np.flatnonzero(self.low < 0)
        owner = np.repeat(falls.astype(np.int32), self.count[falls])
        critical = -rng.standard_exponential(len(owner), dtype=np.float32)
        later = np.flatnonzero(critical > self.low[owner])
        owner, critical = owner[later], critical[later]
        base -= np.bincount(owner, minlength=len(base)).astype(np.int32)
        is_in = critical <= self.high[owner]
        entry = self.entry[owner[is_in]]
        return base, entry, self._invert(entry, critical[is_in])

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
        bound = self._bound_hazard()
        # Entries with counts have hazards of their own; those without are below the bound.
        flat = bound.ravel()
        flat[self.entry] = self._compute_hazard()
        most = bound.max(axis=1)
        is_rare = most < _RARE
        parts = (
            self._find_rare(bound, np.where(is_rare, np.maximum(most, 0), 0), rng),
            self._find_others(bound, ~is_rare, rng),
        )
        entry, wait = (np.concatenate(pair) for pair in zip(*parts, strict=True))
        count = np.zeros(len(flat), dtype=np.int32)
        count[self.entry] = self.count
        return entry, count[entry], wait

    def _find_rare(
        self, bound: np.ndarray, most: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """First events of genes that have few: all events are drawn, and the first kept.

        Events of a gene come at rate 1 in each of its cells, in whichever by even chance.
        """
        n_cells = self.source.n_cells
        n_events = rng.poisson(most * np.float64(n_cells))
        gene = np.repeat(np.arange(len(most), dtype=np.int32), n_events)
        wait = rng.random(len(gene), dtype=np.float32) * most[gene]
        entry = gene * n_cells + rng.integers(0, n_cells, len(gene), dtype=np.int32)
        is_in = wait < bound.ravel()[entry]
        entry, wait = entry[is_in], wait[is_in]
        order = _order(entry)
        entry, wait = entry[order], wait[order]
        start = np.flatnonzero(np.diff(entry, prepend=-1))
        if not len(start):
            return entry, wait
        return entry[start], np.minimum.reduceat(wait, start)

    def _find_others(
        self, bound: np.ndarray, is_chosen: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """First events of chosen genes, by a waiting time of each entry."""
        chosen = np.flatnonzero(is_chosen)
        n_cells = self.source.n_cells
        wait = rng.standard_exponential((len(chosen), n_cells), dtype=np.float32).ravel()
        near = np.flatnonzero(wait < bound[chosen].ravel()).astype(np.int32)
        gene = near // n_cells
        return chosen.astype(np.int32)[gene] * n_cells + (near - gene * n_cells), wait[near]

    def _bound_hazard(self) -> np.ndarray:
        """Expected new molecules up to the upper bound: no hazard of an empty entry is above."""
        source, mean = self.source, self.mean[:, None]
        if source.strength is None and source.offset is None:
            found = np.exp(self.upper)[:, None] * (source.scale.astype(np.float32) * self.size)
            found -= self.size
            found *= mean
            return found
        cell = np.arange(source.n_cells)
        change = source.compute_log_ratio(cell[None], self.genes[:, None], self.upper[:, None])
        return ((np.exp(change) - 1) * mean * source.size).astype(np.float32) * (1 + 1e-6)

    def _compute_hazard(self) -> np.ndarray:
        """Expected waiting time up to the upper bound of entries with counts."""
        hazard = np.zeros(len(self.entry), dtype=np.float32)
        at = np.flatnonzero(self.high > 0)
        gene = self.gene[at]
        theta, mean = self.theta[gene], self.mean[gene] * self.size[self.cell[at]]
        gain = np.expm1(self.high[at]) * (mean / (theta + mean))
        hazard[at] = (self.count[at] + theta) * np.log1p(gain)
        return hazard

    def _invert(self, entry: np.ndarray, critical: np.ndarray) -> np.ndarray:
        cell, gene = self._split(entry)
        found = self.source.invert_log_ratio(cell, self.genes[gene], critical)
        return found.astype(np.float32)

    def _sort(self, base: np.ndarray, entry: np.ndarray, critical: np.ndarray) -> CountPaths:
        """Order the molecules of each gene, and number those of each entry."""
        n_cells, n_genes = self.source.n_cells, len(self.genes)
        gene = entry // n_cells
        order = _order(gene.astype(np.int64) << 16 | self._place(gene, critical))
        gene, entry, critical = gene[order], entry[order], critical[order]
        step = base[entry] + 1
        crowded = np.flatnonzero(np.bincount(entry, minlength=len(base))[entry] > 1)
        crowded = crowded[_order(entry[crowded])]
        step[crowded] += _count_up(entry[crowded])
        filled = np.flatnonzero(base > 0).astype(np.int32)
        its_gene = filled // n_cells
        return CountPaths(
            self.genes,
            n_cells,
            self.lower,
            self.upper,
            to_start(np.bincount(its_gene, minlength=n_genes)),
            filled - its_gene * n_cells,
            base[filled],
            to_start(np.bincount(gene, minlength=n_genes)),
            (entry - gene * n_cells).astype(np.int32),
            critical,
            step,
        )

    def _place(self, gene: np.ndarray, critical: np.ndarray) -> np.ndarray:
        """Where log ratios stand between the bounds of their genes, in 16 bits.

        Ratios below 1 are told apart by the ratio, those above by its logarithm.
        """

        def measure(log_ratio: np.ndarray) -> np.ndarray:
            return np.exp(np.minimum(log_ratio, 0)) + np.maximum(log_ratio, 0)

        low, high = measure(self.lower), measure(self.upper)
        factor = ((_N_PLACES - 1) / np.maximum(high - low, 1e-6)).astype(np.float32)
        place = (measure(critical) - low[gene]) * factor[gene]
        return np.clip(place, 0, _N_PLACES - 1).astype(np.int64)


def _order(number: np.ndarray) -> np.ndarray:
    """Order whole numbers below 2**32; equal ones stay as they come.

    Numbers of 16 bits are not compared to be sorted, so that this is much quicker.
    """
    order = np.argsort((number & (_N_PLACES - 1)).astype(np.uint16), kind="stable")
    if number.max(initial=0) < _N_PLACES:
        return order
    high = (number >> 16).astype(np.uint16)
    return order[np.argsort(high[order], kind="stable")]


def _count_up(sorted_ids: np.ndarray) -> np.ndarray:
    """Number equal neighbours from 0."""
    position = np.arange(len(sorted_ids))
    is_first = np.ones(len(sorted_ids), dtype=bool)
    is_first[1:] = sorted_ids[1:] != sorted_ids[:-1]
    return position - np.maximum.accumulate(np.where(is_first, position, 0))

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
N_AT_ONCE = 400_000


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

    def expect_depth(
        self, log_ratio: np.ndarray, mean: np.ndarray, theta: np.ndarray
    ) -> np.ndarray:
        """Compute the expected sum of the counts of each cell, were its own ratio 1.

        Parameters
        ----------
        log_ratio
            Log ratio of each gene, shape ``(n_genes,)``.
        mean, theta
            Mean at size factor 1 and inverse dispersion of each gene.

        Returns
        -------
        Sums, shape ``(n_cells,)``.
        """
        is_plain = self.strength is None and self.offset is None
        add_up = self._expect_new if is_plain else self._expect_each
        n_genes = max(N_AT_ONCE // self.n_cells, 1)
        total = np.zeros(self.n_cells)
        if is_plain:
            total += self.counts @ np.minimum(np.exp(log_ratio), 1)
        for start in range(0, len(mean), n_genes):
            gene = np.arange(start, min(start + n_genes, len(mean)))
            total += add_up(gene, log_ratio[gene], mean[gene], theta[gene])
        return total

    def _expect_new(
        self, gene: np.ndarray, log_ratio: np.ndarray, mean: np.ndarray, theta: np.ndarray
    ) -> np.ndarray:
        """New molecules of some genes, whose ratio is that of all cells."""
        # New molecules come at the rate's posterior mean, weight * (theta + counts).
        rises = log_ratio > 0
        gene, mean, theta = gene[rises], mean[rises], theta[rises]
        more = np.expm1(log_ratio[rises])
        expected = self.size[:, None].astype(np.float32) * mean.astype(np.float32)
        weight = expected / (expected + theta.astype(np.float32))
        counts = self.counts[:, gene]
        its_gene = np.repeat(np.arange(len(gene), dtype=np.int32), np.diff(counts.indptr))
        gain = weight[counts.indices, its_gene] * (counts.data * more[its_gene])
        total = np.bincount(counts.indices, gain, minlength=self.n_cells)
        return total + weight @ (theta * more)

    def _expect_each(
        self, gene: np.ndarray, log_ratio: np.ndarray, mean: np.ndarray, theta: np.ndarray
    ) -> np.ndarray:
        """Sums of some genes, whose ratio is each cell's own."""
        counts = self.counts[:, gene].toarray()
        change = self.compute_log_ratio(np.arange(self.n_cells)[:, None], gene, log_ratio)
        ratio = np.exp(change - np.log(self.scale)[:, None])
        expected = self.size[:, None] * mean
        rate = expected * (theta + counts) / (theta + expected)
        return (np.minimum(ratio, 1) * counts + np.maximum(ratio - 1, 0) * rate).sum(axis=1)

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
        is_in = self.select(cut)
        shape = (self.n_cells, len(self.genes))
        start = to_start(cut - self.start[:-1])
        one = np.ones(start[-1], dtype=np.int32)
        # Several molecules of an entry are added up.
        new = sparse.csc_matrix((one, self.cell[is_in], start), shape=shape)
        old = sparse.csc_matrix((self.base_count, self.base_cell, self.base_start), shape=shape)
        if (np.diff(self.genes) > 0).all():
            counts, genes = old.tocsr() + new.tocsr(), self.genes
        else:
            # Rows are written in the order of columns, so that none has to be sorted.
            order = np.argsort(self.genes)
            counts, genes = old[:, order].tocsr() + new[:, order].tocsr(), self.genes[order]
        parts = (counts.data, genes[counts.indices], counts.indptr)
        return sparse.csr_matrix(parts, shape=(self.n_cells, n_genes))

    def get_log_ratio(self, cut: np.ndarray) -> np.ndarray:
        """Log ratio of each gene at which its last molecule before the cut appeared."""
        last = np.append(self.critical, np.nan)[np.maximum(cut - 1, 0)]
        return np.where(cut > self.start[:-1], last, self.lower)

    def count_molecules(self, cut: np.ndarray) -> np.ndarray:
        """Count the molecules of each gene in all cells."""
        sums = np.concatenate([[0], np.cumsum(self.base_count)])
        return np.diff(sums[self.base_start]) + cut - self.start[:-1]

    def select(self, cut: np.ndarray) -> np.ndarray:
        """Tell which points lie before the cut of their gene."""
        return np.arange(len(self.cell)) < np.repeat(cut, np.diff(self.start))

    def keep(self, is_kept: np.ndarray) -> "CountPaths":
        """Choose genes by a mask over ``genes``."""
        base = np.repeat(is_kept, np.diff(self.base_start))
        points = np.repeat(is_kept, np.diff(self.start))
        return CountPaths(
            self.genes[is_kept],
            self.n_cells,
            self.lower[is_kept],
            self.upper[is_kept],
            to_start(np.diff(self.base_start)[is_kept]),
            self.base_cell[base],
            self.base_count[base],
            to_start(np.diff(self.start)[is_kept]),
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
        return to_start(np.concatenate([np.diff(getattr(part, name)) for part in parts]))

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


def to_start(numbers: np.ndarray) -> np.ndarray:
    """Where each group begins, and the end, from their numbers."""
    return np.concatenate([[0], np.cumsum(numbers)])

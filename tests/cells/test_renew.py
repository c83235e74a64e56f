"""Cells that are drawn a second time: the same law, and half of the molecules of the first."""

import numpy as np
import pytest
from scipy import stats

from scbig.cells import CellCounts, GeneModel, fit_gene_model, normalise_counts, renew_cells

MEAN = np.array([0.2, 1.5, 6.0, 30.0])
THETA = np.array([0.4, 2.0, 5.0, 1.2])
N_CELLS = 20_000


def make_model() -> GeneModel:
    """A model that says of the genes what is true."""
    n = len(MEAN)
    no, one = np.zeros(n, dtype=bool), np.ones(n)
    return GeneModel(MEAN, MEAN.sum(), no, no, 1 / THETA, one, np.array([0.1, 0.0]), MEAN)


def draw_cells(seed: int = 0) -> CellCounts:
    """Cells of two sizes, whose depths are known from genes that are not there."""
    rng = np.random.default_rng(seed)
    size = np.where(np.arange(N_CELLS) % 2, 0.6, 1.4)
    counts = rng.poisson(rng.gamma(THETA, size[:, None] * MEAN / THETA))
    depth, cells = size * MEAN.sum(), normalise_counts(counts)
    total = counts.sum(axis=1) / depth * 1e4
    return CellCounts(cells.counts, depth, total, 1e4, np.ones(N_CELLS, dtype=bool))


def get_law(mean: float, theta: float):
    return stats.nbinom(theta, theta / (theta + mean))


@pytest.mark.parametrize(("mean", "theta"), [(0.2, 0.4), (1.5, 2.0), (6.0, 5.0)])
def test_half_kept_and_half_drawn_is_the_same_law(mean: float, theta: float):
    """What is drawn, in closed form: binomial, then negative binomial given what is kept."""
    k = np.arange(400)
    before = get_law(mean, theta).pmf(k)
    kept = np.array([(before * stats.binom(k, 0.5).pmf(j)).sum() for j in k])
    rate = theta / mean + 0.5
    after = np.zeros(len(k))
    for j in np.flatnonzero(kept > 1e-14):
        # A Poisson number at half of a rate that is gamma: shape j + theta.
        new = stats.nbinom(j + theta, rate / (rate + 0.5)).pmf(k[: len(k) - j])
        after[j:] += kept[j] * new
    np.testing.assert_allclose(after, before, atol=1e-10)


def test_renewed_counts_are_negative_binomial_and_share_half_their_molecules():
    cells = draw_cells()
    rows = np.arange(N_CELLS)
    found = renew_cells(cells, make_model(), rows, np.random.default_rng(1)).counts.toarray()
    old = cells.counts.toarray()
    for size, at in ((1.4, rows % 2 == 0), (0.6, rows % 2 == 1)):
        for gene, theta in enumerate(THETA):
            mean = size * MEAN[gene]
            law = get_law(mean, theta)
            edges = np.unique(law.ppf(np.linspace(0, 1, 12)[1:-1]))
            expected = np.diff(np.concatenate([[0], law.cdf(edges), [1]])) * at.sum()
            observed = np.bincount(
                np.searchsorted(edges, found[at, gene]), minlength=len(expected)
            )
            assert stats.chisquare(observed, expected).pvalue > 1e-3
            # Both are, given what is kept, drawn alike: the covariance is that of their means.
            slope = 1 + 0.5 / (theta / mean + 0.5)
            covariance = slope**2 * (mean / 2 + (mean / 2) ** 2 / theta)
            spread = np.cov(old[at, gene], found[at, gene])
            correlation = covariance / (mean + mean**2 / theta)
            assert spread[0, 1] / spread[0, 0] == pytest.approx(correlation, abs=0.06)


def test_other_cells_stay_and_so_do_depths_of_more_genes_than_are_there():
    cells = draw_cells()
    rows = np.arange(100, 150)
    found = renew_cells(cells, make_model(), rows, np.random.default_rng(1))
    still = np.setdiff1d(np.arange(N_CELLS), rows)
    assert (found.counts[still] != cells.counts[still]).nnz == 0
    np.testing.assert_array_equal(found.depth, cells.depth)
    changed = np.abs(found.counts[rows] - cells.counts[rows]).sum(axis=1).A1
    assert (changed > 0).mean() > 0.9


def test_depths_of_closed_cells_are_the_sums_of_their_counts(population):
    cells = population.to_cells()
    model = fit_gene_model(cells.counts, cells.depth, np.zeros(len(cells.depth)))
    found = renew_cells(cells, model, np.arange(300), np.random.default_rng(0))
    np.testing.assert_array_equal(found.depth, found.counts.sum(axis=1).A1)
    assert found.is_closed
    assert renew_cells(cells, model, np.arange(0), np.random.default_rng(0)) is cells

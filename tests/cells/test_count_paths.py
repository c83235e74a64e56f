import itertools

import numpy as np
import pytest
from scipy import sparse, stats

from scbig.cells import CountPaths, SourceCells, draw_paths

MEAN = np.array([0.3, 2.0, 12.0])
THETA = np.array([0.5, 1.5, 6.0])


def draw_source(n_cells=20_000, seed=0, **options) -> SourceCells:
    rng = np.random.default_rng(seed)
    size = np.where(np.arange(n_cells) % 2, 0.7, 1.3)
    rate = rng.gamma(THETA, size[:, None] * MEAN / THETA)
    counts = sparse.csc_matrix(rng.poisson(rate))
    scale = options.pop("scale", np.ones(n_cells))
    return SourceCells(counts, size, scale, **options)


def draw(source: SourceCells, lower: float, upper: float, seed: int = 1) -> CountPaths:
    bounds = {"lower": np.full(3, lower), "upper": np.full(3, upper)}
    return draw_paths(source, MEAN, THETA, np.random.default_rng(seed), **bounds)


def find_cut(paths: CountPaths, log_ratio: np.ndarray) -> np.ndarray:
    """Number of the first molecule of each gene that has not appeared."""
    starts = itertools.pairwise(paths.start)
    appeared = [
        np.sum(paths.critical[i:j] <= x) for (i, j), x in zip(starts, log_ratio, strict=True)
    ]
    return paths.start[:-1] + np.array(appeared)


def get_counts(paths: CountPaths, log_ratio: float) -> np.ndarray:
    return paths.get_counts(find_cut(paths, np.full(3, log_ratio)), 3).toarray()


def check_distribution(found: np.ndarray, mean: float, theta: float) -> None:
    """Chi-square test against the negative binomial in closed form."""
    law = stats.nbinom(theta, theta / (theta + mean))
    edges = np.unique(law.ppf(np.linspace(0, 1, 12)[1:-1]))
    probability = np.diff(np.concatenate([[0], law.cdf(edges), [1]]))
    observed = np.bincount(np.searchsorted(edges, found), minlength=len(probability))
    assert stats.chisquare(observed, probability * len(found)).pvalue > 1e-3


@pytest.mark.parametrize("ratio", [0.2, 0.8, 1.0, 1.5, 4.0])
def test_counts_at_any_ratio_are_negative_binomial(ratio: float):
    source = draw_source()
    paths = draw(source, -np.inf, np.log(4.0))
    counts = get_counts(paths, np.log(ratio) + 1e-6)
    for size in (0.7, 1.3):
        for gene in range(3):
            found = counts[source.size == size, gene]
            check_distribution(found, ratio * size * MEAN[gene], THETA[gene])


def test_a_lower_bound_does_not_change_the_law():
    source = draw_source()
    counts = get_counts(draw(source, np.log(2.5), np.log(3.5)), np.log(3.0))
    check_distribution(counts[source.size == 1.3, 1], 3.0 * 1.3 * MEAN[1], THETA[1])
    counts = get_counts(draw(source, np.log(0.3), np.log(0.6)), np.log(0.5))
    check_distribution(counts[source.size == 1.3, 2], 0.5 * 1.3 * MEAN[2], THETA[2])


def test_falling_genes_are_thinned_and_rising_genes_gain_at_the_posterior_rate():
    source = draw_source()
    old = source.counts.toarray()
    paths = draw(source, -np.inf, np.log(3.0))
    fallen, risen = get_counts(paths, np.log(0.4)), get_counts(paths, np.log(3.0))
    assert (fallen <= old).all()
    assert (risen >= old).all()
    at = (old[:, 1] == 4) & (source.size == 1.3)
    expected = stats.binom(4, 0.4).pmf(np.arange(5)) * at.sum()
    observed = np.bincount(fallen[at, 1], minlength=5)
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    # Given k, what is gained is negative binomial of size k + theta.
    for k in (0, 3):
        at = (old[:, 1] == k) & (source.size == 1.3)
        gain_rate = 2.0 / (THETA[1] / (1.3 * MEAN[1]) + 1)
        check_distribution((risen - old)[at, 1], (k + THETA[1]) * gain_rate, k + THETA[1])


@pytest.mark.parametrize("ratio", [1.02, 1.1, 3.0])
def test_few_and_many_new_molecules_come_as_often_as_they_should(ratio: float):
    """Given k, none is gained with the chance of a negative binomial of size k + theta."""
    source = draw_source(100_000)
    gain = get_counts(draw(source, 0.0, np.log(ratio)), np.log(ratio)) - source.counts.toarray()
    old = source.counts.toarray()
    for size, gene, k in itertools.product((0.7, 1.3), range(3), (0, 1, 4)):
        at = (old[:, gene] == k) & (source.size == size)
        shape, rate = k + THETA[gene], THETA[gene] / (size * MEAN[gene]) + 1
        chance = 1 - (1 + (ratio - 1) / rate) ** -shape
        found = stats.binomtest(int((gain[at, gene] > 0).sum()), int(at.sum()), chance)
        assert found.pvalue > 1e-4
        error = np.sqrt(shape * (ratio - 1) / rate * (1 + (ratio - 1) / rate) / at.sum())
        assert gain[at, gene].mean() == pytest.approx(shape * (ratio - 1) / rate, abs=4.5 * error)


def test_counts_never_fall_as_the_ratio_rises():
    source = draw_source(n_cells=500)
    paths = draw(source, -np.inf, np.log(5.0))
    steps = [get_counts(paths, x) for x in np.linspace(-3, np.log(5.0), 40)]
    assert all((b >= a).all() for a, b in itertools.pairwise(steps))
    assert any((b > a).any() for a, b in itertools.pairwise(steps))
    # At ratio 1 a cell is itself.
    np.testing.assert_array_equal(get_counts(paths, 0.0), source.counts.toarray())
    # Each molecule has the number that its cell has with it.
    cut = find_cut(paths, np.full(3, 1.0))
    counts = paths.get_counts(cut, 3).toarray()
    for gene in range(3):
        points = slice(paths.start[gene], cut[gene])
        last = np.zeros(500)
        np.maximum.at(last, paths.cell[points], paths.step[points])
        is_seen = last > 0
        np.testing.assert_array_equal(counts[is_seen, gene], last[is_seen])


def test_the_ratio_of_a_cell_and_offsets_act_as_ratios():
    n_cells = 20_000
    scale = np.where(np.arange(n_cells) % 4 < 2, 0.6, 1.7)
    offset = np.tile(np.log([0.5, 1.0, 2.0]), (n_cells, 1))
    source = draw_source(n_cells, scale=scale, offset=offset)
    counts = get_counts(draw(source, -0.5, 0.5), 0.0)
    for one in (0.6, 1.7):
        at = (scale == one) & (source.size == 1.3)
        for gene, more in enumerate([0.5, 1.0, 2.0]):
            check_distribution(counts[at, gene], one * more * 1.3 * MEAN[gene], THETA[gene])


def test_cells_without_strength_stay_themselves():
    strength = np.tile([0.0, 0.0, 1.0, 1.0], 5000)
    source = draw_source(20_000, strength=strength)
    paths = draw(source, -np.inf, np.log(2.0))
    for log_ratio in (-2.0, np.log(2.0)):
        counts = get_counts(paths, log_ratio)
        still = strength == 0
        np.testing.assert_array_equal(counts[still], source.counts.toarray()[still])
        at = ~still & (source.size == 1.3)
        check_distribution(counts[at, 2], np.exp(log_ratio) * 1.3 * MEAN[2], THETA[2])


@pytest.mark.parametrize("strength", [None, np.tile([0.0, 1.0, 0.5], 1000)])
def test_expected_depths_are_those_of_drawn_cells(strength):
    source = draw_source(3000, strength=strength)
    log_ratio = np.log([3.0, 0.3, 1.5])
    bounds = {"lower": log_ratio - 0.1, "upper": log_ratio + 0.1}
    drawn = np.zeros(3000)
    for seed in range(30):
        paths = draw_paths(source, MEAN, THETA, np.random.default_rng(seed), **bounds)
        cut = find_cut(paths, log_ratio)
        drawn += np.asarray(paths.get_counts(cut, 3).sum(axis=1)).ravel() / 30
    expected = source.expect_depth(log_ratio, MEAN, THETA)
    assert np.corrcoef(drawn, expected)[0, 1] > 0.98
    assert drawn.mean() == pytest.approx(expected.mean(), rel=0.01)


def test_expected_depths_are_the_same_with_offsets_of_zero():
    plain = draw_source(300)
    same = draw_source(300, offset=np.zeros((300, 3)))
    log_ratio = np.log([3.0, 0.3, 1.5])
    depths = [source.expect_depth(log_ratio, MEAN, THETA) for source in (plain, same)]
    np.testing.assert_allclose(depths[0], depths[1], rtol=1e-5)

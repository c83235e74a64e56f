import numpy as np
import pytest
from scipy import sparse, stats

from scbig.cells import (
    CellCounts,
    GeneModel,
    compute_log1p,
    draw_sources,
    find_offset,
    fit_gene_model,
    map_depths,
    normalise_counts,
    transport_cells,
)
from scbig.cells._sources import estimate_depth_error


def get_mean(values: sparse.csr_matrix) -> np.ndarray:
    return np.bincount(values.indices, values.data, values.shape[1]) / values.shape[0]


def get_values(cells: CellCounts) -> sparse.csr_matrix:
    return compute_log1p(cells.counts, cells.depth, cells.target_sum, cells.base)


def fit(cells: CellCounts):
    group = np.zeros(len(cells.depth), dtype=int)
    return fit_gene_model(cells.counts, cells.depth, group)


def get_step(cells: CellCounts) -> float:
    """What one molecule is worth in the mean, at most."""
    return float(np.log1p(cells.target_sum / cells.depth.min())) / len(cells.depth)


@pytest.fixture
def task(population):
    """Control cells, their model, and means of a population that a third of the genes leave."""
    cells = population.to_cells()
    rng = np.random.default_rng(1)
    n_genes = len(population.mean)
    change = np.where(rng.random(n_genes) < 0.3, np.exp(rng.normal(0, 1, n_genes)), 1.0)
    rate = population.size[:, None] * population.mean * change
    theta = np.broadcast_to(population.theta, rate.shape)
    real = normalise_counts(rng.poisson(rng.gamma(theta, rate / theta)))
    return cells, fit(cells), real


def test_means_are_matched(task):
    cells, model, real = task
    target = get_mean(get_values(real))
    made = transport_cells(cells, model, target, np.random.default_rng(0))
    assert np.abs(made.missing).max() < 2 * get_step(cells)
    np.testing.assert_allclose(get_mean(made.values), target - made.missing, atol=1e-6)
    assert not made.is_at_limit.any()
    # The last gene is silent in control cells.
    assert made.counts[:, -1].nnz > 0


def test_cells_are_like_real_ones(task):
    cells, model, real = task
    values = get_values(real)
    made = transport_cells(cells, model, get_mean(values), np.random.default_rng(0))
    zeros = [1 - x.getnnz(axis=0) / x.shape[0] for x in (values, made.values)]
    assert np.abs(zeros[0] - zeros[1]).max() < 0.1
    assert abs(np.mean(zeros[0] - zeros[1])) < 0.01
    variance = [x.toarray().var(axis=0).sum() for x in (values, made.values)]
    assert variance[1] / variance[0] == pytest.approx(1, abs=0.05)


def test_values_are_those_of_the_counts_normalised_again(task):
    cells, model, real = task
    made = transport_cells(cells, model, get_mean(get_values(real)), np.random.default_rng(0))
    again = get_values(normalise_counts(made.counts))
    np.testing.assert_allclose(made.values.toarray(), again.toarray(), atol=1e-6)
    assert made.values.dtype == np.float32
    assert made.counts.dtype == np.int32
    np.testing.assert_array_equal(made.depth, made.counts.sum(axis=1).A1)


def test_targets_are_in_units_of_the_screens_base(task):
    cells, _, real = task
    cells = normalise_counts(cells.counts, None, base=2.0)
    target = get_mean(get_values(normalise_counts(real.counts, cells.target_sum, base=2.0)))
    made = transport_cells(cells, fit(cells), target, np.random.default_rng(0))
    step = np.log2(1 + cells.target_sum / cells.depth.min()) / len(cells.depth)
    np.testing.assert_allclose(get_mean(made.values), target, atol=2 * step)
    again = compute_log1p(made.counts, made.depth, cells.target_sum, base=2.0)
    np.testing.assert_array_equal(made.values.toarray(), again.toarray())


def test_nothing_changes_where_nothing_is_asked(population):
    cells = population.to_cells()
    target = get_mean(get_values(cells))
    made = transport_cells(cells, fit(cells), target, np.random.default_rng(0))
    difference = np.abs(made.counts - cells.counts).sum() / cells.counts.sum()
    assert difference < 0.01


def test_genes_that_fall_to_nothing_have_no_counts(population):
    cells = population.to_cells()
    target = get_mean(get_values(cells))
    target[:3] = [0, -0.5, 1e-9]
    made = transport_cells(cells, fit(cells), target, np.random.default_rng(0))
    assert made.counts[:, :3].nnz == 0
    assert (made.log_ratio[:2] == -np.inf).all()


def test_cells_may_be_left_without_any_count(population):
    cells = population.to_cells()
    made = transport_cells(cells, fit(cells), np.zeros(120), np.random.default_rng(0))
    assert made.counts.nnz == made.values.nnz == 0
    assert not made.missing.any()


def test_what_cannot_be_reached_is_reported(population):
    cells = population.to_cells()
    target = get_mean(get_values(cells))
    target[0] = 20.0  # log1p of the target sum is 9.2
    made = transport_cells(cells, fit(cells), target, np.random.default_rng(0))
    np.testing.assert_array_equal(np.flatnonzero(made.is_at_limit), [0])
    assert made.missing[0] > 10
    np.testing.assert_allclose(get_mean(made.values), target - made.missing, atol=1e-6)


def test_new_depths_are_kept_where_a_gene_takes_much_of_a_cell():
    rng = np.random.default_rng(2)
    rate = np.full((400, 40), 2.0)
    rate[:, 0] = rng.gamma(1.0, 200.0, 400)  # half of all counts, and in some cells most
    cells = normalise_counts(rng.poisson(rate))
    target = get_mean(get_values(cells))
    target[0] = 2.0
    target[1:] = np.log1p((1e4 - np.expm1(2.0)) / 39) - 0.25
    wanted = np.full(400, 150.0)
    made = transport_cells(cells, fit(cells), target, np.random.default_rng(0), new_depth=wanted)
    assert abs(np.log(made.depth.mean() / 150)) < 0.2
    # No cell is empty for having been full of the gene that falls.
    assert np.percentile(made.depth, 5) > 100


def test_depths_follow_means_as_far_as_they_are_unknown(population):
    cells = population.to_cells()
    # All genes cannot have more of a cell: only deeper cells come near it.
    target = 1.1 * get_mean(get_values(cells))
    moved, missing = [], []
    for depth_error in (0.02, 0.1, 0.4):
        made = transport_cells(
            cells, fit(cells), target, np.random.default_rng(0), depth_error=depth_error
        )
        moved.append(np.log(made.depth.mean() / cells.depth.mean()))
        missing.append(np.abs(made.missing).mean())
    assert 0 <= moved[0] < 0.07
    assert 0.3 < moved[2] < 1
    assert moved == sorted(moved)
    assert missing == sorted(missing, reverse=True)
    assert missing[2] < missing[0] / 3


def test_depths_stay_where_means_do_not_tell_them(population):
    cells = population.to_cells()
    # More of everything than any cells could have.
    target = 2.0 * get_mean(get_values(cells))
    made = transport_cells(cells, fit(cells), target, np.random.default_rng(0), depth_error=0.1)
    # Two and a half errors at most.
    assert np.log(made.depth.mean() / cells.depth.mean()) == pytest.approx(0.25, abs=0.02)
    assert made.missing.max() > 0.1


def test_rare_genes_are_right_on_average(population):
    few = normalise_counts(population.counts[:100, 60:])
    model, target = fit(few), get_mean(get_values(few))
    # What one molecule is worth in the mean of all cells, of which 0.4 are wanted.
    worth = np.mean(np.log1p(1e4 / few.depth)) / 100
    target[-1] = 0.4 * worth
    found = [
        transport_cells(few, model, target, np.random.default_rng(seed)).counts[:, -1].sum()
        for seed in range(60)
    ]
    assert np.mean(found) == pytest.approx(0.4, abs=0.2)


def test_depth_is_that_of_the_screen_where_genes_were_dropped(population):
    whole = population.to_cells()
    part = whole.counts[:, 10:]
    total = np.asarray(part.sum(axis=1)).ravel() / whole.depth * 1e4
    cells = CellCounts(part, whole.depth, total, 1e4, whole.is_recovered)
    assert not cells.is_closed
    target = 1.1 * get_mean(get_values(cells))
    new_depth = 1.3 * whole.depth
    made = transport_cells(
        cells, fit(cells), target, np.random.default_rng(0), new_depth=new_depth
    )
    np.testing.assert_array_equal(made.depth, new_depth)
    again = compute_log1p(made.counts, new_depth, 1e4)
    np.testing.assert_array_equal(made.values.toarray(), again.toarray())
    assert np.abs(made.missing).max() < 2 * get_step(cells)


def test_responders_carry_the_effect(population):
    cells = population.to_cells()
    target = get_mean(get_values(cells))
    gene = int(np.argmax(population.mean))
    before = target[gene]
    target[gene] -= 0.3
    strength = (np.arange(len(cells.depth)) % 2).astype(float)
    made = transport_cells(cells, fit(cells), target, np.random.default_rng(0), strength=strength)
    values = made.values[:, [gene]].toarray().ravel()
    own = get_values(cells)[:, [gene]].toarray().ravel()
    still = strength == 0
    assert values[still].mean() == pytest.approx(own[still].mean(), abs=0.03)
    assert values[~still].mean() == pytest.approx(own[~still].mean() - 0.6, abs=0.05)
    assert values.mean() == pytest.approx(before - 0.3, abs=2 * get_step(cells))


def test_offsets_change_cells_and_not_means(population):
    cells = population.to_cells()
    target = get_mean(get_values(cells))
    offset = np.zeros(cells.counts.shape)
    gene = int(np.argmax(population.mean))
    offset[::2, gene] = np.log(3.0)
    made = transport_cells(cells, fit(cells), target, np.random.default_rng(0), offset=offset)
    values = made.values[:, [gene]].toarray().ravel()
    assert values[::2].mean() - values[1::2].mean() > 0.7
    assert values.mean() == pytest.approx(target[gene], abs=2 * get_step(cells))


@pytest.mark.parametrize("base", [None, 2.0])
@pytest.mark.parametrize("scale", [0.3, 1.0, 20.0])
def test_an_offset_is_the_ratio_that_a_deviation_stands_for(base, scale):
    """Means of drawn Poisson counts, before and after each cell has its ratio."""
    rng, unit = np.random.default_rng(0), 1.0 if base is None else np.log(base)
    rate, ratio = np.array([0.3, 2.0, 200.0]), np.array([2.0, 0.5, 1.0])
    counts = rng.poisson(rate * ratio[:, None, None], size=(3, 400_000, 3))
    moved = np.log1p(scale * counts).mean(axis=1) / unit
    target = np.log1p(scale * rng.poisson(rate, size=(400_000, 3))).mean(axis=0) / unit
    offset = find_offset(moved - target, target, scale, unit)
    expected = np.repeat(np.log(ratio)[:, None], 3, axis=1)  # of average 0 as they are
    np.testing.assert_allclose(offset, expected, atol=0.02)
    assert offset.dtype == np.float32


def test_offsets_are_bounded_and_of_average_zero():
    rng = np.random.default_rng(0)
    target = np.array([0.0, 1e-9, 1.0, 8.0])
    offset = find_offset(rng.normal(0, 100, (50, 4)), target, 1.0)
    assert np.isfinite(offset).all()
    np.testing.assert_allclose(offset.mean(axis=0), 0, atol=1e-6)
    assert np.ptp(offset, axis=0).max() <= 2 * np.log(3) + 1e-6
    assert not find_offset(np.zeros((3, 4)), target, 1.0).any()


def test_cells_that_respond_beyond_measure_keep_to_what_a_cell_can_hold(population):
    """A gene that is silent in controls rises without bound in a cell of strength 3."""
    cells = population.to_cells()
    target = get_mean(get_values(cells))
    target[int(np.argmin(population.mean))] += 0.5
    strength = np.where(np.arange(len(cells.depth)) % 2 == 0, 3.0, 0.5)
    made = transport_cells(cells, fit(cells), target, np.random.default_rng(0), strength=strength)
    assert made.counts.sum() < 3 * cells.counts.sum()


def test_the_same_seed_gives_the_same_cells(task):
    cells, model, real = task
    target = get_mean(get_values(real))
    one, same, other = (
        transport_cells(cells, model, target, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert (one.counts != same.counts).nnz == 0
    assert (one.values != same.values).nnz == 0
    assert (one.counts != other.counts).nnz > 0


def test_the_order_of_genes_does_not_matter_to_means(task):
    cells, _, real = task
    order = np.random.default_rng(0).permutation(cells.counts.shape[1])
    moved = normalise_counts(cells.counts[:, order])
    target = get_mean(get_values(real))[order]
    made = transport_cells(moved, fit(moved), target, np.random.default_rng(0))
    assert np.abs(made.missing).max() < 2 * get_step(cells)


def test_many_cells_are_matched_in_blocks(task):
    cells, model, real = task
    rows = draw_sources(len(cells.depth), 2500, np.random.default_rng(0))
    target = get_mean(get_values(real))
    many = cells.subset(rows)
    made = transport_cells(many, model, target, np.random.default_rng(0))
    assert made.counts.shape == (2500, 120)
    assert made.depth.shape == (2500,)
    assert np.abs(made.missing).max() < 2 * get_step(cells)
    np.testing.assert_allclose(get_mean(made.values), target - made.missing, atol=1e-6)


def test_many_molecules_are_searched_with_a_pilot(monkeypatch, task):
    monkeypatch.setattr("scbig.cells._match._N_WITHOUT_PILOT", 1000)
    cells, model, real = task
    made = transport_cells(cells, model, get_mean(get_values(real)), np.random.default_rng(0))
    assert np.abs(made.missing).max() < 2 * get_step(cells)


def test_the_head_has_the_first_cells(task):
    cells, model, real = task
    made = transport_cells(cells, model, get_mean(get_values(real)), np.random.default_rng(0))
    head = made.head(5)
    assert head.counts.shape[0] == head.values.shape[0] == len(head.depth) == 5
    assert (head.counts != made.counts[:5]).nnz == 0


def test_sources_are_drawn_alike_often():
    rows = draw_sources(44, 10, np.random.default_rng(0))
    assert len(rows) == 500
    assert set(np.bincount(rows, minlength=44)) <= {11, 12}
    assert sorted(rows[:44]) == list(range(44))
    for n_cells in (50, 700):
        assert len(draw_sources(44, n_cells, np.random.default_rng(0))) == n_cells


def test_few_cells_are_like_many(task):
    cells, model, real = task
    target = get_mean(get_values(real))
    pooled = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = draw_sources(len(cells.depth), 1, rng)
        pooled.append(transport_cells(cells.subset(rows), model, target, rng).head(1))
    many = transport_cells(cells, model, target, np.random.default_rng(0))
    few = sparse.vstack([one.values for one in pooled])
    assert few.nnz / 60 == pytest.approx(many.values.nnz / 800, rel=0.05)
    depth = np.concatenate([one.depth for one in pooled])
    assert depth.mean() == pytest.approx(many.depth.mean(), rel=0.15)
    variance = few.toarray().var(axis=0).sum() / many.values.toarray().var(axis=0).sum()
    assert variance == pytest.approx(1, abs=0.1)


def test_matched_cells_need_not_be_many(task):
    cells, model, real = task
    rng = np.random.default_rng(0)
    rows = draw_sources(len(cells.depth), 50, rng)
    made = transport_cells(cells.subset(rows), model, get_mean(get_values(real)), rng)
    many = transport_cells(cells, model, get_mean(get_values(real)), rng)
    assert np.abs(made.missing).max() < 2 * np.log1p(1e4 / cells.depth.min()) / 50
    assert made.values.nnz / 50 == pytest.approx(many.values.nnz / 800, rel=0.05)


def test_depths_keep_their_rank(rng):
    controls, pooled = rng.lognormal(5, 0.5, 200), rng.lognormal(6, 0.3, 999)
    own = rng.lognormal(7, 0.2, 60)
    mapped = map_depths(controls, pooled)
    np.testing.assert_array_equal(np.argsort(mapped), np.argsort(controls))
    expected = np.quantile(np.log(pooled), (np.arange(200) + 0.5) / 200)
    np.testing.assert_allclose(np.sort(np.log(mapped)), expected)
    shrunk = np.log(map_depths(controls, pooled, own, n_prior=20))
    mean = 0.75 * np.log(own).mean() + 0.25 * np.log(pooled).mean()
    assert shrunk.mean() == pytest.approx(mean, abs=0.02)


def test_bad_input_is_refused(task):
    cells, model, _ = task
    rng, target = np.random.default_rng(0), np.ones(120)
    with pytest.raises(ValueError, match=r"target has shape \(119,\)"):
        transport_cells(cells, model, target[1:], rng)
    with pytest.raises(ValueError, match=r"strength has shape \(3,\)"):
        transport_cells(cells, model, target, rng, strength=np.ones(3))
    with pytest.raises(ValueError, match="1 wanted means are not finite"):
        transport_cells(cells, model, np.r_[np.nan, target[1:]], rng)
    depth = cells.depth.copy()
    depth[4] = np.nan
    unknown = CellCounts(cells.counts, depth, cells.total, 1e4, cells.is_recovered)
    with pytest.raises(ValueError, match="1 of 800 cells have no positive depth"):
        transport_cells(unknown, model, target, rng)


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
def test_matched_counts_are_negative_binomial(ratio: float):
    """Means of the values are asked for in closed form, and counts compared with the law."""
    rng = np.random.default_rng(3)
    mean, theta = np.array([0.15, 1.0, 5.0, 2.0]), np.array([0.5, 2.0, 4.0, 1.5])
    n_cells, depth = 20_000, 2000.0
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(theta, mean / theta, (n_cells, 4))))
    total = np.asarray(counts.sum(axis=1)).ravel() / depth * 1e4
    known = np.ones(n_cells, dtype=bool)
    cells = CellCounts(counts, np.full(n_cells, depth), total, 1e4, known)
    one, no = np.ones(4), np.zeros(4, dtype=bool)
    model = GeneModel(mean, depth, no, no, 1 / theta, one, np.array([0.1, 0.0]), mean)
    k = np.arange(2000)
    laws = [stats.nbinom(t, t / (t + m)) for m, t in zip(ratio * mean, theta, strict=True)]
    target = np.array([(law.pmf(k) * np.log1p(1e4 * k / depth)).sum() for law in laws])
    made = transport_cells(cells, model, target, rng)
    np.testing.assert_allclose(made.log_ratio, np.log(ratio), atol=0.08)
    for law, found in zip(laws, made.counts.toarray().T, strict=True):
        edges = np.unique(law.ppf(np.linspace(0, 1, 10)[1:-1]))
        expected = np.diff(np.concatenate([[0], law.cdf(edges), [1]])) * n_cells
        observed = np.bincount(np.searchsorted(edges, found), minlength=len(expected))
        assert stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("shift", [-0.15, 0.15])
def test_depths_stay_near_where_no_depth_has_the_wanted_means(shift: float):
    """Deep cells of few genes: their logarithms cannot all rise, at whatever depth."""
    rng = np.random.default_rng(4)
    cells = normalise_counts(rng.poisson(rng.gamma(4.0, 25.0, (300, 40))))
    target = get_mean(get_values(cells)) + rng.normal(0, 0.3, 40)
    # Sums as before, so that all but the shift can be had.
    target += np.log(1e4 * 0.9 / np.expm1(target).sum()) + shift
    made = transport_cells(cells, fit(cells), target, np.random.default_rng(0))
    assert abs(np.log(made.depth.mean() / cells.depth.mean())) < 0.11
    # All genes are off alike, so that the direction of the effect is right.
    assert abs(made.missing.mean()) > 0.1
    assert made.missing.std() < 0.15 * abs(made.missing.mean())


def test_depth_error_is_that_of_the_shrunk_mean(rng):
    # Conditions whose mean log depths differ by 0.4, of cells that differ by 0.5.
    for n_cells in (1, 20, 200):
        own = rng.normal(0, 0.4, 20_000)
        seen = own + rng.normal(0, 0.5 / np.sqrt(n_cells), 20_000)
        shrunk = n_cells / (n_cells + 20) * seen
        assert estimate_depth_error(n_cells) == pytest.approx((shrunk - own).std(), rel=0.03)
    assert estimate_depth_error(0) == 0.4

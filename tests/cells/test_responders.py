"""Shares of responding cells: found again in simulated screens, used where they help, drawn."""

import numpy as np
import pytest
from scipy import stats

from scbig.cells import (
    CellCounts,
    Responders,
    ScreenModel,
    _mixtures,
    _screen_model,
    draw_strength,
    expect_responders,
    fit_gene_model,
    fit_responders,
    fit_screen_model,
    normalise_counts,
    recover_counts,
    take_responders,
)
from scbig.cells._mixtures import (
    MixtureControls,
    _rank_score,
    compare_cells,
    compare_halves,
    is_nearer,
)

N_GENES, N_CONTROLS, N_CELLS = 120, 600, 200
SEED = 11
# True shares; each condition changes 24 genes, but "weak" none.
SHARES = {("half",): 0.5, ("most",): 0.75, ("all",): 1.0, ("weak",): 1.0}


def draw_counts(rng: np.random.Generator, shares: dict = SHARES) -> tuple[np.ndarray, np.ndarray]:
    """Negative binomial counts of controls, then of each condition, and who responds."""
    mean = rng.lognormal(0.3, 0.9, N_GENES)
    parts, responds = [], []
    for key, share in {(): 0.0, **shares}.items():
        n = N_CELLS if key else N_CONTROLS
        who = rng.random(n) < share
        ratio = np.ones(N_GENES)
        if key != ("weak",):
            genes = rng.choice(N_GENES, 24, replace=False)
            # As much is lost as is won, so that depths are alike.
            ratio[genes] = np.tile([0.25, 1.75], 12)
        rate = rng.lognormal(0, 0.25, (n, 1)) * mean * np.where(who[:, None], ratio, 1.0)
        parts.append(rng.poisson(rng.gamma(3.0, rate / 3.0)))
        responds.append(who)
    return np.vstack(parts), np.concatenate(responds)


def fit(counts: np.ndarray, shares: dict = SHARES) -> dict:
    cells = normalise_counts(counts)
    owner = np.repeat(np.arange(len(shares) + 1), [N_CONTROLS] + [N_CELLS] * len(shares))
    genes = fit_gene_model(cells.counts, cells.depth, owner)
    controls = cells.subset(owner == 0)
    parts = {key: cells.subset(owner == i) for i, key in enumerate(shares, 1)}
    rng = np.random.default_rng(0)
    return fit_responders(parts.items(), controls, genes, lambda _: controls.depth, rng)


@pytest.fixture(scope="module")
def told() -> dict[tuple, Responders]:
    return fit(draw_counts(np.random.default_rng(SEED))[0])


@pytest.mark.parametrize("key", [("half",), ("most",)])
def test_a_true_share_lies_in_its_interval_and_is_used(told, key):
    found = told[key]
    responds = draw_counts(np.random.default_rng(SEED))[1]
    start = N_CONTROLS + N_CELLS * list(SHARES).index(key)
    drawn = responds[start : start + N_CELLS].mean()
    assert found.lower <= drawn <= found.upper
    assert found.share == pytest.approx(drawn, abs=0.1)
    assert 0.05 < found.upper - found.lower < 0.3
    assert found.is_used
    assert found.used_share == found.share
    assert found.n_cells == N_CELLS


@pytest.mark.slow
def test_intervals_hold_what_they_promise():
    """90% intervals over several screens; a binomial count is not below 22 of 30 by chance."""
    shares = {(f"P{i}",): share for i, share in enumerate([0.4, 0.5, 0.6, 0.7, 0.8, 0.9])}
    n_in = 0
    for seed in range(5):
        found = fit(draw_counts(np.random.default_rng(seed), shares)[0], shares)
        n_in += sum(found[key].lower <= share <= found[key].upper for key, share in shares.items())
    assert n_in > stats.binom.ppf(0.001, 30, 0.9)


def test_where_all_cells_respond_no_share_is_used(told):
    assert told[("all",)].n_cells == N_CELLS
    assert told[("all",)].share > 0.9
    assert told[("all",)].used_share == 1 or told[("all",)].share > 0.97


def test_a_weak_effect_tells_nothing_and_takes_the_share_of_the_screen(told):
    weak = told[("weak",)]
    assert weak.n_cells == 0
    assert not weak.is_used
    assert weak.used_share == 1
    others = [told[key].share for key in (("half",), ("most",))]
    assert min(others) - 0.1 < weak.share < max(others) + 0.1
    assert weak.upper - weak.lower > 1.5 * (told[("half",)].upper - told[("half",)].lower)


def test_with_nothing_to_tell_by_all_respond():
    shares = {("weak",): 1.0}
    found = fit(draw_counts(np.random.default_rng(3), shares)[0], shares)[("weak",)]
    assert (found.n_cells, found.used_share) == (0, 1)
    assert found.upper - found.lower > 0.6


@pytest.mark.parametrize(
    ("key", "share", "is_better"),
    [
        (("half",), 0.55, True),
        # A share that costs the mean, or the shape.
        (("half",), 0.1, False),
        (("all",), 0.5, False),
    ],
)
def test_whole_cells_are_compared_with_and_without(key, share, is_better, monkeypatch):
    counts = draw_counts(np.random.default_rng(SEED))[0]
    cells = normalise_counts(counts)
    owner = np.repeat(np.arange(5), [N_CONTROLS] + [N_CELLS] * 4)
    controls = cells.subset(owner == 0)
    genes = fit_gene_model(cells.counts, cells.depth, owner)
    found = cells.subset(owner == 1 + list(SHARES).index(key))
    rng = np.random.default_rng(0)
    mixture = MixtureControls(controls, genes, rng)
    assert compare_cells(found, mixture, controls.depth, share, rng) is is_better
    halves = compare_halves(found, mixture, controls.depth, rng)
    assert [half.distance.shape for half in halves] == [(9, N_CELLS // 2)] * 2
    few = found.subset(np.arange(59))
    assert not compare_halves(few, mixture, controls.depth, rng)
    # The noise of one half is no effect of the other, however many genes are taken.
    monkeypatch.setattr(_mixtures, "_MIN_T", 1.0)
    weak = cells.subset(owner == 1 + list(SHARES).index(("weak",)))
    assert not compare_halves(weak, mixture, controls.depth, rng)


def test_a_gain_is_more_than_its_standard_error():
    gain = np.array([1.0, -1.0, 2.0, 0.5])
    error = gain.std() / 2
    assert not is_nearer(gain - gain.mean() + 0.9 * error)
    assert is_nearer(gain - gain.mean() + 1.1 * error)


def test_the_rank_score_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    along, cells, weight = rng.normal(2, 1, 7), rng.normal(size=9), rng.random(9)
    weight /= weight.sum()
    y, z = along - along.mean(), cells - weight @ cells
    spread = (weight[:, None] * weight * np.abs(z[:, None] - z)).sum()
    expected = np.abs(y[:, None] - z) @ weight - spread / 2
    np.testing.assert_allclose(_rank_score(along, cells, weight), expected, rtol=1e-9)


KNOWN = {
    ("A",): Responders(0.6, 0.5, 0.7, True, 100),
    ("B",): Responders(0.8, 0.7, 0.9, True, 100),
    ("C",): Responders(0.9, 0.8, 1.0, False, 100),
    ("D",): Responders(0.7, 0.3, 1.0, False, 0),
    ("A", "C"): Responders(0.4, 0.3, 0.5, True, 100),
}


def test_cells_respond_to_a_combination_unless_they_escape_each_target():
    both = expect_responders(KNOWN, ("A", "B"))
    assert (both.share, both.lower, both.upper) == pytest.approx((0.92, 0.85, 0.97))
    assert both.is_used
    assert both.n_cells == 0
    # Its own cells know better; what is not used counts as 1.
    assert expect_responders(KNOWN, ("A", "C")) is KNOWN[("A", "C")]
    assert expect_responders(KNOWN, ("B", "C")).used_share == 1


def test_an_unseen_target_takes_the_mean_share_of_those_that_could_be_told():
    pooled = np.mean([0.6, 0.8, 1.0, 0.4])
    unseen = expect_responders(KNOWN, ("X",))
    assert unseen.used_share == pytest.approx(pooled)
    assert unseen.lower < pooled < unseen.upper
    assert expect_responders(KNOWN, ("A", "X")).share == pytest.approx(1 - 0.4 * (1 - pooled))
    assert expect_responders({}, ("X",)).used_share == 1
    untold = {("D",): KNOWN[("D",)]}
    assert expect_responders(untold, ("X",)).used_share == 1


def test_given_responders_are_taken_as_they_are():
    given = take_responders(np.array([1.0] * 30 + [0.0] * 10))
    assert (given.share, given.is_used, given.n_cells) == (0.75, True, 40)
    bounds = stats.beta.ppf([0.05, 0.95], 30.5, 10.5)
    np.testing.assert_allclose([given.lower, given.upper], bounds)
    assert take_responders(np.array([0.25, 0.75])).share == 0.5
    nobody = take_responders(np.zeros(40))
    assert (nobody.share, nobody.used_share) == (0, 1)


@pytest.mark.parametrize("share", [0.2, 0.37, 0.75])
def test_every_stretch_of_cells_has_its_share_of_responders(share):
    strength = draw_strength(1000, share, np.random.default_rng(1))
    assert set(strength) == {0.0, 1.0}
    sums = np.concatenate([[0], np.cumsum(strength)])
    for length in (1, 50, 500, 1000):
        n_in = sums[length:] - sums[:-length]
        assert np.abs(n_in - length * share).max() <= 1
    # The first cell responds as often as any other.
    first = [draw_strength(3, share, np.random.default_rng(i))[0] for i in range(2000)]
    assert np.mean(first) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 2000))


def read_screen(cells: CellCounts):
    values = np.log1p(cells.counts.toarray() / cells.depth[:, None] * 1e4).astype(np.float32)
    return lambda rows: (values[rows], None)


@pytest.fixture(scope="module")
def model() -> ScreenModel:
    return fit_model(11)


def fit_model(seed: int, is_responding: np.ndarray | None = None) -> ScreenModel:
    shares = {key: SHARES[key] for key in (("half",), ("weak",))}
    cells = normalise_counts(draw_counts(np.random.default_rng(seed), shares)[0])
    groups = [
        (key, 0, N_CONTROLS + N_CELLS * i + np.arange(N_CELLS)) for i, key in enumerate(shares)
    ]
    read, rng = read_screen(cells), np.random.default_rng(0)
    controls = [np.arange(N_CONTROLS)]
    return fit_screen_model(read, groups, controls, rng, is_responding=is_responding)


def test_a_model_of_a_screen_knows_them_saved_and_extended(model):
    own = model.contexts[0].responders
    assert own[("half",)].is_used
    assert own[("half",)].lower <= 0.5 <= own[("half",)].upper
    again = ScreenModel.from_plain(*model.to_plain())
    assert again.contexts[0].responders == own
    further = fit_model(12)
    assert model.extend(further).contexts[0].responders == further.contexts[0].responders
    part = further.contexts[0].responders[("half",)]
    further.contexts[0].responders.pop(("weak",))
    joined = model.extend(further).contexts[0].responders
    assert joined == {("half",): part, ("weak",): own[("weak",)]}


def test_what_is_given_stands_before_what_is_estimated():
    is_responding = np.full(N_CONTROLS + 2 * N_CELLS, np.nan)
    is_responding[N_CONTROLS + N_CELLS :] = 0.3
    own = fit_model(11, is_responding).contexts[0].responders
    assert own[("weak",)].used_share == pytest.approx(0.3)
    assert own[("weak",)].n_cells == N_CELLS
    assert own[("half",)].lower <= 0.5 <= own[("half",)].upper


def test_screens_of_many_conditions_are_read_in_portions(monkeypatch):
    """So many that fewer cells of each are looked at than tell a share; with known totals only."""
    shares = {("half",): 0.5, ("all",): 1.0, ("few",): 0.5}
    cells = normalise_counts(draw_counts(np.random.default_rng(SEED), shares)[0])
    starts = N_CONTROLS + N_CELLS * np.arange(3)
    sizes = dict(zip(shares, (N_CELLS, N_CELLS, 59), strict=True))
    groups = [
        (key, 0, start + np.arange(n))
        for (key, n), start in zip(sizes.items(), starts, strict=True)
    ]
    controls, values = [np.arange(N_CONTROLS)], read_screen(cells)
    read = []

    def read_some(rows: np.ndarray):
        read.append(rows)
        # Genes are left out after normalising, and the batches have target sums of their own.
        scale = np.where(rows < starts[1], 1.0, 2.0)[:, None]
        return np.log1p(np.expm1(values(rows)[0]) * scale).astype(np.float32)[:, :-5], None

    def fit_it() -> dict:
        return fit_screen_model(read_some, groups, controls, np.random.default_rng(0)).contexts[0]

    whole = fit_it()
    assert sum(map(len, read)) == N_CONTROLS + 2 * N_CELLS + 59
    monkeypatch.setattr(_screen_model, "_N_ALL", 3 * 40)
    monkeypatch.setattr(_screen_model, "_N_AT_ONCE", 100)
    read.clear()
    thinned = fit_it()
    # Controls, 40 cells of each condition, then those of which there are enough, once.
    assert [len(rows) for rows in read] == [N_CONTROLS, 40, 40, 40, N_CELLS, N_CELLS]
    assert [n for n, _ in thinned.own.values()] == [40, 40, 40]
    for key, n in sizes.items():
        told, expected = thinned.responders[key], whole.responders[key]
        assert told.n_cells == expected.n_cells == (n if n == N_CELLS else 0)
        assert told.share == pytest.approx(expected.share, abs=0.1)
    assert thinned.responders[("half",)].is_used


def test_portions_have_depths_at_the_target_sum_of_all():
    counts = draw_counts(np.random.default_rng(1), {("A",): 1.0, ("B",): 1.0})[0][N_CONTROLS:]
    target_sum = np.repeat([1e4, 3e4], N_CELLS)[:, None]
    values = np.log1p(counts / counts.sum(axis=1, keepdims=True) * target_sum)[:, :100]
    found = recover_counts(values)
    assert not found.is_closed
    rows = {("A",): np.arange(N_CELLS), ("B",): N_CELLS + np.arange(N_CELLS)}
    looked = {key: (found.subset(own[:10]), own) for key, own in rows.items()}
    for key, part in _screen_model._read_groups(lambda one: (values[one], None), looked, found):
        expected = found.subset(rows[key][found.is_recovered[rows[key]]])
        np.testing.assert_allclose(part.depth, expected.depth, rtol=1e-6)
        assert part.target_sum == found.target_sum

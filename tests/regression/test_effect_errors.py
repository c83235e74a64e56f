"""Standard errors, probabilities and draws against simulations whose errors are known."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from scbig.cells import CallModel, call_genes, compute_power as compute_factor, match_calls
from scbig.cells._called import _Test
from scbig.data import Effects, Targets
from scbig.regression import (
    DenoisedRegression,
    Denoising,
    EffectErrors,
    EffectForecast,
    KernelSettings,
    TargetKernel,
    _uncertainty,
)
from scbig.regression._error_model import ErrorModel, Known, fit_errors

N_TARGETS, N_GENES, N_CONTROLS = 24, 120, 500
NAMES = [f"T{i:02}" for i in range(N_TARGETS)]
SINGLES = tuple((name,) for name in NAMES)
PAIRS = tuple((NAMES[i], NAMES[j]) for i, j in combinations(range(N_TARGETS), 2) if j - i <= 2)
NEW_PAIRS = tuple((NAMES[i], NAMES[j]) for i, j in combinations(range(N_TARGETS), 2) if j - i > 12)
KERNEL = TargetKernel((), KernelSettings(interaction=0.5))
# Genes differ in how strongly they answer, and in how far pairs are from the sum.
ANSWER = np.geomspace(0.05, 0.6, N_GENES)
PARTS = ("standard_error", "probability_up", "probability_down")


class World:
    """True effects: sums over targets, and interactions that two groups of genes share."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.single = ANSWER * rng.normal(size=(N_TARGETS, N_GENES))
        self.group = np.where(np.arange(N_GENES) % 2, 1.0, -1.0)
        self._rng = rng

    def make(self, targets: Sequence[Targets]) -> np.ndarray:
        total = np.array(
            [self.single[[NAMES.index(t) for t in group]].sum(axis=0) for group in targets]
        )
        common = self.group * self._rng.normal(size=(len(targets), 1))
        alone = self._rng.normal(size=total.shape)
        is_pair = np.array([len(group) > 1 for group in targets])[:, None]
        return total + is_pair * 0.5 * ANSWER * (np.sqrt(0.6) * common + np.sqrt(0.4) * alone)

    def measure(self, targets: Sequence[Targets], truth: np.ndarray, n_cells: int = 60) -> Effects:
        per_cell = 1 / n_cells + 1 / N_CONTROLS
        error = np.sqrt(per_cell) * self._rng.normal(size=truth.shape)
        return Effects(
            targets=tuple(targets),
            context=np.zeros(len(targets), dtype=int),
            delta=truth + error,
            n_cells=np.full(len(targets), n_cells),
            control_mean=np.full((1, N_GENES), 8.0),
            variance=np.ones(truth.shape),
            n_controls=np.array([N_CONTROLS]),
        )


@pytest.fixture
def world(rng: np.random.Generator) -> World:
    return World(rng)


def compute_power(effects: Effects) -> np.ndarray:
    return compute_factor(effects.control_mean[0], effects.pooled_variance)


def compute_statistic(effects: Effects, power: np.ndarray) -> np.ndarray:
    variance = np.outer(np.diag(effects.noise), effects.pooled_variance)
    return power * effects.delta / np.sqrt(variance)


def fit(effects: Effects) -> DenoisedRegression:
    return DenoisedRegression(effects, KERNEL)


def here(targets: Sequence[Targets]) -> tuple[Sequence[Targets], np.ndarray]:
    return targets, np.zeros(len(targets), dtype=int)


def get_coverage(forecast: EffectForecast, real: np.ndarray, noise: float = 0.0) -> list[float]:
    """Share of effects in 90% intervals: of all genes, and of the tenth with largest effects."""
    error = np.sqrt(forecast.standard_error.astype(float) ** 2 + noise)
    is_in = np.abs(real - forecast.mean) <= norm.isf(0.05) * error
    size = np.abs(forecast.mean)
    is_top = size >= np.quantile(size, 0.9, axis=1, keepdims=True)
    return [is_in.mean(), is_in[is_top].mean()]


def test_intervals_of_new_pairs_cover_true_and_measured_effects(world):
    effects = world.measure(SINGLES + PAIRS, world.make(SINGLES + PAIRS))
    regression = fit(effects)
    forecast = EffectErrors.calibrate(regression).predict(*here(NEW_PAIRS))
    np.testing.assert_allclose(forecast.mean, regression.predict(*here(NEW_PAIRS)))
    truth = world.make(NEW_PAIRS)
    measured = world.measure(NEW_PAIRS, truth).delta
    for coverage in (
        get_coverage(forecast, truth),
        get_coverage(forecast, measured, 1 / 60 + 1 / N_CONTROLS),
    ):
        assert min(coverage) > 0.85
        assert max(coverage) < 0.95


def test_errors_are_as_large_as_they_are_gene_by_gene(world):
    effects = world.measure(SINGLES + PAIRS, world.make(SINGLES + PAIRS))
    forecast = EffectErrors.calibrate(fit(effects)).predict(*here(NEW_PAIRS))
    real = np.sqrt(np.mean((world.make(NEW_PAIRS) - forecast.mean) ** 2, axis=0))
    expected = np.sqrt(np.mean(forecast.standard_error**2, axis=0))
    assert np.corrcoef(np.log(real), np.log(expected))[0, 1] > 0.75
    assert 0.9 < np.mean(expected) / np.mean(real) < 1.2


def test_intervals_of_unseen_targets_cover_and_are_wider(world):
    new = SINGLES[18:]
    targets = SINGLES[:18] + tuple(pair for pair in PAIRS if max(pair) < NAMES[18])
    effects = world.measure(targets, world.make(targets))
    errors = EffectErrors.calibrate(fit(effects))
    forecast = errors.predict(*here(new))
    coverage = get_coverage(forecast, world.make(new))
    assert 0.85 < coverage[0] < 0.95
    both, one, seen = (
        errors.predict(*here([pair])).standard_error.mean()
        for pair in [(NAMES[18], NAMES[20]), (NAMES[0], NAMES[20]), (NAMES[0], NAMES[9])]
    )
    assert both > 1.05 * one > 1.4 * seen


def get_sizes(errors: EffectErrors, targets: Sequence[Targets], real: np.ndarray) -> float:
    """Standard error beside the real one, as root mean squares."""
    forecast = errors.predict(*here(targets))
    square = np.mean(forecast.standard_error.astype(float) ** 2)
    return float(np.sqrt(square / np.mean((real - forecast.mean) ** 2)))


@pytest.mark.parametrize("seed", range(3))
def test_screens_of_singles_alone_do_not_exaggerate_the_errors_of_combinations(seed):
    world = World(np.random.default_rng(seed))
    errors = EffectErrors.calibrate(fit(world.measure(SINGLES[:14], world.make(SINGLES[:14]))))
    seen, unseen = (tuple(combinations(part, 2)) for part in (NAMES[:14], NAMES[14:]))
    triples = tuple(combinations(NAMES[14:], 3))
    for targets in (seen, unseen, triples):
        truth = world.make(targets)
        assert 0.9 < get_sizes(errors, targets, truth) < 1.6
        assert 0.9 < get_coverage(errors.predict(*here(targets)), truth)[0] < 0.99


def test_what_the_kernel_leaves_open_counts_once_and_effects_as_far_as_examples_go():
    model = ErrorModel(
        np.full(3, 2.0), np.ones(5), np.zeros((3, 0)), widest=np.array([1.5]), largest=np.ones(1)
    )
    mean, shares = np.full((1, 3), np.sqrt(2.0)), np.zeros((1, 1))
    at_edge, wider, larger = (
        model.get_variance(Known(size * mean, np.array([spread]), shares))
        for size, spread in ((1, 1.5), (1, 4.5), (5, 1.5))
    )
    np.testing.assert_allclose(at_edge, 2 * (1 + 1.5 + 1 + 1 + 1))
    np.testing.assert_allclose(wider, 3 * at_edge)
    np.testing.assert_allclose(larger, at_edge)


def test_measured_conditions_by_halves_of_their_cells(world):
    truth = world.make(SINGLES)
    halves = [world.measure(SINGLES, truth, 30) for _ in range(2)]
    delta = (halves[0].delta + halves[1].delta) / 2
    effects = replace(halves[0], delta=delta, n_cells=np.full(N_TARGETS, 60))
    for errors in (
        EffectErrors.calibrate(fit(effects), halves),
        EffectErrors.calibrate(fit(effects)),
    ):
        forecast = errors.predict(*here(SINGLES))
        coverage = get_coverage(forecast, truth)
        assert 0.85 < coverage[0] < 0.96
        assert coverage[1] > 0.85
        # The cells tell more than the others do, and no less than they do by themselves.
        assert forecast.standard_error.max() < 1.3 * np.sqrt(1 / 60 + 1 / N_CONTROLS)
    # Weak genes are believed to be where they are shrunk to.
    error = forecast.standard_error.mean(axis=0)
    assert error[:20].mean() < 0.85 * error[-20:].mean()


def test_the_error_of_a_control_mean_is_in_what_is_predicted(world):
    """With few control cells, all effects share an error that no left-out condition shows."""
    truth = world.make(SINGLES + PAIRS)
    effects = world.measure(SINGLES + PAIRS, truth)
    known = EffectErrors.calibrate(fit(replace(effects, n_controls=np.array([10]))))
    unknown = EffectErrors.calibrate(fit(replace(effects, n_controls=None)))
    first, second = (
        np.mean(errors.predict(*here(NEW_PAIRS)).standard_error.astype(float) ** 2)
        for errors in (known, unknown)
    )
    weights = known._kernel.get_weights(*here(NEW_PAIRS)).sum(axis=1)
    assert 0.7 < (first - second) / (0.1 * np.mean(weights**2)) < 1.3


# --- probabilities ------------------------------------------------------------------------------


def test_probabilities_are_calibrated_and_have_a_direction(world):
    effects = world.measure(SINGLES + PAIRS, world.make(SINGLES + PAIRS))
    forecast = EffectErrors.calibrate(fit(effects)).predict(*here(NEW_PAIRS))
    measured = world.measure(NEW_PAIRS, world.make(NEW_PAIRS))
    size = compute_statistic(measured, compute_power(effects))
    is_called = call_genes(size)
    changed = forecast.probability_up + forecast.probability_down
    assert 0.2 < is_called.mean() < 0.8
    for low in np.arange(0, 1, 0.2):
        is_in = (changed >= low) & (changed < low + 0.2)
        assert abs(is_called[is_in].mean() - changed[is_in].mean()) < 0.1
    up = is_called & (size > 0)
    assert abs(up.mean() - forecast.probability_up.mean()) < 0.03
    base = is_called.mean() * (1 - is_called.mean())
    assert np.mean((changed - is_called) ** 2) < 0.75 * base
    direction = (forecast.probability_up > forecast.probability_down)[is_called]
    assert np.mean(direction == (size > 0)[is_called]) > 0.9


def test_calls_that_are_given_are_what_is_learned(world):
    effects = world.measure(SINGLES + PAIRS, world.make(SINGLES + PAIRS))
    shape = effects.delta.shape
    none, every = (
        EffectErrors.calibrate(fit(effects), is_called=np.full(shape, value))
        for value in (False, True)
    )
    for errors, low, high in ((none, 0, 0.01), (every, 0.99, 1)):
        forecast = errors.predict(*here(NEW_PAIRS))
        changed = forecast.probability_up + forecast.probability_down
        assert low <= changed.min()
        assert changed.max() <= high


def test_tests_of_some_conditions_tell_the_power_in_the_others(world):
    """Where cells call fewer genes than mean effects do, fewer are expected everywhere."""
    targets = SINGLES + PAIRS
    effects = world.measure(targets, world.make(targets))
    power = compute_power(effects)
    given = call_genes(0.6 * compute_statistic(effects, power)).astype(int)
    given[::2] = -1
    factor, calls = match_calls(compute_statistic(effects, power), given)
    assert factor == pytest.approx(0.6, rel=0.02)
    np.testing.assert_array_equal(calls[1::2], given[1::2] == 1)
    assert np.mean(calls[::2] == call_genes(compute_statistic(effects, factor * power))[::2]) == 1
    fewer, more = (
        np.mean(forecast.probability_up + forecast.probability_down)
        for forecast in (
            EffectErrors.calibrate(fit(effects), is_called=one).predict(*here(NEW_PAIRS))
            for one in (given, None)
        )
    )
    assert fewer < 0.8 * more


def test_tests_that_call_nothing_lower_the_power(rng):
    """As many as are called by none of the tested conditions, and no fewer."""
    statistic = rng.normal(size=(8, 60))
    statistic[:, :6] = [8.0, -7.0, 6.0, -5.0, 4.5, 4.0]
    given = np.zeros(statistic.shape, int)
    given[::2] = -1
    factor, calls = match_calls(statistic, given)
    tested = statistic[1::2]
    assert 0.3 < factor < 0.6
    assert not call_genes(factor * tested).any()
    assert call_genes(1.01 * factor * tested).any()
    np.testing.assert_array_equal(calls[::2], call_genes(factor * statistic)[::2])
    # Weak conditions say nothing of the test, and untested ones neither.
    assert match_calls(statistic / 100, given)[0] == 1
    assert match_calls(statistic, np.full(statistic.shape, -1))[0] == 1


@pytest.mark.parametrize("ratio", [0.5, 3.0, 30.0])
def test_the_direction_of_calls_is_that_of_two_normal_tails(ratio):
    """However large the expected error is beside the noise of the measurement."""
    mean = np.linspace(-3, 3, 41)[None] * ratio
    noise, power = np.ones_like(mean), np.ones(41)
    test = _Test(mean, ratio**2 * noise, noise, power)
    size = np.sqrt(1 + ratio**2)
    up, down = (norm.sf(test.threshold, sign * mean, size) for sign in (1, -1))
    np.testing.assert_allclose(test.direction, np.log(up / down), rtol=1e-6, atol=1e-9)
    # Falls are called more readily than rises: a clear effect keeps its direction all the same.
    model = CallModel(power, np.full(41, 0.3), np.zeros(7), np.array([-0.4, 1.0]))
    higher, lower = model.predict(mean, ratio**2 * noise, noise)
    clear = np.abs(mean) > 1.5 * ratio
    np.testing.assert_array_equal((higher > lower)[clear], (mean > 0)[clear])


def make_cells(rng: np.random.Generator, expressed: np.ndarray, n: int) -> np.ndarray:
    return (rng.random((n, len(expressed))) < expressed) * rng.normal(
        1.5, 0.2, (n, len(expressed))
    )


def compute_rank_score(cells: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Wilcoxon's statistic without a correction for ties, as scanpy has it."""
    n, m = len(cells), len(controls)
    total = rankdata(np.vstack([cells, controls]), axis=0)[:n].sum(axis=0)
    return (total - n * (n + m + 1) / 2) / np.sqrt(n * m * (n + m + 1) / 12)


def test_the_power_of_the_rank_test_follows_from_mean_and_variance(rng):
    before = np.linspace(0.03, 0.7, 40)
    controls = make_cells(rng, before, 4000)
    cells = make_cells(rng, before * np.where(np.arange(40) % 2, 1.2, 0.8), 1000)
    delta = cells.mean(axis=0) - controls.mean(axis=0)
    effects = Effects(
        (("A",),),
        np.zeros(1, int),
        delta[None],
        np.array([1000]),
        controls.mean(axis=0)[None],
        controls.var(axis=0)[None],
        np.array([4000]),
    )
    power = compute_power(effects)
    size = compute_statistic(effects, power)
    is_called = call_genes(size)
    np.testing.assert_allclose(size[0], compute_rank_score(cells, controls), rtol=0.15, atol=0.3)
    assert (np.diff(power[::2]) > 0).all()
    # Benjamini and Hochberg by hand.
    p = 2 * norm.sf(np.abs(size[0]))
    passes = np.sort(p) < 0.05 * np.arange(1, 41) / 40
    cut = np.sort(p)[np.flatnonzero(passes).max()]
    np.testing.assert_array_equal(is_called[0], p <= cut)


# --- draws --------------------------------------------------------------------------------------


def correlate_strong(errors: np.ndarray, group: np.ndarray) -> float:
    """Mean correlation between strong genes, whose errors have a part in common."""
    strong = slice(80, N_GENES)
    correlation = np.corrcoef((errors * group)[:, strong].T)
    return float(correlation[~np.eye(len(correlation), dtype=bool)].mean())


def test_draws_have_mean_error_and_the_correlations_of_errors(world, rng):
    effects = world.measure(SINGLES + PAIRS, world.make(SINGLES + PAIRS))
    errors = EffectErrors.calibrate(fit(effects))
    asked = here(NEW_PAIRS[:2])
    forecast, drawn = errors.predict(*asked), errors.draw(*asked, 4000, rng)
    assert drawn.shape == (4000, 2, N_GENES)
    error = forecast.standard_error
    np.testing.assert_allclose((drawn.mean(axis=0) - forecast.mean) / error, 0, atol=0.08)
    np.testing.assert_allclose(drawn.std(axis=0) / error, 1, atol=0.06)
    # Strong genes go together as their true errors do, or less so where that is not seen.
    missed = world.make(NEW_PAIRS) - errors.predict(*here(NEW_PAIRS)).mean
    real, found = (correlate_strong(one, world.group) for one in (missed, drawn[:, 0]))
    assert real > 0.2
    assert 0.4 * real < found < 1.2 * real
    # Conditions have nothing in common.
    between = [np.corrcoef(drawn[:, 0, g], drawn[:, 1, g])[0, 1] for g in range(N_GENES)]
    assert np.abs(np.mean(between)) < 0.05
    again = errors.draw(*asked, 2, np.random.default_rng(1))
    np.testing.assert_array_equal(again, errors.draw(*asked, 2, np.random.default_rng(1)))


def test_independent_errors_stay_independent(rng):
    targets = SINGLES + PAIRS
    world = World(rng)
    world.group = np.zeros(N_GENES)
    errors = EffectErrors.calibrate(fit(world.measure(targets, world.make(targets))))
    drawn = errors.draw(*here(NEW_PAIRS[:1]), 2000, rng)[:, 0]
    correlation = np.corrcoef(drawn.T)[~np.eye(N_GENES, dtype=bool)]
    assert np.sqrt(np.mean(correlation**2)) < 0.2


# --- what is saved, and how it is worked through ------------------------------------------------


def test_saved_errors_say_the_same(world, rng):
    targets = SINGLES + PAIRS
    truth = world.make(targets)
    effects = world.measure(targets, truth)
    halves = [world.measure(targets, truth, 30) for _ in range(2)]
    regression = fit(effects)
    errors = EffectErrors.calibrate(regression, halves)
    arrays = errors.to_plain()
    assert all(name.startswith("errors.") for name in arrays)
    assert sum(array.size for array in arrays.values()) < 60 * N_GENES
    again = EffectErrors.from_plain(regression, {**arrays, "other": np.ones(1)})
    asked = here((*SINGLES[:2], *NEW_PAIRS[:2], ("NEW",)))
    first, second = (one.predict(*asked) for one in (errors, again))
    for name in ("mean", *PARTS):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    draws = [one.draw(*asked, 2, np.random.default_rng(0)) for one in (errors, again)]
    np.testing.assert_array_equal(*draws)


def test_each_condition_is_forecast_as_if_alone(world, monkeypatch):
    targets = SINGLES + PAIRS
    errors = EffectErrors.calibrate(fit(world.measure(targets, world.make(targets))))
    asked = (NEW_PAIRS[0], SINGLES[0], ("NEW",), *NEW_PAIRS[1:6], PAIRS[3])
    together = errors.predict(*here(asked))
    monkeypatch.setattr(_uncertainty, "_BLOCK", 2)
    in_blocks = errors.predict(*here(asked))
    for name in PARTS:
        alone = np.concatenate([getattr(errors.predict(*here([one])), name) for one in asked])
        np.testing.assert_allclose(getattr(together, name), alone, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(getattr(in_blocks, name), alone, rtol=1e-4, atol=1e-6)


# --- little to learn from -----------------------------------------------------------------------


def make_one_cell(effects: Effects) -> Effects:
    ones = np.ones(len(effects), dtype=int)
    return replace(effects, n_cells=ones, variance=np.zeros_like(effects.variance))


def make_constant(effects: Effects) -> Effects:
    delta, variance = effects.delta.copy(), effects.variance.copy()
    delta[:, :5], variance[:, :5] = 0, 0
    control = effects.control_mean.copy()
    control[:, :5] = 0
    return replace(effects, delta=delta, variance=variance, control_mean=control)


@pytest.mark.parametrize(
    ("change", "n_conditions"),
    [
        (lambda effects: effects, 1),
        (lambda effects: effects, 2),
        (lambda effects: effects, 30),
        (make_one_cell, 1),
        (make_one_cell, 30),
        (make_constant, 30),
        (lambda effects: replace(effects, n_controls=None), 30),
        (lambda effects: replace(effects, n_controls=np.zeros(1, dtype=int)), 3),
        (lambda effects: replace(effects, delta=np.zeros_like(effects.delta)), 5),
    ],
)
def test_little_to_learn_from_gives_finite_values(world, rng, change, n_conditions):
    targets = (SINGLES + PAIRS)[:n_conditions]
    effects = change(world.measure(targets, world.make(targets)))
    errors = EffectErrors.calibrate(fit(effects), [])
    asked = here((*targets[:1], NEW_PAIRS[0], ("NEW",), ("NEW", "OTHER")))
    forecast = errors.predict(*asked)
    for name in PARTS:
        assert np.isfinite(getattr(forecast, name)).all()
        assert (getattr(forecast, name) >= 0).all()
    assert (forecast.probability_up + forecast.probability_down <= 1 + 1e-6).all()
    assert np.isfinite(errors.draw(*asked, 2, rng)).all()
    if not effects.variance.any():
        assert (forecast.probability_up + forecast.probability_down < 0.05).all()
    assert errors.predict(*here([])).standard_error.shape == (0, N_GENES)


@pytest.mark.parametrize(("n_conditions", "n_weights"), [(1, 1), (3, 1), (5, 1), (6, 2), (20, 2)])
def test_few_conditions_tell_one_weight(world, n_conditions, n_weights):
    targets = SINGLES[:n_conditions]
    real = np.abs(world.make(targets))
    known = Known(0.5 * real, np.ones(n_conditions), np.zeros((n_conditions, 1)))
    rows = np.arange(n_conditions)
    model = fit_errors(known, 0.5 * real, 0 * real, rows, np.arange(N_GENES))
    assert model.weights[0] > 0 or n_weights > 1
    assert (np.flatnonzero(model.weights) < 1).all() == (n_weights == 1)


def test_a_context_without_training_conditions_is_less_sure(world):
    targets = SINGLES + PAIRS
    effects = world.measure(targets, world.make(targets))
    control = np.vstack([effects.control_mean, effects.control_mean])
    effects = replace(effects, control_mean=control, n_controls=np.full(2, N_CONTROLS))
    kernel = replace(KERNEL, settings=replace(KERNEL.settings, context=0.4, mean_context=0.4))
    errors = EffectErrors.calibrate(DenoisedRegression(effects, kernel))
    known, new = (
        errors.predict(NEW_PAIRS, np.full(len(NEW_PAIRS), context)).standard_error.mean()
        for context in (0, 1)
    )
    assert new > 1.05 * known


def test_measured_effects_that_are_not_believed_are_predicted_as_others(world):
    targets = SINGLES + PAIRS
    effects = world.measure(targets, world.make(targets))
    regression = DenoisedRegression(effects, KERNEL, denoising=Denoising(use_measured=False))
    errors = EffectErrors.calibrate(regression)
    assert (regression.find_measured(*here(targets)) == -1).all()
    error = errors.predict(*here(PAIRS)).standard_error.mean()
    assert error == pytest.approx(errors.predict(*here(NEW_PAIRS)).standard_error.mean(), rel=0.3)

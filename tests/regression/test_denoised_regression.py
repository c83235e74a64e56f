"""Planted effects under known noise, and the mixture worked out by hand."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from scbig.data import Effects, Targets
from scbig.regression import (
    DenoisedRegression,
    Denoising,
    KernelRegression,
    KernelSettings,
    TargetKernel,
)
from scbig.regression._denoised import choose_particular, fit_own_gene
from scbig.regression._gaussian_process import ComponentRegression

N_TARGETS = 24
NAMES = [f"T{i}" for i in range(N_TARGETS)]
# The first targets are measured genes.
GENES = (*NAMES[:20], *(f"G{i}" for i in range(100)))
NO_TARGETS = tuple(f"G{i}" for i in range(len(GENES)))
SINGLES = tuple((name,) for name in NAMES)
# Every target in four pairs of forty-eight; the rest is left to predict.
PAIRS = tuple((NAMES[i], NAMES[j]) for i, j in combinations(range(N_TARGETS), 2) if j - i <= 2)
NEW_PAIRS = tuple((NAMES[i], NAMES[j]) for i, j in combinations(range(N_TARGETS), 2) if j - i > 9)
KERNEL = TargetKernel((), KernelSettings())
# The regression by itself.
ALONE = Denoising(use_measured=False)
N_CELLS = 40


def make_truth(rng: np.random.Generator, rank: int = 3) -> np.ndarray:
    """Effects of single targets that share few programs, about half as large as their noise."""
    loadings = 0.05 * rng.normal(size=(rank, len(GENES)))
    return rng.normal(size=(N_TARGETS, rank)) @ loadings


def add_up(truth: np.ndarray, targets: Sequence[Targets]) -> np.ndarray:
    return np.array([truth[[NAMES.index(t) for t in group]].sum(axis=0) for group in targets])


def make_effects(
    rng: np.random.Generator, targets: Sequence[Targets], mean: np.ndarray, variance: float = 1.0
) -> Effects:
    """Means of cells of a given variance around planted effects."""
    noise = np.sqrt(variance / N_CELLS) * rng.normal(size=mean.shape)
    return Effects(
        targets=tuple(targets),
        context=np.zeros(len(targets), dtype=int),
        delta=mean + noise,
        n_cells=np.full(len(targets), N_CELLS),
        control_mean=np.full((1, mean.shape[1]), 1.5),
        variance=np.full(mean.shape, variance),
    )


def predict_here(regression: DenoisedRegression | KernelRegression, targets) -> np.ndarray:
    return regression.predict(targets, np.zeros(len(targets), dtype=int))


def get_error(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean((predicted - truth) ** 2) / np.mean(truth**2))


def get_share(real: np.ndarray, expected: np.ndarray) -> float:
    return float((real * expected).sum() / (expected**2).sum())


@pytest.fixture
def truth(rng: np.random.Generator) -> np.ndarray:
    return make_truth(rng)


@pytest.fixture
def effects(rng: np.random.Generator, truth: np.ndarray) -> Effects:
    targets = SINGLES + PAIRS
    return make_effects(rng, targets, add_up(truth, targets))


@pytest.mark.parametrize("targets", [SINGLES, NEW_PAIRS], ids=["seen", "new pairs"])
def test_shared_effects_are_told_from_noise(effects: Effects, truth: np.ndarray, targets):
    """Far less error than the best regression gene by gene, whatever noise it assumes."""
    expected = add_up(truth, targets)
    plain = [
        get_error(
            predict_here(KernelRegression(effects, KERNEL.with_noise(noise, 0.0)), targets),
            expected,
        )
        for noise in (0.3, 1.0, 3.0, 10.0)
    ]
    denoised = predict_here(DenoisedRegression(effects, KERNEL, NO_TARGETS, ALONE), targets)
    assert get_error(denoised, expected) < 0.6 * min(plain)


def test_a_strong_effect_on_one_gene_is_kept(effects: Effects, truth: np.ndarray):
    """Shared components lose what is particular to a gene of one target."""
    row, gene = 5, 90
    is_with = np.array([NAMES[row] in group for group in effects.targets])
    delta = effects.delta.copy()
    delta[is_with, gene] += 3
    effects = replace(effects, delta=delta)
    predicted = predict_here(DenoisedRegression(effects, KERNEL, NO_TARGETS), SINGLES)
    assert predicted[row, gene] - truth[row, gene] == pytest.approx(3, abs=0.75)
    others = np.delete(predicted[:, gene] - truth[:, gene], row)
    assert np.abs(others).max() < 0.5


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_combinations_saturate_by_the_planted_share(
    rng: np.random.Generator, truth: np.ndarray, share: float
):
    truth = 3 * truth
    mean = np.vstack([truth, share * add_up(truth, PAIRS)])
    effects = make_effects(rng, SINGLES + PAIRS, mean)
    regression = DenoisedRegression(effects, KERNEL, NO_TARGETS)
    predicted = predict_here(regression, NEW_PAIRS)
    assert get_share(predicted, add_up(truth, NEW_PAIRS)) == pytest.approx(share, abs=0.07)
    assert get_error(predicted, share * add_up(truth, NEW_PAIRS)) < 0.1


def test_only_combinations_of_seen_targets_are_scaled(rng: np.random.Generator, truth: np.ndarray):
    """With hardly any noise everything is believed, and the regression adds up."""
    mean = np.vstack([truth, 0.6 * add_up(truth, PAIRS)]) + 0.1
    effects = make_effects(rng, SINGLES + PAIRS, mean, variance=1e-16)
    regression = DenoisedRegression(effects, KERNEL, GENES, ALONE)
    targets = [("T0", "T12"), ("T0", "X"), ("X", "Y"), ("T3", "T20", "X")]
    predicted = predict_here(regression, targets)
    single = {name: predict_here(regression, [(name,)])[0] for name in (*NAMES, "X", "Y")}
    sums = np.array([sum(single[target] for target in group) for group in targets])
    np.testing.assert_allclose(predicted[1:], sums[1:], rtol=1e-6, atol=1e-9)
    assert 0.5 < get_share(predicted[0], sums[0]) < 0.95
    shares = predicted[0] / sums[0]
    # One share for each gene, the same for all combinations.
    other = predict_here(regression, [("T5", "T6", "T19")])[0]
    np.testing.assert_allclose(
        other, shares * (single["T5"] + single["T6"] + single["T19"]), rtol=1e-6, atol=1e-9
    )


def mix_by_hand(effects: Effects, genes: Sequence[str], targets: Sequence[Targets]) -> np.ndarray:
    """Both regressions, and how many standard errors they are apart."""
    context = np.zeros(len(targets), dtype=int)
    line = fit_own_gene(effects, genes)
    own, own_here = (
        line.predict(groups, effects.get_control(np.zeros(len(groups), dtype=int)))
        for groups in (effects.targets, targets)
    )
    rest = replace(effects, delta=effects.delta - own)
    noise = (effects.variance * (effects.n_cells - 1)[:, None]).sum(axis=0)
    noise = noise / (effects.n_cells - 1).sum()
    scale = np.sqrt((noise + noise.mean()) * np.mean(1 / effects.n_cells))
    kernels = [
        KERNEL.with_noise(noise, interaction)
        for noise in (0.1, 0.3, 1.0, 3.0, 10.0)
        for interaction in (0.0, 1.0)
    ]
    shared = ComponentRegression(rest, kernels, scale).predict(targets, context)
    kernel = KERNEL.with_noise(0.5, 1.0)
    detailed = KernelRegression(rest, kernel)
    indicators = KernelRegression(replace(rest, delta=np.eye(len(rest))), kernel)
    weights = indicators.predict(targets, context)
    error = np.sqrt((weights**2 / effects.n_cells).sum(axis=1)[:, None] * noise)
    difference = detailed.predict(targets, context) - shared
    z = difference / error
    return shared + difference * z**2 / (z**2 + 16) + own_here


def test_mixture_of_single_targets_is_worked_out_by_hand(
    rng: np.random.Generator, truth: np.ndarray
):
    effects = make_effects(rng, SINGLES, truth)
    effects = replace(
        effects,
        n_cells=rng.integers(20, 90, N_TARGETS),
        variance=rng.uniform(0.5, 2.0, effects.variance.shape),
    )
    targets = [("T0",), ("T7",), ("T22",), ("Z",), ("T1", "T9")]
    predicted = predict_here(DenoisedRegression(effects, KERNEL, GENES, ALONE), targets)
    np.testing.assert_allclose(predicted, mix_by_hand(effects, GENES, targets), rtol=1e-7)


def test_the_own_gene_of_an_unseen_target_is_known(rng: np.random.Generator, truth: np.ndarray):
    """Nine tenths of the expression of each target are gone."""
    mean = truth.copy()
    mean[np.arange(20), np.arange(20)] = -0.9 * 1.5
    effects = make_effects(rng, SINGLES, mean)
    regression = DenoisedRegression(effects.subset(np.arange(1, N_TARGETS)), KERNEL, GENES)
    predicted = predict_here(regression, [("T0",), ("Z",)])
    assert predicted[0, 0] - predicted[1, 0] == pytest.approx(-0.9 * 1.5, abs=0.15)
    np.testing.assert_allclose(predicted[0, 1:], predicted[1, 1:], rtol=1e-9)


def refit_without(effects: Effects, is_out: np.ndarray) -> np.ndarray:
    rest, out = effects.subset(~is_out), effects.subset(is_out)
    return predict_here(DenoisedRegression(rest, KERNEL, GENES), out.targets)


def test_leaving_a_target_out_is_nearly_a_refit(effects: Effects, truth: np.ndarray):
    """Components, own-gene line and saturation still know the conditions left out."""
    delta = effects.delta + 4 * add_up(truth, effects.targets)
    effects = replace(effects, delta=delta)
    regression = DenoisedRegression(effects, KERNEL, GENES)
    for target in ("T2", "T11"):
        is_out = np.array([target in group for group in effects.targets])
        rows, predicted = regression.leave_target_out(target)
        np.testing.assert_array_equal(rows, np.flatnonzero(is_out))
        assert get_error(predicted, refit_without(effects, is_out)) < 0.02


def test_leaving_a_condition_out_is_nearly_a_refit(effects: Effects, truth: np.ndarray):
    effects = replace(effects, delta=effects.delta + 4 * add_up(truth, effects.targets))
    predicted = DenoisedRegression(effects, KERNEL, GENES).leave_one_out()
    assert predicted.shape == effects.delta.shape
    for row in (3, 30, 50):
        is_out = np.arange(len(effects)) == row
        assert get_error(predicted[[row]], refit_without(effects, is_out)) < 0.02


def test_an_unseen_context_has_the_shared_effect(effects: Effects):
    """Under a kernel without contexts it differs in the own gene at most."""
    regression = DenoisedRegression(effects, KERNEL, GENES, ALONE)
    targets = [("T0",), ("T22",), ("T0", "T20")]
    here = predict_here(regression, targets)
    np.testing.assert_allclose(regression.predict(targets, np.ones(3, dtype=int)), here)
    control = np.vstack([effects.control_mean, effects.control_mean])
    control[1, 0] = 0
    regression = DenoisedRegression(replace(effects, control_mean=control), KERNEL, GENES, ALONE)
    there = regression.predict(targets, np.ones(3, dtype=int))
    np.testing.assert_allclose(there[:, 1:], here[:, 1:])
    assert (there[[0, 2], 0] != here[[0, 2], 0]).all()


@pytest.mark.parametrize("variance", [0.0, 1.0])
def test_a_single_condition_will_do(rng: np.random.Generator, variance: float):
    effects = make_effects(rng, [("T0",)], rng.normal(size=(1, len(GENES))))
    effects = replace(effects, variance=np.full_like(effects.variance, variance))
    regression = DenoisedRegression(effects, KERNEL, NO_TARGETS)
    predicted = predict_here(regression, [("T0",), ("T0", "T1")])
    # At most as large as what was measured, and of its sign.
    assert (predicted[0] * effects.delta[0] >= 0).all()
    assert (np.abs(predicted[0]) <= np.abs(effects.delta[0])).all()
    assert np.isfinite(predicted).all()
    np.testing.assert_array_equal(regression.leave_one_out(), np.zeros((1, len(GENES))))
    rows, left_out = regression.leave_target_out("T0")
    np.testing.assert_array_equal(rows, [0])
    np.testing.assert_array_equal(left_out, np.zeros((1, len(GENES))))


def test_without_noise_everything_is_believed(rng: np.random.Generator, truth: np.ndarray):
    """Cells that do not vary, such as one cell a group: regression gene by gene."""
    effects = make_effects(rng, SINGLES, truth, variance=0.0)
    predicted = predict_here(DenoisedRegression(effects, KERNEL, NO_TARGETS), NEW_PAIRS)
    expected = predict_here(KernelRegression(effects, KERNEL.with_noise(0.5, 1.0)), NEW_PAIRS)
    np.testing.assert_allclose(predicted, expected, rtol=1e-8)


def test_a_gene_that_never_varies_is_no_trouble(effects: Effects):
    variance, delta = effects.variance.copy(), effects.delta.copy()
    variance[:, 7] = delta[:, 7] = 0
    effects = replace(effects, variance=variance, delta=delta)
    predicted = predict_here(DenoisedRegression(effects, KERNEL, NO_TARGETS), NEW_PAIRS)
    assert np.isfinite(predicted).all()
    np.testing.assert_allclose(predicted[:, 7], 0, atol=1e-12)


def test_features_need_no_names(effects: Effects):
    predicted = predict_here(DenoisedRegression(effects, KERNEL), NEW_PAIRS)
    expected = predict_here(DenoisedRegression(effects, KERNEL, NO_TARGETS), NEW_PAIRS)
    np.testing.assert_array_equal(predicted, expected)


def test_controls_have_no_effect(effects: Effects):
    regression = DenoisedRegression(effects, KERNEL, GENES)
    np.testing.assert_array_equal(predict_here(regression, [()]), np.zeros((1, len(GENES))))
    assert predict_here(regression, []).shape == (0, len(GENES))


def test_measured_conditions_are_predicted_by_their_own_cells_too(
    effects: Effects, truth: np.ndarray
):
    """A strong effect on one gene is kept, which no other condition has."""
    delta = effects.delta.copy()
    delta[0, 110] += 3.0
    marked = replace(effects, delta=delta)
    alone, both = (
        predict_here(DenoisedRegression(marked, KERNEL, NO_TARGETS, parts), SINGLES)[0, 110]
        for parts in (ALONE, Denoising())
    )
    assert abs(both - delta[0, 110]) < 0.1
    assert abs(alone - delta[0, 110]) > abs(both - delta[0, 110])


def test_what_is_predicted_of_a_measured_condition_does_not_depend_on_the_others_asked(
    effects: Effects,
):
    regression = DenoisedRegression(effects, KERNEL, NO_TARGETS)
    asked = [NEW_PAIRS[0], SINGLES[3], SINGLES[7]]
    together = predict_here(regression, asked)
    np.testing.assert_array_equal(together[1:2], predict_here(regression, asked[1:2]))
    alone, _, towards = regression.shrink_measured()
    np.testing.assert_allclose(together[1], (alone[3] + towards[3]) / 2, rtol=1e-12)
    settings = replace(KERNEL.settings, particular=0.2, even=0.7)
    mixed = DenoisedRegression(effects, TargetKernel((), settings), NO_TARGETS)
    _, evenly, _ = regression.shrink_measured()
    expected = 0.2 * alone + 0.7 * evenly + 0.1 * towards
    np.testing.assert_allclose(predict_here(mixed, SINGLES[3:4])[0], expected[3], rtol=1e-9)
    # By one factor, as measured in everything else.
    np.testing.assert_allclose(np.ptp(evenly[3] / effects.delta[3]), 0, atol=1e-9)
    # Conditions that were not measured, and measured ones in other contexts, are regressed.
    plain = DenoisedRegression(effects, KERNEL, NO_TARGETS, ALONE)
    np.testing.assert_allclose(together[0], predict_here(plain, asked[:1])[0], rtol=1e-9)
    elsewhere = np.ones(3, dtype=int)
    np.testing.assert_allclose(
        regression.predict(asked, elsewhere), plain.predict(asked, elsewhere), rtol=1e-9
    )


def test_without_noise_known_the_regression_is_alone(effects: Effects):
    silent = replace(effects, variance=np.zeros_like(effects.variance))
    found = [
        predict_here(DenoisedRegression(silent, KERNEL, GENES, parts), SINGLES)
        for parts in (Denoising(), ALONE)
    ]
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-12)


def test_halves_tell_what_is_shared_from_what_is_particular(rng: np.random.Generator):
    """Shared programs are found by the regression, single genes by the condition's own cells."""
    is_one = rng.random((N_TARGETS, len(GENES))) < 0.03
    shared, particular = make_truth(rng), np.where(is_one, 1.5, 0.0)
    shares = []
    for planted in (shared, particular):
        halves = [make_effects(rng, SINGLES, planted) for _ in range(2)]
        kernel = choose_particular(halves, KERNEL, NO_TARGETS, Denoising())
        shares.append(kernel.settings.particular)
        assert replace(kernel.settings, particular=0.5, even=0.0) == KERNEL.settings
        both = [DenoisedRegression(half, kernel, NO_TARGETS) for half in halves]
        errors = [get_error(predict_here(one, SINGLES), planted) for one in both]
        raw = [get_error(half.delta, planted) for half in halves]
        assert max(errors) < 0.7 * min(raw)
    assert shares[0] <= 0.5 < 0.7 <= shares[1]


def test_halves_choose_by_likeness_and_error(rng: np.random.Generator):
    """Effects of one size in all genes, a third of their errors: no gene stands out."""
    weak = np.sign(rng.normal(size=(N_TARGETS, len(GENES)))) / np.sqrt(N_CELLS) / 3
    halves = [make_effects(rng, SINGLES, weak) for _ in range(2)]
    grid = [(i / 4, j / 4) for i in range(5) for j in range(5 - i)]
    likeness, error = np.zeros((2, len(grid)))
    for i, (particular, even) in enumerate(grid):
        settings = replace(KERNEL.settings, particular=particular, even=even)
        for fitted, real in (halves, halves[::-1]):
            found = DenoisedRegression(fitted, TargetKernel((), settings), NO_TARGETS)
            mean = predict_here(found, SINGLES)
            pairs = zip(mean, real.delta, strict=True)
            likeness[i] += np.mean([np.corrcoef(one, two)[0, 1] for one, two in pairs]) / 2
            error[i] += np.mean((mean - real.delta) ** 2)
    best = grid[np.argmax(likeness - error / error.min())]
    chosen = choose_particular(halves, KERNEL, NO_TARGETS, Denoising()).settings
    assert (chosen.particular, chosen.even) == best
    assert chosen.even >= 0.5


def test_the_error_of_controls_is_no_effect_of_a_measured_condition(rng: np.random.Generator):
    """Conditions without effects, all measured against the same few controls."""
    error = rng.normal(size=len(GENES)) / np.sqrt(N_CELLS)
    effects = make_effects(rng, SINGLES, np.zeros((N_TARGETS, len(GENES))))
    effects = replace(effects, delta=effects.delta - error, n_controls=np.array([N_CELLS]))
    unaware = replace(effects, n_controls=np.array([10**9]))
    settings = replace(KERNEL.settings, particular=0.0)
    parts = Denoising(use_components=False)
    found, lost = (
        predict_here(DenoisedRegression(one, TargetKernel((), settings), (), parts), SINGLES)
        for one in (effects, unaware)
    )
    assert np.mean(found**2) < 0.7 * np.mean(lost**2)
    # Conditions that were not measured are expected as they would be measured: with the error.
    new = predict_here(DenoisedRegression(effects, KERNEL, NO_TARGETS), NEW_PAIRS)
    plain = replace(effects, n_controls=None)
    np.testing.assert_allclose(
        new, predict_here(DenoisedRegression(plain, KERNEL, NO_TARGETS), NEW_PAIRS), rtol=1e-9
    )

"""Confidence fitted another way, and on screens that leave little to calibrate it on."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scbig.data import Effects, Targets
from scbig.metrics import pearson_delta
from scbig.regression import Confidence, DenoisedRegression, KernelSettings, TargetKernel

N_TARGETS, N_GENES = 16, 80
NAMES = [f"T{i:02}" for i in range(N_TARGETS)]
SINGLES = tuple((name,) for name in NAMES)
PAIRS = tuple((NAMES[i], NAMES[j]) for i, j in combinations(range(N_TARGETS), 2) if j - i <= 2)
NEW_PAIRS = tuple((NAMES[i], NAMES[j]) for i, j in combinations(range(N_TARGETS), 2) if j - i > 7)
KERNEL = TargetKernel((), KernelSettings())
# The first targets do next to nothing, the last a lot.
STRENGTH = np.linspace(0.01, 0.6, N_TARGETS)


def add_up(truth: np.ndarray, targets: Sequence[Targets]) -> np.ndarray:
    return np.array([truth[[NAMES.index(t) for t in group]].sum(axis=0) for group in targets])


def make_effects(
    rng: np.random.Generator, targets: Sequence[Targets], mean: np.ndarray, variance: float = 1.0
) -> Effects:
    n_cells = rng.integers(30, 60, len(targets))
    noise = np.sqrt(variance / n_cells)[:, None] * rng.normal(size=mean.shape)
    return Effects(
        targets=tuple(targets),
        context=np.zeros(len(targets), dtype=int),
        delta=mean + noise,
        n_cells=n_cells,
        control_mean=np.full((1, mean.shape[1]), 1.5),
        variance=np.full(mean.shape, variance),
    )


def predict_here(predictor: Confidence | DenoisedRegression, targets) -> np.ndarray:
    return predictor.predict(targets, np.zeros(len(targets), dtype=int))


def score(predicted: np.ndarray, effects: Effects) -> np.ndarray:
    return pearson_delta(effects.delta, predicted, np.zeros(predicted.shape[1]))


def trust(effects: Effects) -> Confidence:
    return Confidence.calibrate(DenoisedRegression(effects, KERNEL), score)


@pytest.fixture
def truth(rng: np.random.Generator) -> np.ndarray:
    return STRENGTH[:, None] * rng.normal(size=(N_TARGETS, N_GENES))


@pytest.fixture
def effects(rng: np.random.Generator, truth: np.ndarray) -> Effects:
    targets = SINGLES + PAIRS
    return make_effects(rng, targets, add_up(truth, targets))


def describe_by_hand(effects: Effects, predicted: np.ndarray, n_unseen: Sequence[int]) -> list:
    """Log size in standard errors of an average condition, and how many targets are new."""
    noise = effects.variance[0] * (1 / effects.n_cells).mean()
    size = np.linalg.norm(predicted, axis=1) / np.sqrt(noise.sum())
    return [[np.log(value), n] for value, n in zip(size, n_unseen, strict=True)]


def make_examples(effects: Effects) -> tuple[np.ndarray, np.ndarray]:
    """What was left out, how it was predicted, and what that scored, one by one."""
    regression = DenoisedRegression(effects, KERNEL)
    features, scores = [], []

    def add(rows: Sequence[int], left_out: Sequence[int], predicted: np.ndarray) -> None:
        rest = [effects.targets[i] for i in range(len(effects)) if i not in left_out]
        seen = {target for group in rest for target in group}
        n_unseen = [len(set(effects.targets[row]) - seen) for row in rows]
        features.extend(describe_by_hand(effects, predicted, n_unseen))
        scores.extend(
            pearsonr(effects.delta[row], values).statistic
            for row, values in zip(rows, predicted, strict=True)
        )

    for row, predicted in enumerate(regression.leave_one_out()):
        add([row], [row], predicted[None])
    for target in sorted({target for group in effects.targets for target in group}):
        rows, predicted = regression.leave_target_out(target)
        add(rows, rows, predicted)
    return np.array(features), np.array(scores)


def check_against_an_independent_fit(effects: Effects, wanted: Sequence[Targets]) -> np.ndarray:
    features, scores = make_examples(effects)
    model = make_pipeline(StandardScaler(), Ridge(alpha=1.0)).fit(features, scores)
    seen = {target for group in effects.targets for target in group}
    predicted = predict_here(DenoisedRegression(effects, KERNEL), wanted)
    n_unseen = [len(set(group) - seen) for group in wanted]
    expected = model.predict(describe_by_hand(effects, predicted, n_unseen))
    confidence = predict_here(trust(effects), wanted)
    np.testing.assert_allclose(confidence, expected.clip(0, 1), rtol=1e-6)
    return confidence


def test_an_independent_fit_agrees(effects: Effects):
    wanted = [*SINGLES, *NEW_PAIRS, ("T03", "X"), ("X",)]
    confidence = check_against_an_independent_fit(effects, wanted)
    assert np.ptp(confidence) > 0.3


def test_a_target_only_ever_seen_with_another_is_left_out_with_it(
    rng: np.random.Generator, truth: np.ndarray
):
    """Without T00 there is no T01 either: both are unseen then."""
    targets = (("T00", "T01"), *SINGLES[2:], *PAIRS[10:])
    effects = make_effects(rng, targets, add_up(truth, targets))
    check_against_an_independent_fit(effects, [("T00",), ("T05", "T12"), ("T05", "X"), ("X", "Y")])


def test_confidence_is_what_new_pairs_reach(
    rng: np.random.Generator, effects: Effects, truth: np.ndarray
):
    """In rank, and on average over conditions that were not trained on."""
    real = make_effects(rng, NEW_PAIRS, add_up(truth, NEW_PAIRS)).delta
    predicted = predict_here(DenoisedRegression(effects, KERNEL), NEW_PAIRS)
    reached = [pearsonr(*pair).statistic for pair in zip(real, predicted, strict=True)]
    confidence = predict_here(trust(effects), NEW_PAIRS)
    assert spearmanr(confidence, reached).statistic > 0.6
    assert confidence.mean() == pytest.approx(np.mean(reached), abs=0.1)


def test_confidence_is_in_the_score_that_it_is_given(effects: Effects):
    """A quarter of the score of everything, a quarter of the confidence; one is the most."""
    regression = DenoisedRegression(effects, KERNEL)
    quarter = Confidence.calibrate(regression, lambda predicted, real: score(predicted, real) / 4)
    found, whole = (predict_here(one, NEW_PAIRS) for one in (quarter, trust(effects)))
    assert 0.1 < found.min() < found.max() < 0.3
    np.testing.assert_allclose(np.minimum(4 * found, 1), whole, rtol=1e-6)


def test_confidence_grows_with_the_size_of_the_effect(effects: Effects):
    regression = DenoisedRegression(effects, KERNEL)
    size = np.linalg.norm(predict_here(regression, NEW_PAIRS), axis=1)
    confidence = predict_here(Confidence.calibrate(regression, score), NEW_PAIRS)
    order = np.argsort(size)
    assert (np.diff(confidence[order]) >= 0).all()
    assert confidence[order[-1]] > confidence[order[0]] + 0.2


def test_every_unseen_target_lowers_confidence(effects: Effects):
    """Of pairs predicted alike: an unseen target here adds the same mean effect as another."""
    confidence = predict_here(trust(effects), [("T12", "T15"), ("T15", "X"), ("X", "Y")])
    assert confidence[0] > confidence[1] + 0.1
    assert confidence[1] > confidence[2]


def test_confidence_lies_between_zero_and_one(effects: Effects):
    many = tuple(f"X{i}" for i in range(30))
    confidence = predict_here(trust(effects), [*SINGLES, *NEW_PAIRS, tuple(NAMES), many, ()])
    assert confidence.min() == 0
    assert confidence[-1] == 0
    assert confidence.max() <= 1


def test_no_conditions_have_no_confidence(effects: Effects):
    assert predict_here(trust(effects), []).shape == (0,)


def test_the_order_of_conditions_and_contexts_does_not_matter(
    effects: Effects, rng: np.random.Generator
):
    order = rng.permutation(len(effects))
    shuffled = predict_here(trust(effects.subset(order)), NEW_PAIRS)
    np.testing.assert_allclose(shuffled, predict_here(trust(effects), NEW_PAIRS), rtol=1e-6)
    # The kernel has no contexts, nor has the description.
    elsewhere = trust(effects).predict(NEW_PAIRS, np.full(len(NEW_PAIRS), 3))
    np.testing.assert_allclose(elsewhere, predict_here(trust(effects), NEW_PAIRS))


def test_noise_takes_confidence_away(rng: np.random.Generator, truth: np.ndarray):
    targets = SINGLES + PAIRS
    means = [
        predict_here(
            trust(make_effects(rng, targets, add_up(truth, targets), variance)), NEW_PAIRS
        )
        for variance in (0.01, 3.0, 100.0)
    ]
    low, middle, high = (values.mean() for values in means[::-1])
    assert high > 0.9
    assert high > middle + 0.1
    assert middle > low + 0.1
    assert low < 0.3


@pytest.mark.parametrize("variance", [0.0, 1.0])
def test_a_single_condition_says_nothing_of_others(
    rng: np.random.Generator, variance: float, caplog: pytest.LogCaptureFixture
):
    """Left out, nothing remains to predict it from: confidence is not known, and not 0."""
    effects = make_effects(rng, SINGLES[:1], rng.normal(size=(1, N_GENES)), variance)
    with caplog.at_level("WARNING"):
        confidence = predict_here(trust(effects), [("T00",), ("X",), ("T00", "X")])
    np.testing.assert_array_equal(confidence, np.full(3, np.nan))
    assert "One condition was trained on" in caplog.text


def test_without_effects_there_is_no_confidence(rng: np.random.Generator):
    targets = SINGLES + PAIRS
    nothing = make_effects(rng, targets, np.zeros((len(targets), N_GENES)), variance=0.0)
    assert not nothing.delta.any()
    for effects in (nothing, replace(nothing, variance=np.ones_like(nothing.delta))):
        confidence = predict_here(trust(effects), [("T00",), ("T00", "T09"), ("X",)])
        np.testing.assert_array_equal(confidence, np.zeros(3))


def test_noise_alone_gives_little_confidence(rng: np.random.Generator):
    targets = SINGLES + PAIRS
    effects = make_effects(rng, targets, np.zeros((len(targets), N_GENES)))
    assert predict_here(trust(effects), [*NEW_PAIRS, ("X",)]).max() < 0.3


def test_without_noise_sums_are_certain(rng: np.random.Generator, truth: np.ndarray):
    targets = SINGLES + PAIRS
    effects = make_effects(rng, targets, add_up(truth, targets), variance=0.0)
    assert predict_here(trust(effects), NEW_PAIRS).min() > 0.9


def test_singles_alone_only_tell_of_unseen_targets(rng: np.random.Generator, truth: np.ndarray):
    """Every condition left out is an unseen target, so that seen ones are judged like them."""
    mean = truth + 0.3 * rng.normal(size=N_GENES)
    effects = make_effects(rng, SINGLES, mean)
    confidence = check_against_an_independent_fit(effects, [*SINGLES, *NEW_PAIRS, ("X",)])
    assert np.isfinite(confidence).all()
    assert confidence[-1] > 0.2


def test_sizes_that_never_differed_count_for_nothing(rng: np.random.Generator, truth: np.ndarray):
    """All examples are too small to tell; a sum of many effects, just large enough."""
    targets = SINGLES + PAIRS
    small = 3e-5 * rng.normal(size=truth.shape) + 3e-5 * rng.normal(size=N_GENES)
    effects = make_effects(rng, targets, add_up(small, targets), variance=0.0)
    effects = replace(effects, variance=np.ones_like(effects.delta))
    confidence = predict_here(trust(effects), [("T00",), ("T00", "T15"), tuple(NAMES)])
    np.testing.assert_allclose(confidence, confidence[0], rtol=1e-9)
    assert 0.9 < confidence[0] < 1


def test_a_large_screen_leaves_out_some_targets_only(
    effects: Effects, monkeypatch: pytest.MonkeyPatch
):
    regression = DenoisedRegression(effects, KERNEL)
    left_out = []
    leave = regression.leave_target_out
    monkeypatch.setattr("scbig.regression._unseen.MAX_TARGETS", 5)
    monkeypatch.setattr(
        regression, "leave_target_out", lambda target: left_out.append(target) or leave(target)
    )
    confidence = predict_here(Confidence.calibrate(regression, score), NEW_PAIRS)
    assert left_out == NAMES[::4]
    assert np.abs(confidence - predict_here(trust(effects), NEW_PAIRS)).max() < 0.2


def test_nothing_is_expected_of_targets_that_no_embedding_has(
    effects: Effects, rng: np.random.Generator
):
    table = dict(zip([*NAMES, "NEW"], np.eye(N_TARGETS + 1), strict=True))
    kernel = TargetKernel((table,), KernelSettings(embedding=(1.0,)))
    confidence = Confidence.calibrate(DenoisedRegression(effects, kernel), score)
    last = NAMES[-1]
    unknown, with_new, with_unknown = predict_here(
        confidence, [("NOSUCH",), ("NEW", last), ("NOSUCH", last)]
    )
    assert unknown == 0
    assert 0 < with_unknown < with_new
    assert with_unknown == pytest.approx(with_new / 2, rel=0.05)
    # Where no embedding counts, all unseen targets are alike.
    blind = Confidence.calibrate(
        DenoisedRegression(effects, replace(kernel, settings=KernelSettings(embedding=(0.0,)))),
        score,
    )
    assert predict_here(blind, [("NEW",)]) == predict_here(blind, [("NOSUCH",)]) >= 0

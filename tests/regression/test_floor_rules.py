"""The rules of the floors against scikit-learn and brute force."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import kernel_ridge, linear_model

from scbig.data import Effects, Targets
from scbig.regression import FLOOR_RULES, OWN_MEAN, choose_on_validation, predict_floors
from scbig.regression._floors import (
    DEFAULT_NOISE,
    DEFAULT_WEIGHT,
    EMBEDDING_WEIGHTS,
    NOISES,
)

TRAINED = (("A",), ("B",), ("C",), ("D",), ("A", "B"), ("B", "C"), ("A", "C", "D"), ("D", "E"))
NEW = (("A",), ("A", "D"), ("C", "E"), ("Z",), ("A", "Z"), ("Y", "Z"))
HERE = np.zeros(len(NEW), dtype=int)
NAMES = "ABCDEYZ"


def make_effects(
    rng: np.random.Generator, targets=TRAINED, contexts=None, n_contexts: int = 1
) -> Effects:
    return Effects(
        targets=tuple(targets),
        context=np.zeros(len(targets), dtype=int) if contexts is None else np.array(contexts),
        delta=rng.normal(size=(len(targets), 5)),
        n_cells=rng.integers(20, 90, len(targets)),
        control_mean=np.ones((n_contexts, 5)),
        variance=np.ones((len(targets), 5)),
    )


@pytest.fixture
def effects(rng: np.random.Generator) -> Effects:
    return make_effects(rng)


@pytest.fixture
def table(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Embeddings of all targets but E and Y."""
    vectors = rng.normal(size=(5, 3))
    return dict(
        zip("ABCDZ", vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True)
    )


def indicate(targets) -> np.ndarray:
    return np.array([[float(name in group) for name in NAMES] for group in targets])


def count(targets) -> np.ndarray:
    return np.array([[len(group)] for group in targets])


def get_single_mean(effects: Effects) -> np.ndarray:
    return np.mean(
        [
            row
            for row, group in zip(effects.delta, effects.targets, strict=True)
            if len(group) == 1
        ],
        axis=0,
    )


def ridge_by_hand(effects: Effects, new, noise: float) -> np.ndarray:
    mean = get_single_mean(effects)
    ridge = linear_model.Ridge(alpha=noise, fit_intercept=False)
    ridge.fit(
        indicate(effects.targets),
        effects.delta - count(effects.targets) * mean,
        sample_weight=effects.n_cells / effects.n_cells.mean(),
    )
    return count(new) * mean + ridge.predict(indicate(new))


def compare_by_hand(one: Targets, other: Targets, table, weight: float) -> float:
    """Sum over pairs of targets: the same, and the cosine of their embeddings."""
    return sum(
        (a == b) + weight * (table[a] @ table[b] if a in table and b in table else 0.0)
        for a in one
        for b in other
    )


def kernel_ridge_by_hand(effects: Effects, new, table, noise: float, weight: float) -> np.ndarray:
    mean = get_single_mean(effects)
    gram, cross = (
        np.array([[compare_by_hand(a, b, table, weight) for b in effects.targets] for a in rows])
        for rows in (effects.targets, new)
    )
    model = kernel_ridge.KernelRidge(alpha=noise, kernel="precomputed")
    model.fit(
        gram,
        effects.delta - count(effects.targets) * mean,
        sample_weight=effects.n_cells / effects.n_cells.mean(),
    )
    return count(new) * mean + model.predict(cross)


def test_floors_come_in_the_order_of_the_tables(effects: Effects):
    predicted = predict_floors(effects, NEW, HERE, ())
    keys = ["no_change", "train_mean", "additive", "ridge", "kernel_ridge", "nearest_condition"]
    assert list(predicted) == list(FLOOR_RULES) == keys
    assert {values.shape for values in predicted.values()} == {(len(NEW), 5)}
    assert not predicted["no_change"].any()
    np.testing.assert_allclose(predicted["train_mean"], [effects.delta.mean(0)] * len(NEW))


def test_the_additive_floor_gives_the_mean_single_effect_to_what_was_not_seen_alone(
    effects: Effects,
):
    mean = get_single_mean(effects)
    a, _, c, d = effects.delta[:4]
    expected = [a, a + d, c + mean, mean, a + mean, 2 * mean]
    np.testing.assert_allclose(predict_floors(effects, NEW, HERE, ())["additive"], expected)


def test_own_mean_gives_back_what_was_measured_or_the_train_mean(rng: np.random.Generator):
    trained = (("A",), ("A",), ("A", "B"), ("C",))
    effects = make_effects(rng, trained, [0, 1, 1, 0], n_contexts=3)
    rule = OWN_MEAN.make_rule(effects, OWN_MEAN.choose_kernel(effects, effects, ()))
    a0, a1, ab, c = effects.delta
    wanted = [("A",), ("A",), ("A",), ("A", "B"), ("C",), ("Z",), ("Z",)]
    context = np.array([0, 1, 2, 0, 1, 1, 2])
    expected = [a0, a1, (a0 + a1) / 2, ab, c, (a1 + ab) / 2, effects.delta.mean(0)]
    np.testing.assert_allclose(rule(wanted, context), expected)
    assert "own_mean" not in FLOOR_RULES


def test_ridge_is_that_of_scikit_learn_around_the_mean_single_effect(effects: Effects):
    predicted = predict_floors(effects, NEW, HERE, ())
    expected = ridge_by_hand(effects, NEW, DEFAULT_NOISE)
    np.testing.assert_allclose(predicted["ridge"], expected, rtol=1e-8)
    # Nothing is known of Y and Z but that they are targets.
    np.testing.assert_allclose(predicted["ridge"][5], 2 * get_single_mean(effects))
    # Without an embedding there is nothing to be similar by.
    np.testing.assert_array_equal(predicted["kernel_ridge"], predicted["ridge"])


def test_kernel_ridge_is_that_of_scikit_learn_around_the_mean_single_effect(
    effects: Effects, table
):
    predicted = predict_floors(effects, NEW, HERE, (table,))["kernel_ridge"]
    expected = kernel_ridge_by_hand(effects, NEW, table, DEFAULT_NOISE, DEFAULT_WEIGHT)
    np.testing.assert_allclose(predicted, expected, rtol=1e-8)
    # Z was never seen but has an embedding; Y has none.
    mean = get_single_mean(effects)
    assert np.abs(predicted[3] - mean).max() > 1e-3
    np.testing.assert_allclose(predicted[5] - predicted[3], mean, rtol=1e-8)


def test_without_singles_combinations_are_shared_out(rng: np.random.Generator):
    effects = make_effects(rng, [("A", "B"), ("B", "C", "D")])
    expected = (effects.delta[0] / 2 + effects.delta[1] / 3) / 2
    predicted = predict_floors(effects, [("Z",)], HERE[:1], ())
    for key in ("additive", "ridge", "kernel_ridge"):
        np.testing.assert_allclose(predicted[key], [expected], rtol=1e-8)


def test_settings_are_those_of_the_smallest_squared_error(rng: np.random.Generator, table):
    effects = make_effects(rng)
    # Effects that follow the embeddings, so that the choice is no accident.
    loadings = rng.normal(size=(3, 5))
    vectors = np.array(
        [sum(table.get(name, np.zeros(3)) for name in group) for group in (*TRAINED, *NEW)]
    )
    delta = vectors @ loadings + 0.3 * rng.normal(size=(len(vectors), 5))
    effects = replace(effects, delta=delta[: len(TRAINED)])
    held_out = replace(make_effects(rng, NEW), delta=delta[len(TRAINED) :])

    def get_error(predicted: np.ndarray) -> float:
        return float(((predicted - held_out.delta) ** 2).mean())

    chosen = choose_on_validation(effects, held_out, ()).settings
    errors = {noise: get_error(ridge_by_hand(effects, NEW, noise)) for noise in NOISES}
    assert chosen.noise == min(errors, key=lambda noise: errors[noise])

    chosen = choose_on_validation(effects, held_out, (table,)).settings
    errors = {
        (noise, weight): get_error(kernel_ridge_by_hand(effects, NEW, table, noise, weight))
        for weight in EMBEDDING_WEIGHTS
        for noise in NOISES
    }
    best = min(errors, key=lambda pair: errors[pair])
    assert (chosen.noise, *chosen.embedding) == best
    assert best[1] > 0
    predicted = predict_floors(effects, NEW, HERE, (table,), validation=held_out)
    expected = kernel_ridge_by_hand(effects, NEW, table, *best)
    np.testing.assert_allclose(predicted["kernel_ridge"], expected, rtol=1e-8)


def test_without_validation_the_settings_are_fixed(effects: Effects, table):
    nothing = effects.subset(np.empty(0, dtype=int))
    for key, embeddings in (("ridge", ()), ("kernel_ridge", (table,))):
        # Ridge on indicators knows no embedding, even if it is given one.
        settings = FLOOR_RULES[key].choose_kernel(effects, nothing, (table,)).settings
        assert (settings.noise, settings.mean) == (DEFAULT_NOISE, 0.0)
        assert settings.embedding == (DEFAULT_WEIGHT,) * len(embeddings)


def test_only_ridge_regression_is_tuned():
    tuned = [key for key, floor in FLOOR_RULES.items() if floor.is_tuned]
    assert tuned == ["ridge", "kernel_ridge"]


def test_a_large_screen_is_thinned_for_the_choice_only(rng: np.random.Generator, monkeypatch):
    from scbig.regression import _floors

    monkeypatch.setattr(_floors, "MAX_GROUPS", 4)
    effects, held_out = make_effects(rng), make_effects(rng, NEW)
    chosen = choose_on_validation(effects, held_out, ())
    thinned = effects.subset(np.array([0, 2, 4, 7]))
    assert chosen.settings == choose_on_validation(thinned, held_out, ()).settings
    predicted = predict_floors(effects, NEW, HERE, (), validation=held_out)["ridge"]
    expected = ridge_by_hand(effects, NEW, chosen.settings.noise)
    np.testing.assert_allclose(predicted, expected, rtol=1e-8)


# --- contexts ---------------------------------------------------------------------------------


@pytest.fixture
def in_contexts(rng: np.random.Generator) -> Effects:
    """Context 0 has all; context 1 lacks A and its combinations; context 2 has nothing."""
    own = [group for group in TRAINED if "A" not in group]
    return make_effects(rng, [*TRAINED, *own], [0] * len(TRAINED) + [1] * len(own), n_contexts=3)


def test_a_regression_learns_what_its_context_lacks_from_the_others(in_contexts: Effects):
    effects = in_contexts
    means = [get_single_mean(effects.subset(effects.context == context)) for context in (0, 1)]
    is_single = [len(group) == 1 for group in effects.targets]
    overall = effects.delta[is_single].mean(axis=0)
    # Rows of each context: its own, and those of conditions that it has not.
    has_a = np.array(["A" in group for group in effects.targets])
    rows = [effects.context == 0, (effects.context == 1) | has_a, effects.context < 3]
    for context, (kept, mean) in enumerate(zip(rows, (*means, overall), strict=True)):
        known = effects.subset(kept)
        rest = known.delta - count(known.targets) * np.array(means)[known.context]
        ridge = linear_model.Ridge(alpha=DEFAULT_NOISE, fit_intercept=False)
        weight = known.n_cells / known.n_cells.mean()
        ridge.fit(indicate(known.targets), rest, sample_weight=weight)
        expected = count(NEW) * mean + ridge.predict(indicate(NEW))
        predicted = predict_floors(effects, NEW, np.full(len(NEW), context), ())["ridge"]
        np.testing.assert_allclose(predicted, expected, rtol=1e-8)


def test_contexts_can_be_mixed_in_one_call(in_contexts: Effects, table):
    context = np.array([0, 1, 2, 1, 0, -1])
    together = predict_floors(in_contexts, NEW, context, (table,))
    for key, values in together.items():
        apart = [
            predict_floors(in_contexts, NEW[i : i + 1], context[i : i + 1], (table,))[key][0]
            for i in range(len(NEW))
        ]
        np.testing.assert_allclose(values, apart, rtol=1e-10, err_msg=key)


# --- nearest condition ------------------------------------------------------------------------


def find_nearest(effects: Effects, group: Targets, table) -> list[int]:
    """Rows of the nearest conditions, pair by pair; none when nothing is similar."""

    def get_cosine(other: Targets) -> float:
        lengths = [compare_by_hand(x, x, table, 1.0) ** 0.5 for x in (group, other)]
        return compare_by_hand(group, other, table, 1.0) / (lengths[0] * lengths[1])

    cosines = np.array([get_cosine(other) for other in effects.targets])
    return np.flatnonzero(np.isclose(cosines, cosines.max())).tolist() if cosines.max() > 0 else []


def test_nearest_condition_is_found_by_brute_force(effects: Effects, table):
    predicted = predict_floors(effects, NEW, HERE, (table,))["nearest_condition"]
    for group, values in zip(NEW, predicted, strict=True):
        rows = find_nearest(effects, group, table) or list(range(len(effects)))
        np.testing.assert_allclose(values, effects.delta[rows].mean(axis=0), err_msg=str(group))
    np.testing.assert_allclose(predicted[0], effects.delta[0])


def test_ties_are_averaged(rng: np.random.Generator):
    effects = make_effects(rng, [("A",), ("B",), ("C",), ("C", "D")])
    [predicted] = predict_floors(effects, [("A", "B")], HERE[:1], ())["nearest_condition"]
    np.testing.assert_allclose(predicted, effects.delta[:2].mean(axis=0))


def test_what_is_like_nothing_or_unlike_all_has_the_mean_effect(rng: np.random.Generator):
    effects = make_effects(rng, [("A",), ("B",)])
    table = {"A": np.array([1.0, 0.0]), "B": np.array([0.0, 1.0]), "Z": np.array([-0.6, -0.8])}
    predicted = predict_floors(effects, [("Y",), ("Z",)], HERE[:2], (table,))
    np.testing.assert_allclose(predicted["nearest_condition"], [effects.delta.mean(axis=0)] * 2)


def test_the_nearest_condition_is_taken_in_its_context(rng: np.random.Generator):
    effects = make_effects(rng, [("A",), ("B",), ("B",), ("A",)], [0, 0, 1, 2], n_contexts=3)
    wanted = [("B",), ("B",), ("A",), ("Z",)]
    predicted = predict_floors(effects, wanted, np.array([1, 2, 1, 1]), ())["nearest_condition"]
    delta = effects.delta
    expected = [delta[2], (delta[1] + delta[2]) / 2, (delta[0] + delta[3]) / 2, delta[2]]
    np.testing.assert_allclose(predicted, expected)

"""Scores, gate and floors against their definitions, and on cases that must not pass."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy.stats import pearsonr

from scbig.baselines import FLOORS
from scbig.data import Effects, Expression, Screen
from scbig.predictor import EffectMover, FloorComparison, Judge, is_gain, score_effects

N_GENES = 200


@pytest.fixture
def held_out(rng: np.random.Generator) -> Effects:
    n = 12
    return Effects(
        tuple((f"T{i}",) for i in range(n)),
        np.zeros(n, dtype=int),
        rng.normal(size=(n, N_GENES)),
        np.full(n, 50),
        np.full((1, N_GENES), 5.0),
        np.ones((n, N_GENES)),
    )


def add_noise(held_out: Effects, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return held_out.delta + sizes[:, None] * rng.normal(size=held_out.delta.shape)


def test_less_noise_is_a_gain_and_more_is_none(held_out: Effects, rng: np.random.Generator):
    noisy = add_noise(held_out, np.full(12, 2.0), rng)
    better = add_noise(held_out, np.full(12, 1.0), rng)
    assert is_gain(noisy, better, held_out)
    assert not is_gain(better, noisy, held_out)


def test_a_gain_that_chance_would_show_is_none(held_out: Effects, rng: np.random.Generator):
    """Seven conditions get better and five worse: the mean rises, within its error."""
    before = add_noise(held_out, np.full(12, 1.0), rng)
    after = before.copy()
    after[:7] = 0.6 * before[:7] + 0.4 * held_out.delta[:7]
    after[7:] = 1.3 * before[7:] - 0.3 * held_out.delta[7:]
    correlations = [
        np.mean([np.corrcoef(p, d)[0, 1] for p, d in zip(predicted, held_out.delta, strict=True)])
        for predicted in (before, after)
    ]
    assert correlations[1] > correlations[0] + 0.01
    assert not is_gain(before, after, held_out)


def test_a_larger_error_is_no_gain(held_out: Effects, rng: np.random.Generator):
    """The right direction, far too strong."""
    before = add_noise(held_out, np.full(12, 2.0), rng)
    after = add_noise(held_out, np.full(12, 1.0), rng)
    assert is_gain(before, after, held_out)
    assert not is_gain(before, 5 * after, held_out)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_conditions_show_nothing(held_out: Effects, rng: np.random.Generator, n: int):
    held_out = held_out.subset(np.arange(n))
    before = add_noise(held_out, np.full(n, 2.0), rng)
    assert not is_gain(before, held_out.delta, held_out)


def test_no_change_is_no_gain(held_out: Effects, rng: np.random.Generator):
    before = add_noise(held_out, np.full(12, 2.0), rng)
    assert not is_gain(before, before.copy(), held_out)


# --- scores -----------------------------------------------------------------------------------


def make_judge(held_out: Effects, n_cells: int = 64) -> Judge:
    """Three control cells in each context, around its control mean."""
    control = held_out.control_mean
    n_contexts = len(control)
    cells = np.concatenate([0.5 * control, control, 1.5 * control]).astype(np.float32)
    screen = Screen(
        ((),),
        np.zeros(3 * n_contexts, dtype=int),
        tuple(f"c{i}" for i in range(n_contexts)),
        np.tile(np.arange(n_contexts), 3),
    )
    return Judge(held_out, Expression(cells), screen, 0, n_cells)


def test_scores_are_correlations_of_what_cells_can_show(held_out: Effects) -> None:
    predicted = 4 * held_out.delta
    control = held_out.control_mean[held_out.context]
    shown = np.maximum(control + predicted, 0) - control
    expected = [pearsonr(*pair).statistic for pair in zip(shown, held_out.delta, strict=True)]
    np.testing.assert_allclose(score_effects(predicted, held_out), expected, rtol=1e-6)
    assert make_judge(held_out).score(predicted) == pytest.approx(np.mean(expected))


def test_cells_are_averaged_by_context(rng: np.random.Generator) -> None:
    """Effects that take nothing below zero come back from the cells as they went in."""
    control = np.stack([np.full(5, 4.0), np.full(5, 8.0)])
    targets = tuple((f"T{i}",) for i in range(40))
    context = np.arange(40) % 2
    delta = rng.uniform(0, 1, size=(40, 5))
    held_out = Effects(targets, context, delta, np.full(40, 9), control, np.ones_like(delta))
    judge = make_judge(held_out)
    mover = EffectMover(delta, control[context])
    # All effects are rises, which every cell has alike.
    np.testing.assert_allclose(judge.average(mover), delta, atol=1e-6)
    assert judge.score_cells(mover) == pytest.approx(1)
    seen = []

    def record(x, rows):
        seen.append((len(x), sorted(set(context[rows].tolist())), float(x.min())))
        return mover(x, rows)

    judge.average(record)
    # 20 conditions a context, 16 at a time; the least of the drawn cells is of that context.
    assert seen == [(64, [0], 2), (64, [0], 2), (64, [1], 4), (64, [1], 4)]


def test_a_context_without_controls_here_is_not_asked_for(held_out: Effects) -> None:
    screen = Screen(((), ("A",)), np.zeros(2, int), ("old", "new"), np.ones(2, int))
    cells = Expression(np.ones((2, N_GENES), np.float32))
    assert len(Judge(held_out.subset(np.empty(0, int)), cells, screen, 0, n_cells=4)) == 0


# --- floors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (
            0.62,
            "SCBIG beats kernel ridge, the best floor, by 0.03 Pearson delta on 13 held-out "
            "conditions (0.62 against 0.59).",
        ),
        (
            0.41,
            "SCBIG does not beat kernel ridge, the best floor: Pearson delta 0.41 against 0.59 "
            "on 13 held-out conditions.",
        ),
        (
            0.594,
            "SCBIG does not beat kernel ridge, the best floor: Pearson delta 0.59 against 0.59 "
            "on 13 held-out conditions.",
        ),
    ],
)
def test_the_line_says_who_wins(score: float, expected: str) -> None:
    comparison = FloorComparison("SCBIG", score, {"additive": 0.5, "kernel_ridge": 0.59}, 13)
    assert str(comparison) == expected
    assert comparison.margin == pytest.approx(score - 0.59)
    with pytest.raises(FrozenInstanceError):
        comparison.score = 1.0  # type: ignore[misc]


def test_one_condition_is_singular() -> None:
    assert "on 1 held-out condition (" in str(FloorComparison("M", 0.5, {"ridge": 0.1}, 1))


def test_scores_are_mean_correlations(rng: np.random.Generator) -> None:
    def make(targets: tuple, context: list[int]) -> Effects:
        delta = rng.normal(size=(len(targets), 7))
        control = np.arange(14.0).reshape(2, 7) + 20
        return Effects(
            targets,
            np.array(context),
            delta,
            np.full(len(targets), 9),
            control,
            np.ones_like(delta),
        )

    trained = make((("A",), ("B",), ("A",), ("B",)), [0, 0, 1, 1])
    held_out = make((("A", "B"), ("A", "B"), ("Z",)), [0, 1, 1])
    predicted = rng.normal(size=(3, 7))
    found = make_judge(held_out).compare_with_floors("M", predicted, trained, ())

    def score(effects: np.ndarray) -> float:
        pairs = zip(effects, held_out.delta, strict=True)
        return float(np.mean([pearsonr(one, other).statistic for one, other in pairs]))

    delta = trained.delta
    assert (found.model, found.n_conditions) == ("M", 2)
    assert list(found.floors) == [floor.default_key for floor in FLOORS]
    assert found.score == pytest.approx(score(predicted))
    assert found.floors["no_change"] == 0.0
    means = [delta[:2].mean(0), delta[2:].mean(0), delta[2:].mean(0)]
    assert found.floors["train_mean"] == pytest.approx(score(np.array(means)))
    sums = [delta[0] + delta[1], delta[2] + delta[3], delta[2:].mean(0)]
    assert found.floors["additive"] == pytest.approx(score(np.array(sums)))


def test_expression_below_zero_is_not_predicted() -> None:
    control = np.array([[0.5, 1.0, 2.0, 3.0]])
    trained = Effects(
        (("A",),),
        np.zeros(1, int),
        np.array([[-2.0, -2.0, 1.0, 0]]),
        np.ones(1),
        control,
        np.ones((1, 4)),
    )
    held_out = Effects(
        (("B",),),
        np.zeros(1, int),
        np.array([[-0.5, -1.0, 1.0, 0]]),
        np.ones(1),
        control,
        np.ones((1, 4)),
    )
    found = make_judge(held_out).compare_with_floors("M", held_out.delta, trained, ())
    assert found.floors["train_mean"] == pytest.approx(1.0)

"""The line at the end of training, against baselines and correlations made apart."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scbig.model.base import FloorComparison, compare_with_floors
from scbig.model.base._floors import describe_comparison
from scipy.stats import pearsonr

from scbig.baselines import FLOORS
from scbig.data import Effects


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
    assert describe_comparison("SCBIG", comparison) == expected
    assert comparison.margin == pytest.approx(score - 0.59)
    with pytest.raises(FrozenInstanceError):
        comparison.score = 1.0  # type: ignore[misc]


def test_one_condition_is_singular_and_none_is_said() -> None:
    assert "on 1 held-out condition (" in str(FloorComparison("M", 0.5, {"ridge": 0.1}, 1))
    assert describe_comparison("SCBIG", None) == (
        "No conditions were held out: SCBIG was not compared with the floors."
    )


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
    found = compare_with_floors("M", predicted, trained, held_out, ())

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
    found = compare_with_floors("M", held_out.delta, trained, held_out, ())
    assert found.floors["train_mean"] == pytest.approx(1.0)

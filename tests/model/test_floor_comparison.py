"""The line at the end of training, against baselines and correlations made apart."""

import logging
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from scipy.stats import pearsonr

from scbig.baselines import FLOORS
from scbig.data import Effects
from scbig.model import SCBIG
from scbig.model.base import FloorComparison, compare_with_floors
from scbig.model.base._floors import describe_comparison

Fit = Callable[..., SCBIG]


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


# --- SCBIG ------------------------------------------------------------------------------------


def test_floors_are_trained_on_the_same_conditions(
    fit: Fit, screen: AnnData, targets: list[str]
) -> None:
    """Each floor, trained apart through cells, has the score that the model gives it."""
    double = next(label for label in screen.obs["perturbation"] if "+" in label)
    train = {"validation": [targets[0], double]}
    comparison = fit(screen, train=train).comparison_
    assert comparison.n_conditions == 2
    x = screen.X.toarray()
    labels = screen.obs["perturbation"].astype(str).to_numpy()
    control = x[labels == "control"].mean(axis=0)
    for floor in FLOORS[1:]:
        floor.setup_anndata(screen)
        baseline = floor(screen, seed=0)
        baseline.train(**train, use_refit=False)
        scores = []
        for label in train["validation"]:
            effect = baseline._predict_effect(tuple(sorted(label.split("+"))), 0)
            real = x[labels == label].mean(axis=0) - control
            scores.append(pearsonr(np.maximum(effect, -control), real).statistic)
        assert comparison.floors[floor.default_key] == pytest.approx(np.mean(scores), abs=1e-4)


def test_the_score_is_that_of_the_model_before_the_refit(fit: Fit, screen: AnnData) -> None:
    refitted = fit(screen).comparison_
    kept = fit(screen, train={"use_refit": False})
    assert refitted == kept.comparison_
    history = kept.history["flow_validation_score"]["flow_validation_score"].astype(float)
    # Kept are the weights of the best score, or those at the start.
    assert refitted.score >= history.max() - 1e-6


def test_the_line_ends_training(
    fit: Fit, screen: AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="scbig"):
        model = fit(screen, train={"max_steps": 0})
    assert caplog.messages[-1] == str(model.comparison_)
    assert "2 held-out conditions" in caplog.messages[-1]
    assert not any("constant real or predicted" in message for message in caplog.messages)
    with caplog.at_level(logging.INFO, logger="scbig"):
        model.train(validation=[], max_steps=0, use_progress_bar=False)
    assert model.comparison_ is None
    assert caplog.messages[-1].startswith("No conditions were held out: SCBIG was not compared")


def test_a_saved_model_keeps_the_comparison(
    trained: SCBIG, fit: Fit, screen: AnnData, tmp_path: Path
) -> None:
    trained.save(tmp_path / "compared")
    assert trained.comparison_ is not None
    assert SCBIG.load(tmp_path / "compared").comparison_ == trained.comparison_
    fit(screen, train={"validation": [], "max_steps": 0}).save(tmp_path / "alone")
    assert SCBIG.load(tmp_path / "alone").comparison_ is None


def test_an_untrained_model_has_no_comparison(screen: AnnData) -> None:
    SCBIG.setup_anndata(screen)
    assert SCBIG(screen, n_programs=6).comparison_ is None

"""The line at the end of training, against baselines and correlations made apart."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from scipy.stats import pearsonr

from scbig.baselines import FLOORS
from scbig.model import SCBIG

Fit = Callable[..., SCBIG]


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
            effect = baseline._method.predict_effects(
                [tuple(sorted(label.split("+")))], np.zeros(1, int)
            )[0]
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

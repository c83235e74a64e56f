"""Stages of training: which weights are kept, seeds, histories, and how long they run."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from scbig.nn import evaluating, seeded
from scbig.predictor import Stopping, plan_epochs
from scbig.predictor._stage import KeepBest, join_histories


def _run(callback: KeepBest, weights: list[float], scores: list[float]) -> tuple[float, int]:
    """Play the trainer: return the weight at the end and the validations that ran."""
    layer = torch.nn.Linear(1, 1, bias=False)
    trainer = SimpleNamespace(callback_metrics={}, should_stop=False)
    _set(layer, 0.0)
    callback.on_fit_start(trainer, layer)
    n_run = 0
    for weight, score in zip(weights, scores, strict=True):
        _set(layer, weight)
        trainer.callback_metrics["score"] = torch.tensor(score)
        callback.on_validation_epoch_end(trainer, layer)
        n_run += 1
        if trainer.should_stop:
            break
    callback.on_fit_end(trainer, layer)
    return layer.weight.item(), n_run


def _set(layer: torch.nn.Linear, value: float) -> None:
    with torch.no_grad():
        layer.weight.fill_(value)


@pytest.mark.parametrize(
    ("scores", "initial", "expected"),
    [
        ([0.1, 0.5, 0.3], -np.inf, (2.0, 3)),
        ([0.1, 0.5, 0.3], 0.9, (0.0, 3)),
        ([0.5, 0.1, 0.1, 0.1, 0.9], -np.inf, (1.0, 4)),
        ([float("nan")] * 5, 0.2, (0.0, 3)),
    ],
)
def test_keep_best_goes_back_to_the_best_weights(
    scores: list[float], initial: float, expected: tuple[float, int]
) -> None:
    callback = KeepBest(Stopping("score", patience=3, initial=initial))
    weights = [1.0, 2.0, 3.0, 4.0, 5.0][: len(scores)]
    assert _run(callback, weights, scores) == expected


def test_seeded_draws_alike_and_restores_the_state() -> None:
    state = torch.get_rng_state()
    with seeded(5):
        first = torch.rand(3)
    with seeded(5):
        second = torch.rand(3)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(RuntimeError, match="inside"), seeded(5):
        raise RuntimeError("inside")
    assert torch.equal(torch.get_rng_state(), state)


def _table(name: str, values: dict[int, float]) -> pd.DataFrame:
    return pd.DataFrame({name: values.values()}, index=list(values)).rename_axis("epoch")


def test_histories_are_joined_with_epochs_counted_on_by_stage() -> None:
    earlier = {
        "flow_loss": _table("flow_loss", {0: 3.0, 1: 2.0}),
        "flow_score": _table("flow_score", {1: 0.5}),
        "other_loss": _table("other_loss", {0: 9.0}),
    }
    later = {
        "flow_loss": _table("flow_loss", {0: 1.0}),
        "flow_score": _table("flow_score", {0: 0.6}),
        "third_loss": _table("third_loss", {0: 4.0}),
    }
    joined = join_histories(earlier, later)
    found = {name: table[name].to_dict() for name, table in joined.items()}
    assert found == {
        "flow_loss": {0: 3.0, 1: 2.0, 2: 1.0},
        "flow_score": {1: 0.5, 2: 0.6},
        "other_loss": {0: 9.0},
        "third_loss": {0: 4.0},
    }
    assert joined["flow_loss"].index.name == "epoch"
    assert len(earlier["flow_loss"]) == 2


@pytest.mark.parametrize("max_steps", [1, 7, 19, 20, 21, 40, 999, 1000])
def test_steps_are_spread_over_at_most_twenty_epochs(max_steps: int) -> None:
    n_epochs, n_steps = plan_epochs(max_steps)
    assert n_epochs <= 20
    assert max_steps <= n_epochs * n_steps < max_steps + n_steps


@pytest.mark.parametrize("is_training", [True, False])
def test_evaluating_goes_back_to_the_mode_before(is_training: bool) -> None:
    module = torch.nn.Dropout(0.5).train(is_training)
    with evaluating(module):
        assert not module.training
        assert not torch.is_grad_enabled()
    assert module.training is is_training
    with pytest.raises(RuntimeError, match="inside"), evaluating(module):
        raise RuntimeError("inside")
    assert module.training is is_training
    assert torch.is_grad_enabled()

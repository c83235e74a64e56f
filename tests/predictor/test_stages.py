"""Stages of training: which weights are kept, seeds, histories, and how long they run."""

from types import SimpleNamespace

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch

from scbig.nn import evaluating, seeded
from scbig.predictor import Stopping, plan_epochs
from scbig.predictor._stage import KeepBest, StopAtDivergence, join_histories


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


class _Diverging(pl.LightningModule):
    """Weights grow by one each step; at one step the loss, or the weights, are no numbers."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__()
        self.layer, self.n_steps = torch.nn.Linear(1, 1, bias=False), 0
        self.at, self.what = at, what
        _set(self.layer, 0.0)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.n_steps += 1
        loss = -self.layer.weight.sum()
        if self.n_steps == self.at:
            loss = loss * float(self.what) if self.what != "weights" else loss
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.n_steps == self.at and self.what == "weights":
            self.layer.weight.grad.fill_(float("nan"))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


@pytest.mark.parametrize(
    ("at", "what", "expected"),
    [
        (6, "nan", (6, 4.0)),  # epochs of four steps: back to the first
        (6, "inf", (6, 4.0)),
        (2, "nan", (2, 0.0)),  # back to the weights before training
        (4, "weights", (4, 0.0)),
        (99, "nan", (12, 12.0)),
    ],
)
def test_a_stage_that_diverges_stops_at_its_last_good_weights(
    at: int, what: str, expected: tuple[int, float], caplog: pytest.LogCaptureFixture
) -> None:
    module = _Diverging(at, what)
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[StopAtDivergence("flow")],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with caplog.at_level("WARNING", logger="scbig"):
        trainer.fit(module, torch.utils.data.DataLoader(torch.zeros(4, 1)))
    assert (module.n_steps, module.layer.weight.item()) == expected
    told = f"Training of the stage 'flow' diverged at step {at}: "
    assert (told in caplog.text) == (at < 99)
    assert ("smaller learning rate" in caplog.text) == (at < 99)


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

"""How the published recipe trains, and the alignment that all presets have."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData

from scbig.cli._train import Preset
from scbig.flow import LinearPath
from scbig.model import SCBIG, SCBIGConfig
from scbig.model.scbig import PRESETS, _module, _stages
from scbig.model.scbig._condition import ConditionEncoder
from scbig.model.scbig._stages import FlowPlan, hold_out, rise_and_fall
from scbig.predictor import Judge
from scbig.priors import GeneSets

Fit = Callable[..., SCBIG]
PAPER = PRESETS["paper"]
SMALL = {
    "n_hidden": 16,
    "n_layers": 1,
    "n_latent": 6,
    "n_condition": 16,
    "velocity_hidden": (16,),
    "n_time_features": 16,
    "cells_per_group": 12,
}


def _shrink(name: str, **changes: Any) -> SCBIGConfig:
    """Give the networks of a preset a size for tests."""
    return replace(PRESETS[name], **(SMALL | changes))


def _watch(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, look: Callable) -> None:
    """Let a test look at the arguments of a call before it is made."""
    inner = getattr(owner, name)

    def call(*args: Any, **options: Any) -> Any:
        look(*args)
        return inner(*args, **options)

    monkeypatch.setattr(owner, name, call)


# --- alignment --------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [1.0, 1e-4])
def test_the_aligner_takes_full_steps_of_adam_and_leaves_the_gradients_of_the_flow(
    fit: Fit, screen: AnnData, config: SCBIGConfig, monkeypatch: pytest.MonkeyPatch, clip: float
) -> None:
    """Against the formula of Adam, with each gradient clipped by itself; state is kept."""
    steps, moments = [], [0.0, 0.0]
    step_aside = FlowPlan._step_aside

    def check(plan: FlowPlan, loss: torch.Tensor) -> Any:
        weights = plan._weights
        before = [w.detach().double().flatten() for w in weights]
        kept = [None if w.grad is None else w.grad.clone() for w in weights]
        gradients = torch.autograd.grad(loss, weights, retain_graph=True, materialize_grads=True)
        size = step_aside(plan, loss)
        gradient = torch.cat([g.double().flatten() for g in gradients])
        assert size.item() == pytest.approx(gradient.norm().item(), rel=1e-5)
        clipped = gradient.clamp(-clip, clip)
        moments[0] = 0.9 * moments[0] + 0.1 * clipped
        moments[1] = 0.999 * moments[1] + 0.001 * clipped**2
        steps.append(gradient.abs().max().item())
        mean, square = moments[0] / (1 - 0.9 ** len(steps)), moments[1] / (1 - 0.999 ** len(steps))
        expected = torch.cat(before) - 5e-5 * mean / (square.sqrt() + 1e-8)
        after = torch.cat([w.detach().double().flatten() for w in weights])
        torch.testing.assert_close(after, expected, rtol=0, atol=1e-7)
        for weight, gradient in zip(weights, kept, strict=True):
            assert gradient is None if weight.grad is None else torch.equal(weight.grad, gradient)
        return size

    monkeypatch.setattr(FlowPlan, "_step_aside", check)
    wanted = replace(config, align_clip=clip, flow_accumulation=2, align_every=3)
    fit(screen, preset=wanted, train={"max_epochs": 0, "max_steps": 4, "validation": []})
    # Two of eight batches, three conditions each.
    assert len(steps) == 6
    assert max(steps) > 1e-4


@pytest.mark.parametrize("name", ["default", "paper", "paper-fast"])
def test_each_step_aligns_one_condition_without_dropout_in_fixed_steps(
    name: str, fit: Fit, screen: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes, modes, adaptive = [], [], []
    _watch(
        monkeypatch,
        FlowPlan,
        "_alignment_loss",
        lambda _, batch: shapes.append([*map(len, batch)]),
    )

    def look(module: Any, x: torch.Tensor, z: torch.Tensor, *_: Any) -> None:
        modes.append({part.training for part in module.children()})
        shapes[-1].append(z.shape[:2])

    _watch(monkeypatch, _module.SCBIGModule, "predict_cells", look)
    _watch(monkeypatch, _module, "integrate_adaptive", lambda *_: adaptive.append(1))
    config = _shrink(name, dropout=0.2, align_every=2)
    train = {"max_epochs": 0, "max_steps": 2, "validation": []}
    model = fit(screen, preset=config, train=train)
    n_aligned = 2 * config.flow_accumulation // 2
    assert shapes == [[1, 1, 1, (1, 64)]] * (3 * n_aligned)
    assert all(mode == {False} for mode in modes)
    assert not adaptive
    assert len(model.history["flow_alignment_ratio"]) >= 1


def test_the_ratio_is_that_of_the_gradients_before_clipping(
    fit: Fit, screen: AnnData, config: SCBIGConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, aligned = [], []

    def look(plan: FlowPlan, _: Any) -> None:
        gradients = [w.grad.flatten() for w in plan._weights if w.grad is not None]
        flow.append(torch.cat(gradients).norm().item())

    def look_aside(plan: FlowPlan, loss: torch.Tensor) -> None:
        gradients = torch.autograd.grad(
            loss, plan._weights, retain_graph=True, materialize_grads=True
        )
        aligned.append(torch.cat([g.flatten() for g in gradients]).norm().item())

    _watch(monkeypatch, FlowPlan, "on_before_optimizer_step", look)
    _watch(monkeypatch, FlowPlan, "_step_aside", look_aside)
    wanted = replace(config, align_every=1, clip_norm=1e-6, align_clip=1e-6)
    model = fit(screen, preset=wanted, train={"max_steps": 2, "validation": []})
    found = model.history["flow_alignment_ratio"]["flow_alignment_ratio"].astype(float)
    expected = np.reshape(aligned, (2, 3)).mean(axis=1) / np.array(flow)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_without_alignment_there_is_none(fit: Fit, screen: AnnData, config: SCBIGConfig) -> None:
    model = fit(screen, preset=replace(config, align_every=0), train={"max_steps": 2})
    assert not {"flow_alignment_ratio", "flow_correlation_loss"} & set(model.history)


def test_alignment_lowers_its_losses(fit: Fit, screen: AnnData, config: SCBIGConfig) -> None:
    """Alone it would reach them: the flow stands still."""
    still = replace(config, align_every=1, align_lr=3e-3, flow_lr=1e-12, ema_decay=0.0)
    model = fit(screen, preset=still, train={"max_steps": 40, "validation": []})
    losses = model.history["flow_correlation_loss"]["flow_correlation_loss"].astype(float)
    assert losses[-5:].mean() < 0.97 * losses[:5].mean()


# --- pairs and latents ------------------------------------------------------------------------


def test_entropic_pairs_are_what_the_path_leads_along(
    fit: Fit, screen: AnnData, config: SCBIGConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, ends = [], []

    def pair(x0: torch.Tensor, x1: torch.Tensor, _: Any) -> tuple[torch.Tensor, torch.Tensor]:
        points.append((x0, x1))
        rows = torch.arange(x0.shape[1]).expand(len(x0), -1)
        return rows.flip(1), torch.ones_like(rows)

    monkeypatch.setattr(_stages, "sample_pairs", pair)
    _watch(monkeypatch, LinearPath, "sample", lambda _, *given: ends.append(given[:2]))
    entropic = replace(config, coupling="entropic", align_every=0)
    fit(screen, preset=entropic, train={"max_epochs": 0, "max_steps": 2, "validation": []})
    for (x0, x1), (z0, z1) in zip(points, ends, strict=True):
        assert torch.equal(z0, x0.flip(1))
        assert torch.equal(z1, x1[:, 1:2].expand_as(x1))


@pytest.mark.parametrize("is_standard", [True, False])
def test_latents_are_standardised_or_raw(
    fit: Fit, screen: AnnData, config: SCBIGConfig, is_standard: bool
) -> None:
    wanted = replace(config, standardises_latents=is_standard)
    model = fit(screen, preset=wanted, train={"max_steps": 1, "validation": []})
    x = torch.from_numpy(screen.X.toarray())
    with torch.no_grad():
        raw = model.module.encoder(x - model.module.gene_mean).numpy()
    expected = (raw - raw.mean(axis=0)) / raw.std(axis=0) if is_standard else raw
    np.testing.assert_allclose(model.get_latent_representation(), expected, atol=1e-4)


# --- stopping and rates -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_cells", "n_controls", "stops_on", "expected"),
    [
        (1000, 400, "cells", 50),
        (100_000, 400, "cells", 2000),
        (1000, 400, "controls", 200),
        (5000, 900, "controls", 300),
        (10, 1, "controls", 1),
    ],
)
def test_cells_to_stop_the_first_stage_on(
    n_cells: int, n_controls: int, stops_on: Any, expected: int
) -> None:
    cells = np.random.default_rng(0).permutation(n_cells)
    is_control = np.arange(n_cells) < n_controls
    found = hold_out(cells, is_control, SCBIGConfig(autoencoder_stops_on=stops_on))
    assert len(np.unique(found)) == len(found) == expected
    assert is_control[found].all() == (stops_on == "controls")


def test_held_out_controls_do_not_train_the_encoder(
    fit: Fit, screen: AnnData, config: SCBIGConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {}

    class Recorded(_stages.CellBatches):
        def __init__(self, expression: Any, train: Any, validation: Any, **options: Any) -> None:
            given.update(train=train, validation=validation)
            super().__init__(expression, train, validation, **options)

    monkeypatch.setattr(_stages, "CellBatches", Recorded)
    wanted = replace(config, autoencoder_stops_on="controls")
    fit(screen, preset=wanted, train={"max_steps": 1, "validation": []})
    is_control = (screen.obs["perturbation"] == "control").to_numpy()
    assert is_control[given["validation"]].all()
    assert len(given["validation"]) == is_control.sum() // 2
    assert sorted([*given["train"], *given["validation"]]) == list(range(screen.n_obs))


@pytest.mark.parametrize("name", ["paper", "paper-fast"])
def test_all_steps_are_taken_and_the_best_of_five_validations_is_kept(
    name: str, fit: Fit, screen: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, weights = iter([0.2, 0.5, 0.4, 0.3, 0.1]), []

    def score(judge: Judge, mover: Any) -> float:
        weights.append(mover.module.velocity.velocity[-1].weight.clone())
        return next(scores)

    monkeypatch.setattr(Judge, "score_cells", score)
    config = _shrink(name, flow_steps=5, align_every=0)
    model = fit(screen, preset=config, train={"max_epochs": 0})
    found = model.history["flow_validation_score"]["flow_validation_score"].astype(float)
    np.testing.assert_allclose(found, [0.2, 0.5, 0.4, 0.3, 0.1])
    last = model.module.velocity.velocity[-1].weight
    assert torch.equal(last, weights[1])
    assert not torch.equal(last, weights[4])


def test_a_cosine_rises_falls_and_takes_the_alignment_along(
    fit: Fit, screen: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, aligned = [], []
    _watch(
        monkeypatch,
        FlowPlan,
        "on_before_optimizer_step",
        lambda plan, optimizer: rates.append(optimizer.param_groups[0]["lr"]),
    )
    step = torch.optim.Adam.step

    def watch_step(optimizer: torch.optim.Adam, *args: Any, **options: Any) -> Any:
        if optimizer.defaults["lr"] == 7e-3:
            aligned.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *args, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", watch_step)
    config = _shrink("paper-fast", flow_lr=1e-2, align_lr=7e-3, align_every=1)
    fit(screen, preset=config, train={"max_epochs": 0, "max_steps": 40, "validation": []})
    rise = [0.5, 1.0]  # a twentieth of the steps
    fall = (1 + np.cos(np.pi * np.arange(38) / 38)) / 2
    np.testing.assert_allclose(rates, 1e-2 * np.array([*rise, *fall]))
    assert aligned == pytest.approx(np.repeat(0.7 * np.array(rates), 3).tolist())


@pytest.mark.parametrize("n_steps", [1, 2, 19, 20, 2000])
def test_any_number_of_steps_rises_and_falls(n_steps: int) -> None:
    shares = [rise_and_fall(step, n_steps) for step in range(n_steps)]
    assert max(shares) == pytest.approx(1.0)
    assert min(shares) > 0
    top = int(np.argmax(shares))
    assert (np.diff(shares[: top + 1]) > 0).all()
    assert top <= max(1, n_steps // 20)


def test_the_rate_of_the_encoder_follows_the_schedule(
    fit: Fit, screen: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []
    _watch(
        monkeypatch,
        _stages.AutoencoderPlan,
        "on_before_optimizer_step",
        lambda plan, optimizer: rates.append(optimizer.param_groups[0]["lr"]),
    )
    config = _shrink("paper-fast", autoencoder_steps=20, cells_per_batch=20)
    fit(screen, preset=config, train={"max_steps": 1, "validation": []})
    assert len(rates) == 20
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] < 1e-5


# --- the presets ------------------------------------------------------------------------------


def test_the_published_choices_are_kept() -> None:
    assert (PAPER.initialisation, PAPER.pooling, PAPER.condition_dropout) == ("lecun", "seed", 0.9)
    assert (PAPER.time, PAPER.n_time_features) == ("geometric", 1024)
    assert (PAPER.coupling, PAPER.standardises_latents, PAPER.sigma) == ("entropic", False, 0.5)
    assert (PAPER.autoencoder_stops_on, PAPER.n_validations, PAPER.patience) == ("controls", 5, 5)
    assert (PAPER.align_lr, PAPER.align_clip, PAPER.align_every) == (5e-5, 1.0, 1000)
    assert PAPER.needs_gene_sets
    default = PRESETS["default"]
    assert (default.align_lr, default.align_clip, default.align_every) == (5e-5, 1.0, 50)


def test_the_fast_recipe_has_the_networks_and_losses_of_the_slow_one() -> None:
    slow, fast = asdict(PAPER), asdict(PRESETS["paper-fast"])
    assert {name for name in slow if slow[name] != fast[name]} == {
        *("autoencoder_lr", "autoencoder_steps", "flow_lr", "flow_steps", "flow_accumulation"),
        *("groups_per_step", "cells_per_group", "align_every", "align_lr", "schedule"),
        *("ema_decay", "solver", "n_solver_steps"),
    }


def test_the_command_line_knows_all_presets() -> None:
    assert [preset.value for preset in Preset] == list(PRESETS)


@pytest.mark.parametrize("name", ["paper", "paper-fast"])
def test_missing_gene_sets_are_warned_of(
    name: str, screen: AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    SCBIG.setup_anndata(screen)
    genes = tuple(screen.var_names)
    small = _shrink(name)
    SCBIG(screen, preset=small, n_programs=6, gene_sets=GeneSets({"one": genes[:20]}, "one set"))
    SCBIG(screen, n_programs=6)
    assert "gene_sets" not in caplog.text
    SCBIG(screen, preset=small, n_programs=6)
    assert "the pathway loss of arXiv 2602.04901 is left out" in caplog.text
    assert [record.levelname for record in caplog.records if "gene_sets" in record.message] == [
        "WARNING"
    ]


def test_a_fast_model_trains_predicts_and_is_saved(
    fit: Fit, screen: AnnData, targets: list[str], tmp_path: Any
) -> None:
    sets = GeneSets({"one": tuple(screen.var_names[:20])}, "one set")
    config = _shrink("paper-fast", autoencoder_steps=4, flow_steps=10, align_every=5)
    model = fit(screen, preset=config, gene_sets=sets)
    assert len(model.history["flow_pathway_loss"]) == 2
    wanted = {"perturbations": [targets[0], targets[:2]], "n_cells": 10, "seed": 0}
    predicted = model.get_predicted_expression(**wanted)
    assert np.isfinite(predicted).all()
    model.save(tmp_path / "model")
    loaded = SCBIG.load(tmp_path / "model", screen)
    assert loaded.module.config == config
    np.testing.assert_array_equal(loaded.get_predicted_expression(**wanted), predicted)


def test_a_published_condition_makes_room_for_contexts_alone() -> None:
    encoder = ConditionEncoder(4, 2, 5, _shrink("paper"))
    assert encoder.own is None
    encoder.extend(6, 3)
    assert encoder.own is None
    assert encoder.context.weight.shape == (3, 16)


def test_the_tokens_of_the_decoder_have_dropout_too() -> None:
    torch.manual_seed(0)
    config = _shrink("paper")
    tokens = _module.ProgramSemantics(torch.randn(3, 5), config.n_hidden)
    decoder = _module.ProgramDecoder(torch.arange(3).repeat(4), tokens, config).eval()
    assert decoder.dropout.p == 0.1
    z = torch.randn(2, config.n_latent)
    first, second = decoder(z)
    assert not torch.allclose(first, second, atol=1e-3)
    # All tokens dropped, nothing of the latents is left.
    decoder.dropout.p = 1.0
    decoder.dropout.train()
    first, second = decoder(z)
    torch.testing.assert_close(first, second)

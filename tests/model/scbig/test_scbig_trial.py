"""Before the autoencoder is trained, a flow between principal components has to gain something."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from scbig.model import SCBIG, SCBIGConfig
from scbig.predictor import Judge, ShapeJudge

Fit = Callable[..., SCBIG]


@pytest.fixture
def gated(config: SCBIGConfig) -> SCBIGConfig:
    return replace(config, use_gate=True)


@pytest.fixture
def decide(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the gate for means say so, one call after the other; shapes gain nothing."""

    def say(*is_gain: bool) -> None:
        answers = iter(is_gain)
        monkeypatch.setattr(Judge, "is_gain", lambda judge, before, after: next(answers))
        monkeypatch.setattr(ShapeJudge, "compare", lambda *given: _NoGain())

    return say


class _NoGain:
    is_gain = False


def _get_stages(model: SCBIG) -> set[str]:
    return {name.partition("_")[0] for name in model.history}


def test_no_gain_in_the_trial_leaves_the_autoencoder_out(
    fit: Fit, screen: AnnData, gated: SCBIGConfig, decide: Callable[..., None]
) -> None:
    decide(False)
    model = fit(screen, preset=gated)
    assert _get_stages(model) == {"trial"}
    assert not model.uses_networks
    assert not model.uses_shape
    alone = fit(screen.copy(), preset=gated, train={"max_steps": 0})
    np.testing.assert_array_equal(
        model.get_predicted_expression(seed=0), alone.get_predicted_expression(seed=0)
    )
    with pytest.raises(RuntimeError, match=r"autoencoder has not been trained.*max_epochs=30"):
        model.get_latent_representation()
    # What a trial left out can be asked for.
    model.train(max_epochs=1, max_steps=0, use_progress_bar=False)
    assert model.get_latent_representation().shape == (screen.n_obs, gated.n_latent)


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_gain_in_the_trial_lets_the_networks_try(
    fit: Fit, screen: AnnData, gated: SCBIGConfig, decide: Callable[..., None], is_kept: bool
) -> None:
    decide(True, is_kept)
    model = fit(screen, preset=gated)
    assert _get_stages(model) == {"trial", "autoencoder", "flow"}
    assert model.uses_networks is is_kept
    assert model.get_latent_representation().any()


@pytest.mark.parametrize(
    ("change", "train"),
    [
        ({}, {"max_steps": 4}),
        ({}, {"max_epochs": 1}),
        ({"use_gate": False}, {}),
        ({"use_anchor": False}, {}),
        ({"autoencoder": "pca"}, {}),
    ],
)
def test_networks_that_are_asked_for_need_no_trial(
    fit: Fit,
    screen: AnnData,
    gated: SCBIGConfig,
    decide: Callable[..., None],
    change: dict,
    train: dict,
) -> None:
    decide(False)
    assert "trial" not in _get_stages(fit(screen, preset=replace(gated, **change), train=train))


def test_a_trained_autoencoder_needs_no_trial(
    fit: Fit, screen: AnnData, gated: SCBIGConfig, decide: Callable[..., None]
) -> None:
    model = fit(screen, preset=gated, train={"max_epochs": 1, "max_steps": 0})
    decide(False)
    model.train(accelerator="cpu", use_progress_bar=False)
    assert _get_stages(model) == {"autoencoder", "flow"}


def test_latent_effects_of_an_earlier_screen_are_those_of_its_means(
    fit: Fit, screen: AnnData, config: SCBIGConfig, tmp_path: Path
) -> None:
    """Principal components are linear: the mean of latents is the latent of the mean."""
    linear = replace(config, autoencoder="pca")
    labels = sorted(set(screen.obs["perturbation"]) - {"control"})
    is_first = screen.obs["perturbation"].isin(["control", *labels[:10]]).to_numpy()
    is_second = ~screen.obs["perturbation"].isin(labels[:10]).to_numpy()
    fit(screen[is_first].copy(), preset=linear, train={"max_steps": 0}).save(tmp_path / "first")
    later = SCBIG.load(tmp_path / "first", screen[is_second].copy())
    later.train(max_steps=4, accelerator="cpu", use_progress_bar=False)
    anchor, module = later._method.anchor, later.module
    assert len(anchor.features) == len(labels)
    expected = anchor.effects.delta @ module.encoder.components.numpy().T
    np.testing.assert_allclose(anchor.features, expected / module.latent_std.numpy(), atol=1e-4)

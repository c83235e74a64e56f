"""Steps of the recipe, each with a screen on which leaving it out shows in what a user sees.

``docs/scripts/mutations.py`` takes the steps out one by one and expects a failure here. Public
names only, so that the tests outlive the files that the steps stand in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from scbig.baselines import KernelRidge, TrainMean
from scbig.flow import LinearPath
from scbig.model import SCBIG, DualStreamConfig, DualStreamMamba, SCBIGConfig
from scbig.priors import GeneEmbedding
from scbig.regression import Denoising

N_GENES = 24
# No measured genes: nothing is known of them but what the screen or a table says.
TARGETS = [f"T{i}" for i in range(10)]
LOW_TO_HIGH = np.linspace(1.0, 4.0, N_GENES)
# Principal components need no training, and the flow is kept whatever it does.
SMALL = SCBIGConfig(
    autoencoder="pca",
    n_latent=4,
    n_hidden=8,
    n_heads=2,
    n_inducing=3,
    n_condition=8,
    velocity_hidden=(16,),
    n_solver_steps=2,
    align_every=0,
    flow_lr=1e-2,
    groups_per_step=20,
    cells_per_group=16,
    ema_decay=0.0,
    use_gate=False,
)
SMALL_DUAL = DualStreamConfig(
    max_tokens=8, n_hidden=8, n_blocks=1, n_states=4, n_latent=3, n_steps=2
)
# Predictors whose recipes are alike, and how a small one is made.
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "SCBIG": (SCBIG, {"preset": SMALL}),
    "DualStreamMamba": (DualStreamMamba, {"preset": SMALL_DUAL}),
}
BASELINES: dict[str, tuple[Any, dict[str, Any]]] = {
    "TrainMean": (TrainMean, {}),
    "KernelRidge": (KernelRidge, {}),
}
QUIET = {"accelerator": "cpu", "use_progress_bar": False}
ALONE = QUIET | {"max_steps": 0}


def draw_screen(
    effects: Mapping[str, np.ndarray],
    base: Mapping[str, np.ndarray] | np.ndarray = LOW_TO_HIGH,
    *,
    noise: float = 0.05,
    n_cells: int = 16,
    n_controls: int = 16,
    seed: int = 0,
) -> AnnData:
    """Cells around the mean of their context plus the effect of their label."""
    rng = np.random.default_rng(seed)
    contexts = base if isinstance(base, Mapping) else {"x": base}
    labels = {"control": np.zeros(N_GENES), **effects}
    rows, x = [], []
    for context, centre in contexts.items():
        for label, effect in labels.items():
            n = n_controls if label == "control" else n_cells
            x.append(centre + effect + rng.normal(0, noise, (n, N_GENES)))
            rows += [(label, context)] * n
    obs = pd.DataFrame(rows, columns=["perturbation", "line"])
    obs.index = [f"cell{i}" for i in range(len(obs))]
    var = pd.DataFrame(index=[f"G{i:02}" for i in range(N_GENES)])
    return AnnData(np.maximum(np.concatenate(x), 0).astype(np.float32), obs=obs, var=var)


def draw_effects(labels: Sequence[str], size: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Effects that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    return {label: rng.normal(0, size, N_GENES) for label in labels}


def fit(
    cls: Any,
    adata: AnnData,
    init: Mapping[str, Any],
    train: Mapping[str, Any],
    context_keys: Sequence[str] = (),
) -> Any:
    cls.setup_anndata(adata, context_keys=context_keys)
    model = cls(adata, seed=0, **init)
    model.train(**train)
    return model


def get_effect(out: AnnData, layer: str, label: str, context: str | None = None) -> np.ndarray:
    """Mean of the predicted cells of a label minus that of the controls they came from."""
    is_here = np.ones(out.n_obs, bool) if context is None else (out.obs["line"] == context)
    x = sparse.csr_matrix(out.layers[layer]).toarray().astype(np.float64)
    is_own, is_control = (is_here & (out.obs["perturbation"] == n) for n in (label, "control"))
    return x[is_own].mean(axis=0) - x[is_control].mean(axis=0)


# --- what the flow learns from ----------------------------------------------------------------


def test_cells_of_a_batch_are_paired_by_optimal_transport():
    """Two states far apart, half of each group in either: the pairs stay within a state."""
    adata = draw_screen(draw_effects(TARGETS, 0.01))
    state = np.arange(adata.n_obs) % 2
    adata.X = adata.X + np.float32(3) * state[:, None].astype(np.float32)
    config = replace(SMALL, n_latent=1)  # the state
    model = fit(SCBIG, adata, {"preset": config}, QUIET | {"max_steps": 1, "validation": []})
    latents = model.get_latent_representation()[:, 0]
    # Batches are whole groups here; at random, every other pair would cross over.
    assert np.square(latents[state == 1].mean() - latents[state == 0].mean()) / 2 > 1.9
    assert model.history_["flow_train_loss"].iloc[0, 0] < 0.1


@pytest.mark.parametrize("held_out", ["T0+T1", "T9"])
def test_training_groups_are_anchored_without_themselves(held_out: str):
    """Effects of which no other condition says anything: the anchor misses all of them.

    Whether combinations of seen targets are held out or unseen ones; cells are all but alike, so
    that an anchor that had seen them would leave nothing to learn.
    """
    labels = [*TARGETS, "T0+T1"]
    adata = draw_screen(draw_effects(labels, 0.3), noise=0.005)
    model = fit(
        SCBIG, adata, {"preset": SMALL}, QUIET | {"max_steps": 1, "validation": [held_out]}
    )
    latents = model.get_latent_representation()
    label = adata.obs["perturbation"].to_numpy()
    means = {name: latents[label == name].mean(axis=0) for name in np.unique(label)}
    trained_on = [name for name in labels if name != held_out]
    whole = np.mean([np.square(means[name] - means["control"]) for name in trained_on])
    assert model.history_["flow_train_loss"].iloc[0, 0] > 0.7 * whole


@pytest.mark.parametrize(("held_out", "is_alike"), [("T9", True), ("T0+T1", False)])
def test_a_target_that_is_left_out_is_trained_as_unseen(held_out: str, is_alike: bool):
    """Where unseen targets are held out, the flow learns from embeddings alone.

    A target then predicts what an unseen one with the same embedding predicts; where
    combinations of seen ones are held out, it has something of its own.
    """
    vectors = np.random.default_rng(1).normal(size=(len(TARGETS) + 1, 5)).astype(np.float32)
    vectors[-1] = vectors[0]
    table = GeneEmbedding((*TARGETS, "TWIN"), vectors, "table with a twin of T0")
    singles = TARGETS if is_alike else [*TARGETS, "T0+T1"]
    adata = draw_screen(draw_effects(singles, 0.5))
    init = {"preset": replace(SMALL, use_anchor=False), "perturbation_embedding": table}
    model = fit(SCBIG, adata, init, QUIET | {"max_steps": 10, "validation": [held_out]})
    out = model.predict(perturbations=["T0", "TWIN"], n_cells=8, sampling=False)
    own, twin = (get_effect(out, "scbig", label) for label in ("T0", "TWIN"))
    assert np.abs(own).max() > 0.05
    difference = np.abs(own - twin).max()
    assert difference < 1e-5 if is_alike else difference > 1e-3


def test_dropout_is_for_what_is_trained(monkeypatch: pytest.MonkeyPatch):
    """Encoder and decoder are used as they are while the flow is trained.

    The first batch of alignment sees cells decoded before and after a transport that has learned
    nothing yet: without dropout in the decoder it cannot tell how much dropout there is.
    """
    adata = draw_screen(draw_effects(TARGETS, 0.5))
    train = QUIET | {"max_epochs": 0, "max_steps": 1, "validation": []}
    sample, modes = LinearPath.sample, {}
    losses = []
    for dropout in (0.0, 0.5):
        config = replace(SMALL, autoencoder="programs", align_every=1, dropout=dropout)
        SCBIG.setup_anndata(adata)
        model = SCBIG(adata, preset=config, n_programs=4, seed=0)
        module = model.module

        def record(path: LinearPath, *points: Any, module: Any = module) -> Any:
            modes.update({name: part.training for name, part in module.named_children()})
            return sample(path, *points)

        monkeypatch.setattr(LinearPath, "sample", record)
        model.train(**train)
        losses.append(model.history_["flow_correlation_loss"].iloc[0, 0])
    assert losses[0] > 0
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    # The encoder takes no part in a step; it is set aside all the same.
    assert not modes["encoder"]
    assert not modes["decoder"]
    assert modes["velocity"]


# --- what is chosen, and on what --------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_settings_are_chosen_on_training_conditions(name: str):
    """Held-out targets that are alike by their embedding come to have the same large effect.

    It would speak for the embedding; the training targets speak against it, as those that are
    alike have opposite effects.
    """
    cls, init = MODELS[name]
    held_out, rest = TARGETS[:4], TARGETS[4:]
    vectors = np.eye(len(TARGETS), dtype=np.float32)
    vectors[:4] = vectors[0]
    vectors[5::2] = vectors[4::2]
    table = GeneEmbedding(tuple(TARGETS), vectors, "table of look-alikes")
    train = ALONE | {"validation": held_out, "use_refit": False}
    own = draw_effects(rest, 0.3)
    opposite = {two: -own[one] for one, two in zip(rest[::2], rest[1::2], strict=True)}
    shared = np.random.default_rng(1).normal(0, 1, N_GENES)
    predicted = []
    for size in (0.0, 1.0):
        effects = own | opposite | dict.fromkeys(held_out, size * shared)
        model = fit(
            cls,
            draw_screen(effects, noise=0.1),
            init | {"perturbation_embedding": table},
            train,
        )
        predicted.append(model.get_predicted_expression(perturbations=TARGETS, seed=0))
    np.testing.assert_array_equal(*predicted)


# --- whose control cells ----------------------------------------------------------------------

# A fall is a share of the cell: told of the wrong control cells, it is far too large or small.
FALL = {label: np.full(N_GENES, -0.5) for label in TARGETS}


@pytest.mark.parametrize("name", [*MODELS, *BASELINES])
def test_a_prediction_refers_to_the_controls_of_its_context(name: str):
    cls, init = (MODELS | BASELINES)[name]
    adata = draw_screen(FALL, {"x": LOW_TO_HIGH, "y": LOW_TO_HIGH[::-1]})
    model = fit(cls, adata, init, ALONE if name in MODELS else {}, ["line"])
    out = model.predict(perturbations=["T0"])
    for context in ("x", "y"):
        effect = get_effect(out, cls.default_key, "T0", context)
        np.testing.assert_allclose(effect, -0.5, atol=0.1, err_msg=context)


@pytest.mark.parametrize("name", MODELS)
def test_continued_training_takes_the_controls_of_the_new_screen(name: str, tmp_path: Path):
    cls, init = MODELS[name]
    model = fit(cls, draw_screen(FALL), init, ALONE)
    model.save(tmp_path / "model")
    new = draw_screen(FALL, LOW_TO_HIGH[::-1], seed=1)
    again = cls.load(tmp_path / "model", new)
    again.train(**ALONE)
    effect = get_effect(again.predict(new, perturbations=["T0"]), cls.default_key, "T0")
    np.testing.assert_allclose(effect, -0.5, atol=0.1)


@pytest.mark.parametrize("name", MODELS)
def test_continued_training_that_fails_loses_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cls, init = MODELS[name]
    some = QUIET | {"max_steps": 3, "validation": []}
    model = fit(cls, draw_screen(FALL, {"x": LOW_TO_HIGH}), init, some, ["line"])
    wanted = {"perturbations": ["T0", "T1"], "n_cells": 5, "seed": 0}
    before, history = model.get_predicted_expression(**wanted), model.history_
    more = draw_screen(FALL | {"NEW": FALL["T0"]}, {"y": LOW_TO_HIGH[::-1]}, seed=1)
    cls.setup_anndata(more, context_keys=["line"])
    model.adata = more

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(model._method), "calibrate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.train(**some)
    np.testing.assert_array_equal(model.get_predicted_expression(**wanted), before)
    assert model.history_ is history
    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.get_predicted_expression(**wanted), before)
    # What is repeated works, and learns.
    model.train(**some)
    assert model.predict(perturbations=["NEW"], n_cells=5).obs["line"].nunique() == 2
    assert np.abs(model.get_predicted_expression(**wanted)[:10] - before[:10]).max() > 0


@pytest.mark.parametrize("name", MODELS)
def test_a_first_training_that_fails_leaves_a_model_that_can_be_trained(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    cls, init = MODELS[name]
    some = QUIET | {"max_steps": 3, "validation": []}
    adata = draw_screen(FALL)
    cls.setup_anndata(adata)
    model = cls(adata, seed=0, **init)
    with monkeypatch.context() as patch:
        patch.setattr(type(model._method), "calibrate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.train(**some)
    with pytest.raises(RuntimeError, match="has not been trained"):
        model.predict(perturbations=["T0"])
    model.train(**some)
    # As if nothing had happened.
    wanted = {"perturbations": ["T0"], "n_cells": 5}
    expected = fit(cls, draw_screen(FALL), init, some).get_predicted_expression(**wanted)
    np.testing.assert_array_equal(model.get_predicted_expression(**wanted), expected)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("steps", [-1, 1.5, True, "3"])
def test_a_budget_is_a_whole_number(name: str, steps: Any):
    cls, init = MODELS[name]
    with pytest.raises(ValueError, match=f"max_steps={steps!r}.*whole number"):
        fit(cls, draw_screen(FALL), init, QUIET | {"max_steps": steps})


# --- what is saved ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("part", ["use_components", "use_own_gene", "use_saturation"])
def test_a_saved_model_knows_what_its_regression_is_made_of(
    name: str, part: str, screen: AnnData, tmp_path: Path
):
    cls, init = MODELS[name]
    [(argument, config)] = init.items()
    double = next(label for label in screen.obs["perturbation"] if "+" in label)
    wanted = {"perturbations": [double, double.split("+")[0]], "n_cells": 20, "seed": 0}
    changed = {argument: replace(config, denoising=Denoising(**{part: False}))}
    model, usual = (fit(cls, screen, one, ALONE) for one in (changed, init))
    predicted = model.get_predicted_expression(**wanted)
    assert np.abs(predicted - usual.get_predicted_expression(**wanted)).max() > 1e-3
    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.get_predicted_expression(**wanted), predicted)

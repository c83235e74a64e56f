import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse

from scbig.model import SCBIG, SCBIGConfig
from scbig.model.scbig import PRESETS
from scbig.model.scbig._stages import plan_autoencoder
from scbig.predictor import Judge, ShapeJudge
from scbig.priors import GeneSets

Fit = Callable[..., SCBIG]


def _get_weights(model: SCBIG) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def _assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


# --- held-out conditions ----------------------------------------------------------------------


def test_a_tenth_of_the_conditions_is_held_out_and_learned_at_the_end(
    fit: Fit, screen: AnnData
) -> None:
    refitted = fit(screen)
    assert len(refitted._effects) == 20
    kept = fit(screen, train={"use_refit": False})
    assert sorted(len(group) for group in kept._effects.targets).count(1) == 11
    assert len(kept._effects) == 18
    _assert_same(_get_weights(refitted), _get_weights(kept))


def test_given_validation_conditions_are_held_out(
    fit: Fit, screen: AnnData, targets: list[str]
) -> None:
    double = next(label for label in screen.obs["perturbation"] if "+" in label)
    model = fit(
        screen, train={"validation": [targets[0], double.split("+")[::-1]], "use_refit": False}
    )
    lacking = {(targets[0],), tuple(sorted(double.split("+")))}
    assert not lacking & set(model._effects.targets)
    assert len(model._effects) == 18


def test_held_out_cells_leave_no_trace(fit: Fit, screen: AnnData, targets: list[str]) -> None:
    """Their expression decides on settings and the end of training, and on nothing else.

    Nothing is chosen here: the flow is not trained, and they are changed but slightly.
    """
    train = {"validation": [targets[0]], "use_refit": False, "max_steps": 0}
    del screen.layers["counts"]  # these would not be those of the changed cells
    first = fit(screen.copy(), train=train)
    is_held_out = (screen.obs["perturbation"] == targets[0]).to_numpy()
    screen.X = sparse.diags_array(np.where(is_held_out, 1.01, 1.0)).astype(np.float32) @ screen.X
    second = fit(screen, train=train)
    _assert_same(_get_weights(first), _get_weights(second))
    assert first._method.anchor.kernel.settings == second._method.anchor.kernel.settings
    np.testing.assert_array_equal(first._effects.delta, second._effects.delta)
    wanted = {"perturbations": [targets[0], targets[1]], "n_cells": 10}
    np.testing.assert_array_equal(
        first.get_predicted_expression(**wanted), second.get_predicted_expression(**wanted)
    )


def test_depths_of_held_out_cells_leave_no_trace(
    fit: Fit, screen: AnnData, targets: list[str]
) -> None:
    """Twice the counts of each gene: the expression is the same."""
    train = {"validation": [targets[0]], "use_refit": False, "max_steps": 0}
    wanted = {"perturbations": [targets[0], targets[1]], "n_cells": 10}
    first = fit(screen.copy(), train=train).predict(**wanted)
    is_held_out = (screen.obs["perturbation"] == targets[0]).to_numpy()
    twice = sparse.diags_array(np.where(is_held_out, 2, 1)) @ screen.layers["counts"]
    screen.layers["counts"] = sparse.csr_matrix(twice)
    second = fit(screen, train=train).predict(**wanted)
    for layer in ("scbig", "scbig_counts"):
        np.testing.assert_array_equal(
            first.layers[layer].toarray(), second.layers[layer].toarray()
        )


def test_one_label_is_one_validation_condition(
    fit: Fit, screen: AnnData, targets: list[str]
) -> None:
    model = fit(screen, train={"validation": targets[0], "use_refit": False, "max_steps": 0})
    assert (targets[0],) not in model._effects.targets


@pytest.mark.parametrize("label", ["NOSUCH", "control"])
def test_a_validation_condition_without_cells_is_named(
    fit: Fit, screen: AnnData, label: str
) -> None:
    with pytest.raises(ValueError, match=rf"no perturbed cells: \['{label}'\]"):
        fit(screen, train={"validation": [label]})


def test_not_everything_can_be_held_out(fit: Fit, screen: AnnData) -> None:
    labels = sorted(set(screen.obs["perturbation"]) - {"control"})
    with pytest.raises(ValueError, match="All 20 perturbations"):
        fit(screen, train={"validation": labels})


def test_an_empty_list_holds_nothing_out(fit: Fit, screen: AnnData) -> None:
    model = fit(screen, train={"validation": [], "max_steps": 4})
    assert "flow_validation_score" not in model.history
    assert len(model.history["flow_train_loss"]) == 4
    assert len(model._effects) == 20


def test_a_flow_that_nothing_checks_is_not_trained(
    fit: Fit, screen: AnnData, config: SCBIGConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="scbig"):
        model = fit(screen, train={"validation": []})
    assert "flow_train_loss" not in model.history
    assert f"or insist: train(max_steps={config.flow_steps})" in caplog.text
    free = fit(screen.copy(), preset=replace(config, use_anchor=False), train={"validation": []})
    assert len(free.history["flow_train_loss"]) == config.flow_steps


# --- history, stopping, steps -----------------------------------------------------------------


def test_history_has_both_stages(trained: SCBIG) -> None:
    lengths = {name: len(values) for name, values in trained.history.items()}
    assert lengths == {
        "autoencoder_train_loss": 2,
        "autoencoder_validation_score": 2,
        "flow_train_loss": 4,
        "flow_validation_score": 4,
        "flow_correlation_loss": 2,
        "flow_alignment_ratio": 2,
    }
    for name, values in trained.history.items():
        assert np.isfinite(values[name].astype(float)).all()


def test_training_stops_when_the_shape_of_cells_gets_worse(
    fit: Fit, screen: AnnData, config: SCBIGConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each validation is worse than the last: the anchor, where it started, is never beaten."""
    scores = itertools.count(0, -1)
    monkeypatch.setattr(ShapeJudge, "score", lambda judge, shaper: float(next(scores)))
    wild = replace(config, flow_lr=10.0, ema_decay=0.0, clip_norm=None)
    model = fit(screen, preset=wild, train={"max_steps": 20})
    scores = model.history["flow_validation_score"]["flow_validation_score"].astype(float)
    assert len(scores) < 20
    # Two epochs of three batches of cells came before.
    assert model._n_steps == 6 + len(scores) == model.predict().uns["scbig"]["steps"]
    anchored = fit(screen.copy(), preset=wild, train={"max_steps": 0})
    _assert_same(
        {k: v for k, v in _get_weights(model).items() if k.startswith("velocity")},
        {k: v for k, v in _get_weights(anchored).items() if k.startswith("velocity")},
    )


@pytest.mark.parametrize("is_kept", [True, False])
def test_the_flow_is_kept_only_where_it_is_a_gain(
    fit: Fit,
    screen: AnnData,
    config: SCBIGConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    is_kept: bool,
) -> None:
    # Each validation is better than the last, so that the gate alone decides.
    scores = iter(range(100))
    monkeypatch.setattr(Judge, "is_gain", lambda judge, before, after: is_kept)
    monkeypatch.setattr(Judge, "score_cells", lambda judge, mover: float(next(scores)))
    monkeypatch.setattr(ShapeJudge, "score", lambda judge, shaper: float(next(scores)))
    with caplog.at_level("INFO", logger="scbig"):
        # A budget that is named asks for no trial.
        model = fit(screen, preset=replace(config, use_gate=True), train={"max_steps": 4})
    assert model.uses_networks is is_kept
    assert ("with them; they are kept." in caplog.text) is is_kept
    assert ("left out, as that is no gain beyond chance" in caplog.text) is not is_kept
    alone = fit(screen.copy(), train={"max_steps": 0}).get_predicted_expression(seed=0)
    predicted = model.get_predicted_expression(seed=0)
    assert np.array_equal(predicted, alone) is not is_kept
    # The weights stay as they are; what is saved is who predicts.
    assert model.module.velocity.velocity[-1].weight.any()
    model.save(tmp_path / "model")
    loaded = SCBIG.load(tmp_path / "model", screen)
    assert loaded.uses_networks is is_kept
    np.testing.assert_array_equal(loaded.predict(seed=0).layers["scbig"].toarray(), predicted)


def test_without_a_flow_prediction_is_the_anchor(fit: Fit, screen: AnnData) -> None:
    """The short cut against the long way, by a velocity that is zero."""
    model = fit(screen, train={"max_epochs": 1, "max_steps": 0})
    assert not model.uses_networks
    short = model.get_predicted_expression(seed=0, sampling=False)
    model._uses_networks = True
    long = model.get_predicted_expression(seed=0, sampling=False)
    np.testing.assert_allclose(short, long, atol=1e-5)


def test_steps_are_rounded_up_by_less_than_an_epoch(fit: Fit, screen: AnnData) -> None:
    model = fit(screen, train={"max_epochs": 0, "max_steps": 21, "validation": []})
    assert model._n_steps == 22


def test_the_flow_trains_with_dropout_and_frozen_parts_without(
    fit: Fit, screen: AnnData, config: SCBIGConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    forward = torch.nn.Dropout.forward

    def record(layer: torch.nn.Dropout, x: torch.Tensor) -> torch.Tensor:
        modes.append(layer.training)
        return forward(layer, x)

    monkeypatch.setattr(torch.nn.Dropout, "forward", record)
    model = fit(
        screen,
        preset=replace(config, dropout=0.1, align_every=0),
        train={"max_epochs": 0, "max_steps": 4, "validation": []},
    )
    assert any(modes)
    assert not model.module.training


# --- reproducibility --------------------------------------------------------------------------


def test_the_same_seed_trains_the_same_model(
    fit: Fit, trained: SCBIG, screen: AnnData, targets: list[str]
) -> None:
    torch.manual_seed(123)
    np.random.seed(123)  # noqa: NPY002
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    again = fit(screen)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])  # noqa: NPY002
    _assert_same(_get_weights(again), _get_weights(trained))
    wanted = {"perturbations": targets[:2]}
    np.testing.assert_array_equal(
        again.get_predicted_expression(**wanted), trained.get_predicted_expression(**wanted)
    )
    other = fit(screen.copy(), seed=1, train={"max_steps": 1})
    assert not torch.equal(other.module.encoder.latent.weight, again.module.encoder.latent.weight)


@pytest.mark.parametrize("storage", ["dense", "float64", "csc", "backed", "layer"])
def test_storage_makes_no_difference(
    storage: str, fit: Fit, trained: SCBIG, screen: AnnData, tmp_path: Path
) -> None:
    setup = {}
    if storage == "dense":
        screen.X = screen.X.toarray()
    elif storage == "float64":
        screen.X = screen.X.astype(np.float64)
    elif storage == "csc":
        screen.X = sparse.csc_matrix(screen.X)
    elif storage == "layer":
        screen.layers["log"] = screen.X.copy()
        screen.X = screen.layers["counts"].copy()
        setup = {"layer": "log"}
    else:
        screen.write_h5ad(tmp_path / "screen.h5ad")
        screen = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    model = fit(screen, setup)
    for name, value in _get_weights(trained).items():
        torch.testing.assert_close(_get_weights(model)[name], value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        model.get_predicted_expression(), trained.get_predicted_expression(), atol=1e-4
    )


def test_training_writes_no_files(
    fit: Fit, screen: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fit(screen, train={"max_steps": 1})
    assert list(tmp_path.iterdir()) == []


def test_training_does_not_warn_of_itself(
    fit: Fit, screen: AnnData, recwarn: pytest.WarningsRecorder
) -> None:
    fit(screen, train={"max_steps": 2})
    messages = [str(warning.message) for warning in recwarn]
    ours = ("LeafSpec", "IterableDataset", "eval mode", "transfer_batch_to_device", "num_workers")
    assert [m for m in messages if any(name in m for name in ours)] == []


# --- presets and priors -----------------------------------------------------------------------


def test_the_published_settings_are_kept() -> None:
    paper = PRESETS["paper"]
    assert (paper.n_hidden, paper.n_layers, paper.n_heads, paper.n_inducing) == (256, 3, 8, 8)
    assert (paper.n_latent, paper.dropout, paper.velocity_hidden) == (50, 0.1, (1024, 1024))
    assert (paper.sigma, paper.flow_lr, paper.autoencoder_lr) == (0.5, 5e-5, 1e-4)
    assert (paper.flow_accumulation, paper.cells_per_group, paper.clip_norm) == (20, 1024, 1.0)
    assert (paper.align_every, paper.correlation_weight, paper.pathway_weight) == (1000, 0.1, 0.1)


def test_the_published_recipe_takes_a_step_and_predicts(
    fit: Fit, screen: AnnData, targets: list[str]
) -> None:
    small = replace(
        PRESETS["paper"],
        n_hidden=16,
        n_condition=16,
        velocity_hidden=(32,),
        cells_per_group=16,
        flow_accumulation=2,
        align_every=2,
    )
    model = fit(screen, preset=small, train={"max_epochs": 1, "max_steps": 1})
    # One epoch of two batches (control cells are held out), and one step of two batches.
    assert model._n_steps == 2 + 1
    assert len(model.history["flow_correlation_loss"]) == 1
    out = model.predict(perturbations=[targets[0]], n_cells=10)
    predicted = out.layers["scbig"].toarray()
    assert np.isfinite(predicted).all()
    assert (predicted >= 0).all()


def test_the_paper_preset_builds(screen: AnnData) -> None:
    SCBIG.setup_anndata(screen)
    model = SCBIG(screen, preset="paper")
    assert model.module.config is PRESETS["paper"]


def test_an_unknown_preset_is_refused(screen: AnnData) -> None:
    SCBIG.setup_anndata(screen)
    with pytest.raises(ValueError, match=r"preset='fast' is unknown.*'default', 'paper'"):
        SCBIG(screen, preset="fast")


def test_gene_sets_add_the_pathway_loss(fit: Fit, screen: AnnData) -> None:
    genes = tuple(screen.var_names)
    sets = GeneSets({"one": genes[:20], "two": genes[10:50], "tiny": genes[:2]}, "two sets")
    model = fit(screen, gene_sets=sets)
    np.testing.assert_allclose(model._method.priors.pathways.sum(axis=1), 1, rtol=1e-6)
    assert model._method.priors.pathways.shape == (2, 60)
    assert len(model.history["flow_pathway_loss"]) == 2
    assert (model.history["flow_pathway_loss"]["flow_pathway_loss"].astype(float) > 0).all()


def test_gene_sets_of_other_genes_are_refused(screen: AnnData) -> None:
    SCBIG.setup_anndata(screen)
    sets = GeneSets({"one": tuple(f"ENSG{i}" for i in range(9))}, "Ensembl sets")
    with pytest.raises(ValueError, match="Ensembl sets: no gene set"):
        SCBIG(screen, gene_sets=sets)


# --- small screens ----------------------------------------------------------------------------


def test_few_conditions_are_all_trained_on(fit: Fit, screen: AnnData, targets: list[str]) -> None:
    few = screen[screen.obs["perturbation"].isin(["control", *targets[:3]])].copy()
    few.obs["perturbation"] = few.obs["perturbation"].astype(str)
    model = fit(few)
    assert "flow_validation_score" not in model.history
    assert np.isfinite(model.get_predicted_expression(perturbations=[targets[0]])).all()


def test_a_single_target_with_few_cells_is_enough(
    fit: Fit, screen: AnnData, targets: list[str]
) -> None:
    rows = np.flatnonzero(screen.obs["perturbation"] == targets[0])[:3]
    controls = np.flatnonzero(screen.obs["perturbation"] == "control")[:5]
    tiny = screen[np.concatenate([rows, controls])].copy()
    tiny.obs["perturbation"] = tiny.obs["perturbation"].astype(str)
    model = fit(tiny)
    out = model.predict(perturbations=[targets[0]])
    assert out.n_obs == 10
    assert np.isfinite(out.layers["scbig"].toarray()).all()
    # One condition is nothing to calibrate on.
    assert model.get_confidence([targets[0]]).isna().all()


@pytest.mark.parametrize(("n_genes", "n_programs"), [(3, 1), (9, 2)])
def test_few_genes_make_few_programs(
    n_genes: int,
    n_programs: int,
    fit: Fit,
    screen: AnnData,
    targets: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    small = screen[:, :n_genes].copy()
    with caplog.at_level(logging.INFO, logger="scbig"):
        model = fit(small, n_programs=32)
    assert f"{n_programs} gene programs in place of 32" in caplog.text
    assert model.get_program_activity().shape == (600, n_programs)
    assert np.isfinite(model.get_predicted_expression(perturbations=[targets[0]])).all()


def test_control_cells_alone_teach_nothing(fit: Fit, screen: AnnData) -> None:
    controls = screen[screen.obs["perturbation"] == "control"].copy()
    controls.obs["perturbation"] = "control"
    with pytest.raises(ValueError, match="control cells only"):
        fit(controls)


@pytest.mark.parametrize(
    ("n_cells", "max_epochs", "expected"),
    [
        (11_000, None, (10, 40)),  # 43 batches an epoch, 400 steps in all
        (1_000_000, None, (1, 400)),  # a part of one epoch
        (500, None, (30, 2)),  # the epochs end it
        (11_000, 7, (7, 43)),  # what the user asks for
        (11_000, 0, (0, 43)),
    ],
)
def test_the_budget_is_spread_over_epochs(n_cells: int, max_epochs: int | None, expected: tuple):
    assert plan_autoencoder(n_cells, SCBIGConfig(), max_epochs) == expected

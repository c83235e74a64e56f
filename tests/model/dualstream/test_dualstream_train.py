import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData

from scbig.baselines import NearestCondition
from scbig.data import Targets, simulate_screen
from scbig.model import DualStreamConfig, DualStreamMamba
from scbig.model.dualstream import PRESETS
from scbig.predictor import Hardware, StageRunner, Task, score_effects
from scbig.predictor._training import Recipe, TrainingRequest

Fit = Callable[..., DualStreamMamba]


def _get_weights(model: DualStreamMamba) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def test_a_tenth_of_the_conditions_is_held_out_and_learned_at_the_end(
    fit_small: Fit, screen: AnnData
) -> None:
    refitted = fit_small(screen)
    assert len(refitted._effects) == 20
    assert refitted.comparison_.n_conditions == 2
    assert refitted.history_["networks_validation_score"].shape == (4, 1)
    kept = fit_small(screen, train={"use_refit": False})
    assert len(kept._effects) == 18
    for name, value in _get_weights(kept).items():
        assert torch.equal(value, refitted.module.state_dict()[name]), name


def test_another_seed_gives_other_weights_and_the_users_state_stays(
    fit_small: Fit, screen: AnnData
) -> None:
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    first, second = (fit_small(screen, seed=seed) for seed in (0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(
        first.module.biological.project.weight, second.module.biological.project.weight
    )


def test_networks_that_do_not_help_are_left_out(
    fit_small: Fit, screen: AnnData, small: DualStreamConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        model = fit_small(screen, preset=replace(small, learning_rate=0.0))
    assert not model.uses_networks
    assert "left out, as that is no gain beyond chance" in caplog.text
    targets = model._effects.targets[:3]
    effect = model._method.predict_effects(targets, np.zeros(3, dtype=int))
    out = model.get_predicted_expression(
        perturbations=["+".join(t) for t in targets], n_cells=40, sampling=False
    )
    cells = out.reshape(4, 40, -1)
    rise = effect > 0
    shift = (cells[1:] - cells[0]).mean(1)
    np.testing.assert_allclose(shift[rise], effect[rise], atol=1e-5)


def test_without_an_anchor_the_networks_predict(
    fit_small: Fit, screen: AnnData, small: DualStreamConfig
) -> None:
    model = fit_small(screen, preset=replace(small, use_anchor=False), train={"max_steps": 0})
    assert model.uses_networks
    assert model.comparison_.score == 0  # nothing was learned, and no change scores nothing
    trained = fit_small(
        screen, preset=replace(small, use_anchor=False, n_steps=40, learning_rate=0.02)
    )
    assert trained.comparison_.score > 0.1


def test_with_nothing_held_out_the_regression_predicts_alone(
    fit_small: Fit, screen: AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        model = fit_small(screen, train={"validation": []})
    assert "expected effects predict alone" in caplog.text
    assert not model.uses_networks
    assert model.comparison_ is None
    assert model.history_ == {}
    insisted = fit_small(screen, train={"validation": [], "max_steps": 2})
    assert insisted.uses_networks
    assert insisted._n_steps == 2


def test_training_goes_on_from_the_present_weights(fit_small: Fit, screen: AnnData) -> None:
    model = fit_small(screen)
    before = _get_weights(model)["biological.project.weight"]
    model.train(max_steps=2, accelerator="cpu", use_progress_bar=False)
    after = model.module.biological.project.weight
    assert 0 < (after - before).abs().max() < 0.1
    assert len(model.history_["networks_validation_score"]) == 6
    assert len(model.history_["shape_validation_score"]) == 6
    assert model._n_steps == 12


def test_training_goes_on_with_new_targets_and_contexts(
    dual_in_batches: DualStreamMamba,
    screen: AnnData,
    targets: list[str],
    unseen: str,
    tmp_path: Path,
) -> None:
    dual_in_batches.save(tmp_path / "m")
    renamed = [
        "+".join(unseen if target == targets[0] else target for target in label.split("+"))
        for label in screen.obs["perturbation"]
    ]
    screen.obs["perturbation"], screen.obs["batch"] = renamed, "batch_3"
    later = DualStreamMamba.load(tmp_path / "m", screen)
    old = dual_in_batches._effects
    own = later.module.perturbation.own.detach().clone()
    later.train(accelerator="cpu", use_progress_bar=False)
    effects = later._effects
    assert later._vocabulary.contexts == ("batch_1", "batch_2", "batch_3")
    assert later._vocabulary.targets == (*dual_in_batches._vocabulary.targets, unseen)
    assert len(effects) == len(old) + 20
    np.testing.assert_array_equal(effects.delta[: len(old)], old.delta)
    np.testing.assert_array_equal(effects.control_mean[:2], old.control_mean)
    net = later.module.perturbation
    assert (len(net.own), len(net.context)) == (len(own) + 1, 3)
    assert net.own[-1].any()
    assert net.context[2].any()
    # No cell of this screen is perturbed in it: its vector but decays.
    assert (net.own[0] - own[0]).abs().max() < 1e-3
    out = later.predict(perturbations=[targets[0], unseen], n_cells=5)
    assert set(out.obs["batch"]) == {"batch_1", "batch_2", "batch_3"}
    # Four each time, and four for shapes: only the second screen has enough cells held out.
    assert out.uns["dualstream"]["steps"] == 12
    assert len(later.history["shape_validation_score"]) == 4
    assert len(later.history["networks_likelihood_loss"]) == 8
    later.save(tmp_path / "again")
    again = DualStreamMamba.load(tmp_path / "again")
    wanted = {"perturbations": [unseen], "n_cells": 5}
    np.testing.assert_array_equal(
        again.get_predicted_expression(**wanted), later.get_predicted_expression(**wanted)
    )


def test_a_saved_model_goes_on_as_the_one_in_memory(
    fit_small: Fit, screen: AnnData, ungated: DualStreamConfig, tmp_path: Path
) -> None:
    model = fit_small(screen, preset=ungated)
    model.save(tmp_path / "m")
    loaded = DualStreamMamba.load(tmp_path / "m", screen.copy())
    for one in (model, loaded):
        one.train(max_steps=2, accelerator="cpu", use_progress_bar=False)
    for name, value in _get_weights(model).items():
        assert torch.equal(value, loaded.module.state_dict()[name]), name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["GENE9999"], "1 validation condition"),
        (["control"], r"no perturbed cells: \['control'\]"),
    ],
)
def test_conditions_that_cannot_be_held_out(
    fit_small: Fit, screen: AnnData, given: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit_small(screen, train={"validation": given})


def _make_task(model: DualStreamMamba, held_out: frozenset[Targets] = frozenset()) -> Task:
    """Task of a model on its own screen, as the recipe hands it to the method."""
    recipe = Recipe(
        "DualStreamMamba",
        model._method,
        model._vocabulary.read_screen(model.adata),
        model._vocabulary,
        earlier=None,
        request=TrainingRequest(held_out, False, None, None, 0),
        runner=StageRunner(model, Hardware()),
    )
    return recipe._make_task(held_out)


def test_groups_are_anchored_as_if_unseen(
    fit_small: Fit, screen: AnnData, targets: list[str]
) -> None:
    model = fit_small(screen, train={"validation": [], "max_steps": 0})
    method, task = model._method, _make_task(model)
    anchor = method.anchor
    both, n = method._make_data(task, 9), len(anchor.effects)
    assert both.n_warm_up == 4
    assert len(both.control_mean) == len(both.condition.effect) == 2 * n
    np.testing.assert_allclose(
        both.condition.effect[:n], anchor.leave_one_out().astype(np.float32), atol=1e-6
    )
    is_forgotten = (both.condition.target[n:] < 0) & both.condition.mask[n:]
    assert (is_forgotten.sum(1) == 1).all()
    rows = zip(task.measured.targets, is_forgotten, strict=True)
    left = anchor.leave_target_out([group[int(row.nonzero()[0])] for group, row in rows])
    np.testing.assert_allclose(both.condition.effect[n:], left.astype(np.float32), atol=1e-6)
    pair = next(group for group in anchor.effects.targets if len(group) == 2)
    task = _make_task(model, frozenset({pair}))
    method.fit(task)
    seen = method._make_data(task, 2)
    assert len(seen.control_mean) == n - 1
    assert ((seen.condition.target >= 0) == seen.condition.mask).all()
    means = [task.cells.expression.rows(rows).mean(0) for *_, rows in task.groups]
    control = seen.control_mean.numpy()
    np.testing.assert_allclose(means - control, task.measured.delta, atol=1e-5)


def test_without_an_anchor_no_effect_is_expected(
    fit_small: Fit, screen: AnnData, small: DualStreamConfig, targets: list[str]
) -> None:
    free = replace(small, use_anchor=False)
    model = fit_small(screen, preset=free, train={"validation": [], "max_steps": 0})
    assert not model._method._make_data(_make_task(model), 2).condition.effect.any()
    condition = model._method.make_condition([(targets[0],)], np.zeros(1, dtype=int))
    assert not condition.effect.any()
    assert model._method.predict_effects([(targets[0],)], np.zeros(1, dtype=int)).any()


def test_the_gate_may_be_left_open(
    fit_small: Fit, screen: AnnData, small: DualStreamConfig, ungated: DualStreamConfig
) -> None:
    shut, kept = fit_small(screen, preset=small), fit_small(screen, preset=ungated)
    assert small.use_gate
    assert not shut.uses_networks
    assert kept.uses_networks
    for name, value in _get_weights(shut).items():
        assert torch.equal(value, kept.module.state_dict()[name]), name
    alone = fit_small(screen, train={"max_steps": 0})
    expected = alone.get_predicted_expression(seed=0)
    np.testing.assert_array_equal(shut.get_predicted_expression(seed=0), expected)
    assert not np.allclose(kept.get_predicted_expression(seed=0), expected)


def test_settings_come_from_a_preset(screen: AnnData) -> None:
    DualStreamMamba.setup_anndata(screen)
    assert DualStreamMamba(screen)._method.config == DualStreamConfig()
    assert DualStreamMamba(screen, preset="default")._method.config == PRESETS["default"]
    for wrong in ("paper", None):
        with pytest.raises(ValueError, match=r"preset=.*DualStreamConfig"):
            DualStreamMamba(screen, preset=wrong)


def test_networks_are_validated_on_a_few_control_cells(
    fit_small: Fit, screen: AnnData, ungated: DualStreamConfig
) -> None:
    """The score that is logged is that of the cells which the judge has predicted."""
    model = fit_small(screen, preset=ungated, train={"use_refit": False})
    conditions = model._vocabulary.read_screen(model.adata).screen.conditions
    held_out = frozenset(filter(None, conditions)) - set(model._effects.targets)
    task = _make_task(model, held_out)
    judge, method = task.judge, model._method
    assert len(judge) == 2
    assert method.n_validation_cells == len(judge._get_controls(0)) == 8
    control = model._effects.get_control(judge.context)
    mover = method.make_mover(judge.targets, judge.context, control)
    best = model.history["networks_validation_score"].astype(float).max().item()
    assert judge.score_cells(mover) == pytest.approx(best, abs=1e-6)
    assert model.comparison_.score == pytest.approx(best, abs=1e-6)


def test_no_change_scores_zero(dual: DualStreamMamba) -> None:
    effects = dual._effects
    scores = score_effects(np.vstack([0 * effects.delta[:1], effects.delta[1:]]), effects)
    assert scores[0] == 0
    np.testing.assert_allclose(scores[1:], 1, atol=1e-5)


@pytest.mark.slow
def test_networks_learn_interactions_that_sums_miss() -> None:
    """On simulated pairs and triples the default beats sums and its own regression."""
    adata = simulate_screen(
        6000, 120, n_programs=6, n_targets=16, n_doubles=60, n_triples=60, seed=1
    )
    DualStreamMamba.setup_anndata(adata)
    model = DualStreamMamba(adata, preset=DualStreamConfig(max_tokens=40, n_steps=300))
    model.train(accelerator="cpu", use_progress_bar=False)
    assert model.uses_networks
    assert model.comparison_.margin > 0.02
    assert model.comparison_.floors[NearestCondition.default_key] < model.comparison_.score

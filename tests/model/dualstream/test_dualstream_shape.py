"""What cells of a condition differ by is learned from cells, and stops on their shape."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse
from scipy.spatial import distance

from scbig.data import Pairs
from scbig.metrics import energy_centred
from scbig.model import DualStreamConfig, DualStreamMamba
from scbig.model.dualstream._method import AnchoredStreams, ShapePlan, ShapeSpace
from scbig.predictor import Hardware, StageRunner, Task
from scbig.predictor._shape import set_apart
from scbig.predictor._training import Recipe, TrainingRequest

Fit = Callable[..., DualStreamMamba]
TARGETS = [f"T{i}" for i in range(8)]
HELD_OUT = TARGETS[:2]


@pytest.fixture(scope="module")
def config() -> DualStreamConfig:
    return DualStreamConfig(
        n_hidden=16,
        n_blocks=1,
        n_states=4,
        n_latent=4,
        n_steps=60,
        groups_per_step=4,
        shape_groups=3,
        learning_rate=1e-2,
        ema_decay=0.5,
    )


@pytest.fixture(scope="module")
def two_kinds() -> AnnData:
    """Perturbed cells are of two kinds, told by their first gene, and controls of one."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["control", *TARGETS], 120)
    level = np.full((len(labels), 20), 3.0)
    level[:, 0] = np.where(rng.random(len(labels)) < 0.5, 1.0, 9.0)
    is_perturbed = labels != "control"
    level[is_perturbed & (level[:, 0] > 5), -8:] *= 2.5
    level[is_perturbed & (level[:, 0] < 5), -8:] /= 2.5
    for i, target in enumerate(TARGETS):
        level[labels == target, 2 + i] *= 2.5
    counts = sparse.csr_matrix(rng.poisson(level))
    depth = np.asarray(counts.sum(axis=1))
    x = sparse.csr_matrix(counts.multiply(60 / depth)).log1p().astype(np.float32)
    adata = AnnData(x, layers={"counts": counts})
    adata.obs["perturbation"] = labels
    return adata


@pytest.fixture(scope="module")
def shaped(two_kinds: AnnData, fit_small: Fit, config: DualStreamConfig) -> DualStreamMamba:
    """A model of these cells; tests share it and must leave it as it is."""
    return train(fit_small, two_kinds, config)


def train(fit_small: Fit, adata: AnnData, config: DualStreamConfig, **init: object):
    given = {"validation": HELD_OUT, "use_refit": False}
    return fit_small(adata.copy(), train=given, preset=config, missing_embedding="mean", **init)


def make_task(model: DualStreamMamba) -> Task:
    """What the recipe hands to the method, with cells set apart."""
    held_out = frozenset((target,) for target in HELD_OUT)
    recipe = Recipe(
        "DualStreamMamba",
        model._method,
        model._vocabulary.read_screen(model.adata),
        model._vocabulary,
        earlier=None,
        request=TrainingRequest(held_out, False, None, None, model._seed),
        runner=StageRunner(model, Hardware("cpu", use_progress_bar=False)),
    )
    return set_apart(recipe._make_task(held_out))[0]


def test_a_shape_is_found_and_cells_are_made_with_it(
    shaped: DualStreamMamba, two_kinds: AnnData
) -> None:
    assert shaped.uses_shape
    real = two_kinds[two_kinds.obs["perturbation"] == "T5"].X.toarray()
    found = {}
    for name in ("plain", "shaped"):
        shaped._uses_shape = name == "shaped"
        out = shaped.predict(perturbations=["T5"], n_cells=120)
        found[name] = out[out.obs["perturbation"] == "T5"].layers["dualstream"].toarray()
    np.testing.assert_allclose(found["shaped"].mean(0), found["plain"].mean(0), atol=0.12)
    energy = {name: energy_centred(real, cells) for name, cells in found.items()}
    assert energy["shaped"] < energy["plain"] - 0.02
    # The kinds of cells go apart where the real ones do.
    spread = {name: cells[:, -8:].mean(1).std() for name, cells in found.items()}
    assert spread["plain"] < 0.7 * real[:, -8:].mean(1).std() < spread["shaped"]


def test_both_judgements_are_logged_and_told_apart(
    two_kinds: AnnData, fit_small: Fit, config: DualStreamConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="scbig"):
        model = train(fit_small, two_kinds, replace(config, n_steps=2))
    assert "Pearson delta of the held-out conditions" in caplog.text
    assert "Shape of cells: on set-apart cells of training conditions (6)" in caplog.text
    assert {"networks_validation_score", "shape_validation_score"} <= set(model.history)
    assert (model.uses_networks, model.uses_shape) == (False, False)


def test_training_keeps_what_has_the_best_shape(shaped: DualStreamMamba) -> None:
    judge = make_task(shaped).shape
    method = shaped._method
    kept = judge.score(method.make_shaper(judge.targets, judge.context))
    scores = shaped.history["shape_validation_score"].astype(float).to_numpy().ravel()
    assert kept == pytest.approx(scores.max(), abs=1e-6)
    assert kept > judge.score(lambda x, rows: np.zeros((len(rows), *x.shape))) + 0.01


def test_what_makes_shapes_no_better_is_not_kept(
    two_kinds: AnnData, fit_small: Fit, config: DualStreamConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Driven apart, whatever the real cells are, cells end as they were at the start."""
    monkeypatch.setattr(
        "scbig.model.dualstream._method.energy_loss", lambda x, y: -x.square().mean()
    )
    model = train(fit_small, two_kinds, replace(config, n_steps=20, learning_rate=0.5))
    assert len(model.history["shape_validation_score"]) == 3  # the patience
    shaper = model._method.make_shaper([("T3",)], np.zeros(1, dtype=int))
    assert not shaper(two_kinds.X[:9].toarray(), np.zeros(1, dtype=int)).any()


def test_means_are_what_they_are_without_shapes(
    shaped: DualStreamMamba,
    two_kinds: AnnData,
    fit_small: Fit,
    config: DualStreamConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AnchoredStreams, "_fit_shapes", lambda *args: None)
    alone = train(fit_small, two_kinds, config)
    assert "shape_validation_score" not in alone.history
    assert not alone.uses_shape
    found, expected = shaped.module.state_dict(), alone.module.state_dict()
    for name in found:
        is_shape = name.startswith("shape.") and "vectors" not in name
        assert is_shape or torch.equal(found[name], expected[name]), name
    assert not torch.equal(
        found["shape.readout.project.weight"], expected["shape.readout.project.weight"]
    )


def test_a_step_compares_moved_control_cells_with_cells_of_the_condition(
    shaped: DualStreamMamba,
) -> None:
    task, method = make_task(shaped), shaped._method
    data, space = method._make_data(task, 2), ShapeSpace.fit(task)
    batch = method._pair(task, data, 3, 1).draw()
    x = task.cells.expression.rows(np.arange(task.cells.expression.n_cells))
    components = space.components.numpy()
    expected = []
    for group, start, end in zip(*(part.numpy() for part in batch), strict=True):
        rows = task.groups[group][2]
        assert set(end) <= set(rows)
        condition = data.condition.select(torch.full((len(start),), group))
        with torch.no_grad():
            moved = method.module.forward_shapes(torch.from_numpy(x[start]), condition).numpy()
        real = x[end] @ components.T
        energy = energy_centred(real, (x[start] + moved) @ components.T)
        expected.append(energy + distance.pdist(real).mean())
    plan = ShapePlan(method.module, data, space, lambda: 0.0)
    plan.log_value = lambda name, value: None
    loss = plan.training_step(Pairs(*batch), 0)
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-4)
    trained = {p for group in plan.configure_optimizers().param_groups for p in group["params"]}
    assert trained == set(method.module.shape.parameters())


def test_components_are_those_of_training_cells(shaped: DualStreamMamba) -> None:
    task = make_task(shaped)
    space = ShapeSpace.fit(task)
    x = task.cells.expression.rows(np.arange(task.cells.expression.n_cells))
    np.testing.assert_allclose(space.points, x @ space.components.numpy().T, atol=1e-4)
    rows = np.concatenate([task.get_controls(task.groups)[0], *(r for *_, r in task.groups)])
    centred = x[rows] - x[rows].mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    first = np.abs(axes[:3] @ space.components.numpy()[:3].T)
    np.testing.assert_allclose(first, np.eye(3), atol=0.05)
    assert space.components.shape == (50, 20)
    assert not space.components[20:].any()


@pytest.mark.parametrize("case", ["no anchor", "few cells", "switched off"])
def test_without_an_anchor_or_cells_to_judge_there_are_no_shapes(
    two_kinds: AnnData, fit_small: Fit, config: DualStreamConfig, case: str
) -> None:
    kept = np.ones(two_kinds.n_obs, dtype=bool)
    if case == "few cells":
        kept = (np.arange(two_kinds.n_obs) % 6 == 0) | (two_kinds.obs["perturbation"] == "control")
    settings = {"no anchor": {"use_anchor": False}, "switched off": {"shape_groups": 0}}
    given = replace(config, n_steps=2, **settings.get(case, {}))
    model = train(fit_small, two_kinds[np.asarray(kept)], given)
    assert "networks_validation_score" in model.history
    assert "shape_validation_score" not in model.history
    assert not model.uses_shape


def test_a_model_saved_with_shapes_has_them_and_one_saved_before_has_none(
    shaped: DualStreamMamba, tmp_path: Path
) -> None:
    groups = [("T3",), ("T4",)], np.zeros(2, dtype=int)
    x = shaped.adata.X[:30].toarray()
    expected = shaped._method.make_shaper(*groups)(x, np.arange(2))
    assert expected.shape == (2, 30, 20)
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(expected.mean(1), 0, atol=1e-5)
    shaped.save(tmp_path / "m")
    loaded = DualStreamMamba.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded._method.make_shaper(*groups)(x, np.arange(2)), expected)
    values, arrays = shaped._method.to_plain()
    del values["config"]["shape_groups"]
    arrays = {name: array for name, array in arrays.items() if "module.shape." not in name}
    before = AnchoredStreams.from_plain(shaped._vocabulary, shaped._effects, values, arrays)
    assert not before.make_shaper(*groups)(x, np.arange(2)).any()

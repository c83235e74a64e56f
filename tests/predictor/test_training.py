"""The recipe, step by step: what a method is shown, when, and what follows from its networks."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from anndata import AnnData

from scbig.data import simulate_screen
from scbig.model import EffectRegression
from scbig.predictor import BasePredictor, EffectMover, Method

N_HELD_OUT = 4


class Recorder(Method):
    """Expects the mean training effect; its networks expect the truth, or noise."""

    module = None
    n_steps = 10

    def __init__(self, network_error: float = 0.0) -> None:
        self.network_error = network_error
        self.calls: list[str] = []
        self.tasks: list = []

    def fit(self, task):
        self._remember("fit", task)

    def refit(self, task):
        self._remember("refit", task)
        return True

    def fit_networks(self, task, n_steps):
        self.calls.append(f"networks {n_steps}")

    def calibrate(self, task):
        self.calls.append("calibrate")
        self.tasks.append(task)

    def release(self):
        self.calls.append("release")

    def predict_effects(self, targets, context):
        mean = self.trained.delta.mean(axis=0)
        return np.tile(mean, (len(targets), 1))

    def make_mover(self, targets, context, control_mean):
        rng = np.random.default_rng(0)
        truth = np.stack([self.truth[group] for group in targets])
        noise = self.network_error * rng.normal(size=truth.shape)
        return EffectMover(truth + noise, control_mean)

    def to_plain(self):
        return {}, {}

    def _remember(self, call, task):
        self.calls.append(call)
        self.tasks.append(task)
        self.trained = task.trained


class Recorded(BasePredictor):
    default_key = "recorded"

    def __init__(self, adata: AnnData, method: Method, *, seed: int | None = None) -> None:
        super().__init__(adata, missing_embedding="mean", seed=seed)
        vocabulary, _ = self.read_screen()
        self.start(vocabulary, method, locals())

    @classmethod
    def load_method(cls, vocabulary, effects, values, arrays):
        return Recorder()


@pytest.fixture(scope="module")
def simulated() -> AnnData:
    return simulate_screen(n_cells=900, n_genes=60, n_programs=6, n_targets=14, n_doubles=8)


@pytest.fixture
def held_out(simulated: AnnData) -> list[str]:
    return sorted(simulated.obs.query("n_targets == 1")["perturbation"].unique())[:N_HELD_OUT]


def compute_truth(adata: AnnData) -> dict[tuple[str, ...], np.ndarray]:
    x, labels = adata.X.toarray(), adata.obs["perturbation"].astype(str).to_numpy()
    control = x[labels == "control"].mean(axis=0)
    return {
        tuple(sorted(label.split("+"))): x[labels == label].mean(axis=0) - control
        for label in set(labels) - {"control"}
    }


def run(adata: AnnData, method: Recorder, setup: dict | None = None, **train) -> Recorded:
    adata = adata.copy()
    Recorded.setup_anndata(adata, **(setup or {}))
    method.truth = compute_truth(adata)
    model = Recorded(adata, method, seed=0)
    model._train(train.pop("validation"), use_refit=train.pop("use_refit", True), **train)
    return model


def test_the_steps_and_their_order(simulated: AnnData, held_out: list[str]):
    method = Recorder()
    run(simulated, method, validation=held_out)
    assert method.calls == ["fit", "networks 10", "refit", "calibrate", "release"]
    fit, refit, calibrate = method.tasks
    n_all = len(method.truth)
    assert len(fit.measured) == len(fit.groups) == n_all - N_HELD_OUT
    assert len(fit.held_out) == len(fit.judge) == N_HELD_OUT
    assert {targets for targets, *_ in fit.held_out} == {(label,) for label in held_out}
    assert not {(label,) for label in held_out} & set(fit.trained.targets)
    # All conditions are learned from in the end, and the judge stays to calibrate on.
    assert len(refit.trained) == n_all
    assert refit.held_out == []
    assert refit.judge is fit.judge
    assert calibrate is refit


def test_cells_of_held_out_conditions_are_left_aside(simulated: AnnData, held_out: list[str]):
    method = Recorder()
    run(simulated, method, validation=held_out)
    is_held_out = simulated.obs["perturbation"].isin(held_out).to_numpy()
    np.testing.assert_array_equal(method.tasks[0].rows, np.flatnonzero(~is_held_out))
    np.testing.assert_array_equal(method.tasks[1].rows, np.arange(simulated.n_obs))


def test_without_a_refit_held_out_conditions_are_never_learned(
    simulated: AnnData, held_out: list[str]
):
    method = Recorder()
    model = run(simulated, method, validation=held_out, use_refit=False)
    assert method.calls == ["fit", "networks 10", "calibrate", "release"]
    assert len(model._effects) == len(method.truth) - N_HELD_OUT


@pytest.mark.parametrize(
    ("error", "options", "expected"),
    [
        (0.0, {}, True),
        (5.0, {}, False),
        (5.0, {"use_gate": False}, True),
        (5.0, {"is_anchored": False}, True),
    ],
)
def test_the_gate_keeps_what_helps(
    simulated: AnnData, held_out: list[str], error: float, options: dict, expected: bool
):
    method = Recorder(error)
    for name, value in options.items():
        setattr(method, name, value)
    model = run(simulated, method, validation=held_out)
    assert model.uses_networks is expected
    # What is compared with the floors is what predicts.
    if error == 0:
        assert model.comparison_.score == pytest.approx(1, abs=0.02)
    out = model.predict(perturbations=held_out[:1], n_cells=200)
    x, is_control = out.layers["recorded"], (out.obs["perturbation"] == "control").to_numpy()
    change = x[~is_control].mean(axis=0) - x[is_control].mean(axis=0)
    by_networks = np.abs(change - method.truth[(held_out[0],)]).mean()
    by_effects = np.abs(change - model._effects.delta.mean(axis=0)).mean()
    if error == 0:
        assert by_networks < by_effects
    elif not expected:
        assert by_effects < by_networks


@pytest.mark.parametrize("is_anchored", [True, False])
def test_anchored_networks_are_not_trained_unchecked(simulated: AnnData, is_anchored: bool):
    method = Recorder()
    method.is_anchored = is_anchored
    model = run(simulated, method, validation=[])
    assert ("networks 10" in method.calls) is not is_anchored
    assert model.uses_networks is not is_anchored
    insisting = Recorder()
    assert run(simulated, insisting, validation=[], max_steps=3).uses_networks
    assert "networks 3" in insisting.calls


def test_no_steps_leave_the_networks_out(simulated: AnnData, held_out: list[str]):
    method = Recorder()
    model = run(simulated, method, validation=held_out, max_steps=0)
    assert method.calls == ["fit", "refit", "calibrate", "release"]
    assert not model.uses_networks


def test_a_further_screen_is_joined_with_the_earlier(simulated: AnnData, held_out: list[str]):
    method = Recorder()
    further = simulated[~simulated.obs["perturbation"].isin(held_out)].copy()
    further.X = further.X * 2
    del further.layers["counts"]
    model = run(simulated, method, validation=[])
    before = model._effects
    model.adata = _set_up(further)
    model._train([], use_refit=True)
    task = method.tasks[-1]
    assert task.is_continued
    n_kept = len(task.trained) - len(task.measured)
    assert set(task.trained.targets[:n_kept]) == {(label,) for label in held_out}
    # What was measured again counts as it is now; so do the controls.
    np.testing.assert_allclose(task.trained.control_mean, 2 * before.control_mean, rtol=1e-5)
    known = dict(zip(before.keys, before.delta, strict=True))
    for key, delta in zip(task.trained.keys, task.trained.delta, strict=True):
        factor = 1 if key[0][0] in held_out and len(key[0]) == 1 else 2
        np.testing.assert_allclose(delta, factor * known[key], atol=1e-5)


def test_what_is_held_out_is_not_known_from_another_context(
    simulated: AnnData, held_out: list[str]
):
    contexts = simulated.copy()
    contexts.obs["line"] = ["one", "two"] * (simulated.n_obs // 2)
    layout = {"perturbation_key": "perturbation", "context_keys": ["line"]}
    method = Recorder()
    first = contexts[contexts.obs["line"] == "one"].copy()
    model = run(first, method, layout, validation=[])
    method = model._method
    model.adata = contexts[contexts.obs["line"] == "two"].copy()
    Recorded.setup_anndata(model.adata, **layout)
    model._train(held_out, use_refit=False)
    fit = method.tasks[-1]
    assert not {(label,) for label in held_out} & set(fit.trained.targets)
    # The others are, and the held-out ones would be at a refit.
    assert set(fit.trained.context) == {0, 1}
    model._train(held_out, use_refit=True)
    assert {(label,) for label in held_out} < set(method.tasks[-1].trained.targets)


def test_networks_in_use_are_tested_anew_without_steps(simulated: AnnData, held_out: list[str]):
    method = Recorder()
    model = run(simulated, method, validation=held_out)
    assert model.uses_networks
    model.adata = _set_up(simulated.copy())
    model._train(held_out, use_refit=True, max_steps=0)
    assert model.uses_networks
    method.network_error = model._method.network_error = 5.0
    model._train(held_out, use_refit=True, max_steps=0)
    assert not model.uses_networks


def test_networks_that_do_not_outlast_a_fit_are_left_out(simulated: AnnData, held_out: list[str]):
    method = Recorder()
    method.keeps_networks = False
    model = run(simulated, method, validation=held_out)
    assert model.uses_networks
    model.adata = _set_up(simulated.copy())
    model._train(held_out, use_refit=True, max_steps=0)
    assert not model.uses_networks


def test_what_was_measured_again_and_is_held_out_is_not_known_from_before(
    simulated: AnnData, held_out: list[str]
):
    method = Recorder()
    model = run(simulated, method, validation=[])
    model.adata = _set_up(simulated.copy())
    model._train(held_out, use_refit=False)
    assert not {(label,) for label in held_out} & set(method.tasks[-1].trained.targets)


def _set_up(adata: AnnData) -> AnnData:
    Recorded.setup_anndata(adata)
    return adata


def test_training_says_how_it_ended(
    simulated: AnnData, held_out: list[str], caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, logger="scbig"):
        model = run(simulated, Recorder(5.0), validation=held_out)
    assert "they are left out, as that is no gain beyond chance" in caplog.text
    assert caplog.messages[-1] == str(model.comparison_)
    with caplog.at_level(logging.INFO, logger="scbig"):
        run(simulated, Recorder(), validation=[])
    assert "insist: train(max_steps=10)" in caplog.text
    assert caplog.messages[-1].startswith("No conditions were held out: Recorded was not compared")


def test_conditions_to_hold_out_are_checked(simulated: AnnData, held_out: list[str]):
    with pytest.raises(ValueError, match=r"1 validation condition\(s\) have no .*\['NOBODY'\]"):
        run(simulated, Recorder(), validation=["NOBODY"])
    everything = sorted(set(simulated.obs["perturbation"].astype(str)) - {"control"})
    with pytest.raises(ValueError, match="none is left to train on"):
        run(simulated, Recorder(), validation=everything)
    controls = simulated[simulated.obs["perturbation"] == "control"]
    with pytest.raises(ValueError, match="control cells only"):
        run(controls, Recorder(), {"perturbation_key": "perturbation"}, validation=[])


def test_settings_of_the_kernel_are_told_with_few_digits(simulated: AnnData, monkeypatch, caplog):
    def choose(halves, kernel, genes, denoising):
        return replace(kernel, settings=replace(kernel.settings, particular=0.1 * 3))

    monkeypatch.setattr("scbig.predictor._method.choose_particular", choose)
    adata = simulated.copy()
    EffectRegression.setup_anndata(adata)
    with caplog.at_level(logging.DEBUG, logger="scbig"):
        EffectRegression(adata, seed=0).train(validation=[])
    [line] = [text for text in caplog.messages if "Regression of effects" in text]
    assert "particular=0.3," in line

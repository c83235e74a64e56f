"""`predict` and `get_confidence` of any predictor, around a method of a few lines."""

from dataclasses import replace

import anndata
import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData

from scbig.data import ScreenSchema
from scbig.predictor import BasePredictor, EffectMover, Method


class CountTargets(Method):
    """Expects a rise of one for each target; knows no networks."""

    module = None

    def fit(self, task):
        self.seen = task.trained.targets

    def predict_effects(self, targets, context):
        return np.repeat([[float(len(group))] for group in targets], 8, axis=1).reshape(-1, 8)

    def get_confidence(self, targets, context):
        return np.array([1 / (1 + len(t)) for t in targets]) * (1 - 0.5 * context)

    def to_plain(self):
        return {}, {}


class Noisy(CountTargets):
    """Networks that always predict, and draw."""

    is_anchored = False

    def make_mover(self, targets, context, control_mean):
        by_effect = EffectMover(self.predict_effects(targets, context), control_mean)

        def move(x, rows):
            return by_effect(x, rows) + np.random.default_rng(0).uniform(0, 0.1, size=x.shape)

        return move


class Dummy(BasePredictor):
    default_key = "dummy"
    method_class: type[Method] = CountTargets

    def __init__(self, adata: AnnData, *, seed: int | None = None) -> None:
        super().__init__(adata, seed=seed)
        vocabulary, _ = self.read_screen()
        self.start(vocabulary, self.method_class(), locals())

    @classmethod
    def load_method(cls, vocabulary, effects, values, arrays):
        return cls.method_class()


class NoisyDummy(Dummy):
    method_class = Noisy


def fit(adata: AnnData, cls: type[Dummy] = Dummy, **setup) -> Dummy:
    cls.setup_anndata(adata, context_keys=["line"], **setup)
    model = cls(adata, seed=11)
    model.train(validation=[])
    return model


@pytest.mark.parametrize("sampling", [True, False])
def test_predict_makes_cells_for_scanpy(screen: AnnData, tmp_path, sampling: bool):
    model = fit(screen, NoisyDummy)
    out = model.predict(perturbations=["A", ["A", "B"]], sampling=sampling, seed=3)
    out.write_h5ad(tmp_path / "out.h5ad")
    read = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert read.uns["dummy"]["class"] == "NoisyDummy"
    assert read.uns["dummy"]["cells"] == ("values" if sampling else "expected")
    assert read.uns["dummy"]["seed"] == 3
    expected = {"perturbation_key", "control", "separator", "context_keys"}
    assert set(read.uns["dummy"]["schema"]) == expected
    confidence = {("A", "x"): 1 / 2, ("A", "y"): 1 / 4, ("A+B", "x"): 1 / 3}
    values = read.obs.groupby(["perturbation", "line"], observed=True)["dummy_confidence"].mean()
    for group, value in confidence.items():
        assert values[group] == pytest.approx(value)
    assert values["control"].tolist() == [1, 1]
    rises = {label: (read.obs["perturbation"] == label).to_numpy() for label in ("A", "A+B")}
    x = read.X if isinstance(read.X, np.ndarray) else read.X.toarray()
    for n, (_, rows) in enumerate(rises.items(), start=1):
        sources = screen[read.obs["dummy_source"][rows]].X
        change = x[rows] - sources
        if not sampling:
            assert n - 1e-5 <= change.min() <= change.max() <= n + 0.1 + 1e-5
        for line in "xy":
            of_line = (read.obs["line"][rows] == line).to_numpy()
            control = screen[
                (screen.obs["perturbation"] == "control") & (screen.obs["line"] == line)
            ]
            mean = x[rows][of_line].mean(axis=0) - control.X.mean(axis=0)
            np.testing.assert_allclose(mean, n + 0.05, atol=0.06)
    sc.tl.rank_genes_groups(read, "perturbation", reference="control", layer="dummy")
    assert (read.uns["rank_genes_groups"]["logfoldchanges"]["A"] > 0).all()


def test_the_seed_is_the_model_s_unless_one_is_given(screen: AnnData):
    model = fit(screen)
    wanted = {"perturbations": ["A"], "n_cells": 3}
    by_default = model.get_predicted_expression(**wanted)
    np.testing.assert_array_equal(by_default, model.get_predicted_expression(**wanted, seed=11))
    assert (by_default != model.get_predicted_expression(**wanted, seed=12)).any()


def test_predict_annotates(screen: AnnData):
    model = fit(screen)
    assert model.predict(key_added="k") is screen
    np.testing.assert_array_equal(screen.layers["k"].toarray(), model.get_predicted_expression())
    other = screen[::-1, [3, 2, 1, 0, 4, 5, 6, 7]].copy()
    assert model.predict(other) is other
    controls = (other.obs["perturbation"] == "control").to_numpy()
    np.testing.assert_array_equal(other.layers["dummy"][controls].toarray(), other.X[controls])
    np.testing.assert_array_equal(other.X, screen[other.obs_names, other.var_names].X)
    assert "dummy" not in screen.layers


def test_genes_that_are_missing_are_expected_as_in_controls(screen: AnnData):
    model = fit(screen)
    seen = []

    def make_mover(targets, context, control_mean):
        return lambda x, rows: seen.append(x) or x[None]

    model._method.make_mover, model._uses_networks = make_mover, True
    model.predict(screen[:, 1:].copy(), perturbations=["A"])
    is_control = (screen.obs["perturbation"] == "control").to_numpy()
    lines = [screen.X[is_control & (screen.obs["line"] == line).to_numpy(), 0] for line in "xy"]
    expected = np.mean([line.mean() for line in lines])
    np.testing.assert_allclose(np.concatenate(seen)[:, 0], expected, rtol=1e-5)


def test_predict_checks_its_input(screen: AnnData):
    model = fit(screen)
    bad = screen.copy()
    bad.X[3, 3] = np.nan
    with pytest.raises(ValueError, match="1 NaN"):
        model.predict(bad)
    with pytest.raises(ValueError, match="3 of the model's 8 genes are missing"):
        model.predict(screen[:, :5].copy(), perturbations=["A"])
    with pytest.raises(ValueError, match=r"Nothing is known of the target\(s\) \['G9'\]"):
        model.predict(perturbations=["A", "G9"])
    with pytest.raises(ValueError, match="context_keys='line' is not a column of obs"):
        model.predict(AnnData(screen.X, obs=screen.obs[["perturbation"]], var=screen.var))


def test_an_untrained_predictor_does_not_predict(screen: AnnData):
    Dummy.setup_anndata(screen)
    for ask in (Dummy(screen).predict, Dummy(screen).get_confidence):
        with pytest.raises(RuntimeError, match=r"Dummy has not been trained. Run train\(\)"):
            ask(perturbations=["A"])


def test_measured_expression_is_not_overwritten(screen: AnnData):
    screen.layers["log"] = screen.X.copy()
    model = fit(screen, layer="log")
    message = r"layers\['log'\] holds the measured.*key_added='dummy'"
    with pytest.raises(ValueError, match=message):
        model.predict(key_added="log")
    assert "log" in model.predict(perturbations=["A"], key_added="log").layers
    np.testing.assert_array_equal(screen.layers["log"], screen.X)


def test_controls_that_travel_are_read_without_layer_and_gene_column(screen: AnnData):
    screen.layers["log"] = screen.X.copy()
    screen.var["symbol"] = [f"S{i}" for i in range(8)]
    model = fit(screen, layer="log", gene_key="symbol")
    out = model.predict(perturbations=["A"])
    assert out.var_names.tolist() == screen.var["symbol"].tolist()
    assert model._vocabulary.schema.layer == "log"
    plain = ScreenSchema("perturbation", "control", "+", ("line",))
    assert replace(model._vocabulary.schema, layer=None, gene_key=None) == plain


def test_confidence_by_label(screen: AnnData):
    model = fit(screen)
    confidence = model.get_confidence(["A", ["A", "B"]])
    assert confidence.index.tolist() == ["A", "A+B"]
    np.testing.assert_allclose(confidence, [0.375, 0.25])
    assert model.get_confidence("A").to_dict() == {"A": 0.375}


@pytest.mark.parametrize(
    "verb",
    [
        "get_normalized_expression",
        "differential_abundance",
        "convert_legacy_save",
        "load_registry",
    ],
)
def test_verbs_of_scvi_that_cannot_work_say_so(verb: str):
    assert not hasattr(Dummy, verb)
    with pytest.raises(AttributeError, match=rf"Dummy has no {verb}: .* Use "):
        getattr(Dummy, verb)

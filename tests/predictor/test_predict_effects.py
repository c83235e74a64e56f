"""The table of effects: numbers, names, how each condition is known, and how it is kept."""

import logging
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData

from scbig.baselines import FLOORS, Additive, NearestCondition, NoChange, OwnMean
from scbig.data import _effect_table, call_by_ranks, compute_half_effects, simulate_screen
from scbig.model import (
    SCBIG,
    DualStreamConfig,
    DualStreamMamba,
    EffectRegression,
    SCBIGConfig,
)
from scbig.model._effect_regression import Shifted
from scbig.priors import GeneEmbedding
from scbig.regression import EffectErrors, _uncertainty

# Networks that are trained for a moment, and kept whatever they do.
SMALL = SCBIGConfig(
    autoencoder="pca", n_latent=4, n_hidden=8, n_heads=2, n_inducing=3, n_condition=8,
    velocity_hidden=(16,), n_solver_steps=2, align_every=0, flow_lr=1e-2, groups_per_step=8,
    cells_per_group=8, use_gate=False,
)  # fmt: skip
SMALL_DUAL = DualStreamConfig(
    max_tokens=8, n_hidden=8, n_blocks=1, n_states=4, n_latent=3, n_steps=4, use_gate=False
)
QUIET = {"accelerator": "cpu", "use_progress_bar": False}
NETWORKS: dict[type, tuple[dict[str, Any], dict[str, Any]]] = {
    SCBIG: ({"preset": SMALL}, QUIET | {"max_steps": 8}),
    DualStreamMamba: ({"preset": SMALL_DUAL}, QUIET | {"max_steps": 4}),
}
OTHERS = (EffectRegression, Shifted, OwnMean, *FLOORS)
LAYERS = {"expected", "control"}
ERRORS = {"standard_error", "probability_up", "probability_down"}


@pytest.fixture(scope="module")
def simulated() -> AnnData:
    """Two batches, in which genes are expressed differently."""
    return simulate_screen(n_cells=700, n_genes=40, n_programs=4, n_targets=8, n_doubles=6, seed=2)


@pytest.fixture(scope="module")
def fit(simulated: AnnData) -> Callable[..., Any]:
    """Train a predictor once, whoever asks for it."""
    trained: dict[tuple[type, bool], Any] = {}

    def fit_once(cls: type, *, in_batches: bool = False) -> Any:
        if (cls, in_batches) not in trained:
            init, train = NETWORKS.get(cls, ({}, {}))
            adata = simulated.copy()
            cls.setup_anndata(adata, context_keys="batch" if in_batches else ())
            trained[cls, in_batches] = cls(adata, seed=0, **init)
            trained[cls, in_batches].train(**train)
        return trained[cls, in_batches]

    return fit_once


def average(simulated: AnnData, is_taken: pd.Series) -> np.ndarray:
    return simulated.X[is_taken.to_numpy()].toarray().mean(axis=0)


def choose(simulated: AnnData) -> list[str]:
    """A single perturbation, a pair, and a pair that was not measured."""
    labels = sorted(set(simulated.obs["perturbation"]) - {"control"})
    singles = [label for label in labels if "+" not in label]
    pairs = [label for label in labels if "+" in label]
    wanted = (f"{a}+{b}" for a in singles for b in singles if a < b)
    return [singles[0], pairs[0], next(pair for pair in wanted if pair not in pairs)]


@pytest.mark.parametrize("cls", [*OTHERS, *NETWORKS])
def test_every_predictor_makes_a_table(cls: type, fit: Callable, simulated: AnnData):
    model, wanted = fit(cls), choose(simulated)
    table = model.predict_effects(wanted)
    assert table.obs_names.tolist() == wanted
    assert table.var_names.tolist() == simulated.var_names.tolist()
    assert table.obs["perturbation"].tolist() == wanted
    assert table.obs["n_targets"].tolist() == [1, 2, 2]
    assert table.obs["known"].tolist() == ["measured", "measured", "combination"]
    has_errors = cls in NETWORKS or cls is EffectRegression
    assert set(table.layers) - {None} == LAYERS | (ERRORS if has_errors else set())
    arrays = [table.X, *table.layers.values()]
    assert {(type(array), array.dtype.name) for array in arrays} == {(np.ndarray, "float32")}
    assert table.uns["scbig_effects"]["class"] == cls.__name__
    control = average(simulated, simulated.obs["perturbation"] == "control")
    np.testing.assert_allclose(table.layers["control"], np.tile(control, (3, 1)), rtol=1e-5)
    np.testing.assert_allclose(
        table.layers["expected"], (table.layers["control"] + table.X).clip(min=0), atol=1e-6
    )
    has_confidence = cls in NETWORKS or issubclass(cls, EffectRegression)
    assert ("confidence" in table.obs) == has_confidence
    if has_confidence:
        np.testing.assert_allclose(
            table.obs["confidence"], model.get_confidence(wanted), rtol=1e-6
        )


@pytest.mark.parametrize("cls", [EffectRegression, *FLOORS])
def test_effects_are_those_of_the_rule(cls: type, fit: Callable, simulated: AnnData):
    model, wanted = fit(cls), choose(simulated)
    targets = [tuple(sorted(label.split("+"))) for label in wanted]
    expected = model._method.predict_effects(targets, np.zeros(3, dtype=int))
    np.testing.assert_allclose(model.predict_effects(wanted).X, expected, rtol=1e-6)


def test_own_means_are_the_difference_of_means(fit: Callable, simulated: AnnData):
    wanted = choose(simulated)[:2]
    labels = simulated.obs["perturbation"]
    control = average(simulated, labels == "control")
    real = [average(simulated, labels == label) - control for label in wanted]
    table = fit(OwnMean).predict_effects(wanted)
    np.testing.assert_allclose(table.X, real, atol=1e-5)


@pytest.mark.parametrize("cls", [*OTHERS, *NETWORKS])
def test_effects_are_the_mean_change_of_expected_expression(
    cls: type, fit: Callable, simulated: AnnData
):
    model, wanted = fit(cls), choose(simulated)
    assert model.uses_networks == (cls in NETWORKS or cls is Shifted)
    # All controls, each once.
    out = model.predict(perturbations=wanted, n_cells=model.controls.n_obs, sampling=False)
    mean = out.to_df().groupby(out.obs["perturbation"], observed=True).mean()
    change = mean.loc[wanted] - mean.loc["control"]
    table = model.predict_effects(wanted)
    np.testing.assert_allclose(table.X, change, atol=2e-3 if cls in NETWORKS else 1e-4)


def test_made_cells_have_the_expected_mean(fit: Callable, simulated: AnnData):
    model, wanted = fit(SCBIG), choose(simulated)
    table = model.predict_effects(wanted)
    out = model.predict(perturbations=wanted, n_cells=500)
    mean = out.to_df().groupby(out.obs["perturbation"], observed=True).mean()
    np.testing.assert_allclose(table.layers["expected"], mean.loc[wanted], atol=0.05)


def test_contexts_are_rows_of_their_own(fit: Callable, simulated: AnnData):
    model, wanted = fit(Additive, in_batches=True), choose(simulated)[:2]
    batches = sorted(simulated.obs["batch"].astype(str).unique())
    table = model.predict_effects(wanted)
    names = [f"{label} | {batch}" for label in wanted for batch in batches]
    assert table.obs_names.tolist() == names
    assert table.obs["batch"].tolist() == batches * 2
    labels, where = simulated.obs["perturbation"], simulated.obs["batch"].astype(str)
    is_control = labels == "control"
    for batch in batches:
        control = average(simulated, is_control & (where == batch))
        row = table[f"{wanted[0]} | {batch}"]
        np.testing.assert_allclose(row.layers["control"][0], control, rtol=1e-5)
        is_own = (labels == wanted[0]) & (where == batch)
        assert (row.obs["known"].item() == "measured") == is_own.any()
        if is_own.any():
            real = average(simulated, is_own) - control
            np.testing.assert_allclose(row.X[0], real, atol=1e-5)
    some = model.predict_effects(wanted, contexts=batches[1])
    assert some.obs_names.tolist() == names[1 :: len(batches)]
    np.testing.assert_array_equal(some.X, table[some.obs_names].X)


def test_many_conditions_are_predicted_in_parts(
    fit: Callable, simulated: AnnData, monkeypatch: pytest.MonkeyPatch
):
    model, wanted = fit(EffectRegression), choose(simulated)
    whole = model.predict_effects(wanted)
    monkeypatch.setattr("scbig.data._effect_table._BATCH_SIZE", 2)
    parts = model.predict_effects(wanted)
    np.testing.assert_allclose(parts.X, whole.X, atol=1e-6)
    np.testing.assert_allclose(parts.obs["confidence"], whole.obs["confidence"], rtol=1e-6)
    # A gene that no cell was perturbed in is alone in its part.
    unseen = next(g for g in simulated.var_names if g not in model._vocabulary.targets)
    table = model.predict_effects([*wanted[:2], unseen])
    assert table.obs["known"].tolist() == ["measured", "measured", "unseen"]


def test_labels_are_taken_as_predict_takes_them(fit: Callable, simulated: AnnData):
    model, (single, pair, _) = fit(Additive), choose(simulated)
    turned = "+".join(reversed(pair.split("+")))
    table = model.predict_effects(["control", single, single, pair.split("+"), turned])
    assert table.obs_names.tolist() == [single, pair, turned]
    np.testing.assert_array_equal(table.X[1], table.X[2])
    made = model.predict(perturbations=["control", single, single, pair, turned], n_cells=2)
    assert list(made.obs["perturbation"].cat.categories) == ["control", *table.obs_names]
    assert model.predict_effects(single).obs_names.tolist() == [single]


@pytest.mark.parametrize(
    ("perturbations", "options", "message"),
    [
        (["NOWHERE"], {}, r"Nothing is known of the target\(s\) \['NOWHERE'\]"),
        (["control"], {}, r"\['control'\] are labels of control cells.* 0 by definition.*GENE"),
        ([], {}, r"No perturbation was asked for.*predict_effects\(\['GENE'\]\)"),
        (None, {}, r"perturbations=None. Give labels.*\['A', 'A\+B'\]"),
        (1, {}, "perturbations=1. Give labels"),
        ([1], {}, "1 stands where a perturbation is named"),
        (["GENE0001", np.nan], {}, "nan stands where a perturbation is named"),
        ([("GENE0001", 2)], {}, r"\('GENE0001', 2\) stands where a perturbation is named"),
        (["GENE0001"], {"contexts": ["z"]}, r"Context\(s\) \['z'\] have no control cells"),
        (["GENE0001"], {"contexts": []}, "No context is named"),
    ],
)
def test_errors_are_those_of_predict(
    fit: Callable, perturbations: list[str], options: dict[str, Any], message: str
):
    with pytest.raises(ValueError, match=message):
        fit(EffectRegression).predict_effects(perturbations, **options)


@pytest.mark.parametrize(
    ("columns", "taken"),
    [
        ({"perturbation": "known"}, "known"),
        ({"batch": "confidence"}, "confidence"),
        ({"batch": "responder_share"}, "responder_share"),
        ({"batch": "n_targets"}, "n_targets"),
    ],
)
def test_columns_of_the_screen_are_not_written_over(
    simulated: AnnData, columns: dict[str, str], taken: str
):
    adata = simulated.copy()
    adata.obs = adata.obs[["perturbation", "batch"]].rename(columns=columns)
    label, batch = adata.obs.columns
    NoChange.setup_anndata(adata, perturbation_key=label, context_keys=batch)
    model = NoChange(adata)
    model.train()
    message = rf"write over \['{taken}'\].*'{taken}': 'my_{taken}'.*set up again"
    with pytest.raises(ValueError, match=message):
        model.predict_effects(["GENE0001"])


def test_table_and_errors_know_the_same_kinds():
    assert _effect_table.KNOWN == _uncertainty.KINDS
    assert set(_effect_table.ERRORS) == ERRORS


def test_untrained_models_say_so(simulated: AnnData):
    adata = simulated.copy()
    NoChange.setup_anndata(adata)
    with pytest.raises(RuntimeError, match="has not been trained"):
        NoChange(adata).predict_effects(["GENE0001"])


def test_errors_are_those_of_the_regression(fit: Callable, simulated: AnnData):
    model, wanted = fit(EffectRegression), choose(simulated)
    targets = [tuple(sorted(label.split("+"))) for label in wanted]
    regression = model._method.anchor.regression
    cells = model._vocabulary.read_screen(model.adata)
    groups, rng = list(cells.screen.get_groups()), np.random.default_rng(0)
    halves = compute_half_effects(cells.expression, cells.screen, groups, rng)
    called = call_by_ranks(cells.expression, cells.screen, groups)
    errors = EffectErrors.calibrate(regression, halves, called)
    forecast = errors.predict(targets, np.zeros(3, dtype=int))
    table = model.predict_effects(wanted)
    for name in ERRORS:
        np.testing.assert_allclose(table.layers[name], getattr(forecast, name), rtol=1e-4)
    assert (table.layers["standard_error"] > 0).all()
    total = table.layers["probability_up"] + table.layers["probability_down"]
    assert 0 <= total.min() <= total.max() <= 1 + 1e-6


@pytest.mark.parametrize("cls", [SCBIG, EffectRegression, Additive])
def test_a_saved_model_has_the_same_table(cls: type, fit: Callable, simulated, tmp_path):
    model, wanted = fit(cls), choose(simulated)
    table = model.predict_effects(wanted)
    model.save(tmp_path / "model")
    again = cls.load(tmp_path / "model").predict_effects(wanted)
    pd.testing.assert_frame_equal(again.obs, table.obs)
    assert set(again.layers) == set(table.layers)
    for name in (None, *table.layers):
        pair = [part.X if name is None else part.layers[name] for part in (again, table)]
        np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-6)


def test_a_folder_without_errors_is_read_and_says_so(
    fit: Callable, simulated: AnnData, tmp_path, monkeypatch: pytest.MonkeyPatch, caplog
):
    model, wanted = fit(EffectRegression), choose(simulated)
    with monkeypatch.context() as patch:
        patch.setattr(model._method, "_errors", None)
        model.save(tmp_path / "model")
    with caplog.at_level(logging.INFO, logger="scbig"):
        loaded = EffectRegression.load(tmp_path / "model")
    assert "saved without errors of its effects" in caplog.text
    assert set(loaded.predict_effects(wanted).layers) - {None} == LAYERS
    with pytest.raises(ValueError, match=r"no errors of its effects.*does after train\(\)"):
        loaded.predict(perturbations=wanted, n_draws=2)


def test_a_pickle_of_an_earlier_model_has_no_errors(fit: Callable, simulated: AnnData):
    method = fit(EffectRegression)._method.copy()
    vars(method).pop("_errors")
    old = pickle.loads(pickle.dumps(method))
    targets, context = [("GENE0001",)], np.zeros(1, dtype=int)
    assert old.get_errors(targets, context) is None
    assert old.draw_effects(targets, context, 2, np.random.default_rng(0)) is None
    assert not any(name.startswith("errors.") for name in old.to_plain()[1])


def test_networks_without_a_regression_have_no_errors(simulated: AnnData):
    adata = simulated.copy()
    SCBIG.setup_anndata(adata)
    model = SCBIG(adata, preset=replace(SMALL, use_anchor=False), seed=0)
    model.train(**NETWORKS[SCBIG][1])
    assert set(model.predict_effects(choose(simulated)).layers) - {None} == LAYERS


@pytest.mark.parametrize("cls", [EffectRegression, NearestCondition, *NETWORKS])
def test_tables_of_other_types_are_no_embeddings(cls: type, simulated: AnnData):
    adata = simulated.copy()
    cls.setup_anndata(adata)
    frame = pd.DataFrame(np.eye(3), index=["GENE0001", "GENE0002", "GENE0003"])
    message = r"embedding=.*of type DataFrame.*scbig\.priors\.load_gene_embedding\(path\)"
    with pytest.raises(ValueError, match=message):
        cls(adata, gene_embedding=frame)
    if cls is not NearestCondition:
        with pytest.raises(ValueError, match=message):
            cls(adata, perturbation_embedding=frame)


def test_the_table_is_written_and_read(fit: Callable, simulated: AnnData, tmp_path):
    table = fit(EffectRegression, in_batches=True).predict_effects(choose(simulated))
    table.write_h5ad(tmp_path / "table.h5ad")
    table.write_zarr(tmp_path / "table.zarr")
    for read in (
        anndata.read_h5ad(tmp_path / "table.h5ad"),
        anndata.read_zarr(tmp_path / "table.zarr"),
    ):
        np.testing.assert_array_equal(read.X, table.X)
        pd.testing.assert_frame_equal(read.obs, table.obs, check_column_type=False)
        assert list(read.obs["known"].cat.categories) == ["measured", "combination", "unseen"]
        assert set(read.layers) == set(table.layers)


def test_as_many_respond_as_cells_are_made_with(fit: Callable, simulated: AnnData):
    model, wanted = fit(Additive), choose(simulated)
    told = model.get_responders(wanted)
    table = model.predict_effects(wanted)
    used = told["share"].where(told["is_used"], 1.0)
    np.testing.assert_allclose(table.obs["responder_share"], used.loc[wanted], rtol=1e-6)
    assert "responder_share" not in fit(NoChange).predict_effects(wanted).obs


def test_embeddings_know_unseen_targets(simulated: AnnData):
    adata = simulated.copy()
    names = (*sorted(set(adata.obs["perturbation"]) - {"control"})[:5], "ELSEWHERE")
    names = tuple(name for name in names if "+" not in name)
    table = GeneEmbedding(names, np.eye(len(names), 4, dtype=np.float32) + 0.1, "test")
    EffectRegression.setup_anndata(adata)
    model = EffectRegression(adata, gene_embedding=table, seed=0)
    model.train(validation=[])
    assert model.predict_effects(["ELSEWHERE"]).obs["known"].tolist() == ["unseen"]


def count_called(model: Any, pair: str, n_cells: int) -> int:
    cells = model.predict(perturbations=[pair], n_cells=n_cells)
    sc.tl.rank_genes_groups(cells, "perturbation", reference="control", method="wilcoxon")
    return int((sc.get.rank_genes_groups_df(cells, pair)["pvals_adj"] < 0.05).sum())


def check_numbers_of_the_guide(page: str, names: dict[str, Any]) -> None:
    """What the guide says of its pair; the last digits are not alike on all machines."""
    pair = f"{names['first']}+{names['second']}"
    row = names["table"][pair]
    assert row.obs["known"].item() == "combination"
    told = re.search(r"calls about (\d+) of 200.* (\d+) with 3,200,\s+while about (\d+) of", page)
    few, many, sure = (int(number) for number in told.groups())
    assert count_called(names["model"], pair, 50) == pytest.approx(few, rel=0.1)
    assert count_called(names["model"], pair, 3200) == pytest.approx(many, rel=0.1)
    is_sure = np.abs(row.X[0]) > 1.645 * row.layers["standard_error"][0]
    assert is_sure.sum() == pytest.approx(sure, rel=0.1)


def test_the_lines_of_the_guide_run(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "user_guide" / "effects.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    for block in blocks:
        quick = block.replace("n_draws=20", "n_draws=6")
        exec(compile(quick, "effects.md", "exec"), names)
    genes, first = names["genes"], names["first"]
    assert set(genes.columns) == {"effect", *ERRORS}
    assert not genes.isna().to_numpy().any()
    for name in ERRORS:
        expected = names["table"][f"{first}+{names['second']}"].to_df(name).iloc[0]
        np.testing.assert_array_equal(genes[name], expected[genes.index])
    assert names["share_up"].index.tolist() == [first]
    assert names["share_up"].shape == (1, 200)
    # Draws lie about the expected effect: the share of rises follows its size and error.
    table = names["table"][first]
    far = np.abs(table.X[0]) > 3 * table.layers["standard_error"][0]
    assert far.sum() >= 5
    is_up = names["share_up"].to_numpy()[0, far] > 0.5
    np.testing.assert_array_equal(is_up, table.X[0, far] > 0)
    difference = names["chance_up"] - names["share_up"].to_numpy()[0]
    # Six draws know a share to within 0.2, the standard deviation at one half.
    assert np.sqrt(np.mean(difference**2)) < 0.2
    check_numbers_of_the_guide(page, names)


def test_large_tables_are_announced(
    fit: Callable, simulated: AnnData, monkeypatch: pytest.MonkeyPatch, caplog
):
    monkeypatch.setattr("scbig.data._effect_table.LARGE_BYTES", 100)
    fit(Additive).predict_effects(choose(simulated))
    assert "Making a table of 3 conditions x 40 genes" in caplog.text

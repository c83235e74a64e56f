"""The tuned and embedding baselines on a screen: choices, names, saved folders, real figures."""

import json
import logging
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData

from scbig.baselines import (
    Additive,
    Baseline,
    EmbeddingBaseline,
    KernelRidge,
    NearestCondition,
    RidgeIndicator,
    predict_floors,
)
from scbig.data import (
    Effects,
    Expression,
    compute_effects,
    get_matrix,
    infer_schema,
    make_screen,
    simulate_screen,
)
from scbig.metrics import pearson_delta
from scbig.priors import GeneAliases, GeneEmbedding, UnitVectors, load_gene_embedding
from scbig.programs import compute_coexpression
from scbig.splits import choose_validation

EMBEDDING_BASELINES = (KernelRidge, NearestCondition)


@pytest.fixture
def table() -> GeneEmbedding:
    """A, B and C as measured; OLD is like A, FAR like nothing."""
    vectors = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1], [0.9, 0.1, 0], [-1, -1, -1]])
    return GeneEmbedding(("A", "B", "C", "OLD", "FAR"), vectors, "table")


def read_effects(adata: AnnData) -> Effects:
    schema = infer_schema(adata)
    return compute_effects(Expression(get_matrix(adata, None)), make_screen(adata.obs, schema))


def fit(cls: type[Baseline], adata: AnnData, train: dict | None = None, **init) -> Baseline:
    cls.setup_anndata(adata)
    baseline = cls(adata, **({"seed": 0} | init))
    baseline.train(**(train or {}))
    return baseline


@pytest.mark.parametrize("cls", EMBEDDING_BASELINES)
def test_a_baseline_predicts_what_its_rule_says(
    screen: AnnData, table: GeneEmbedding, cls: type[EmbeddingBaseline]
):
    baseline = fit(cls, screen, gene_embedding=table)
    rule = predict_floors(
        read_effects(screen), [("B", "OLD")], np.zeros(1, int), (UnitVectors(table),)
    )
    is_control = (screen.obs["perturbation"] == "control").to_numpy()
    predicted = baseline.predict(
        screen, perturbations=["OLD+B"], n_cells=int(is_control.sum()), sampling=False
    )
    mean = predicted.layers[cls.default_key][predicted.obs["perturbation"] == "OLD+B"].mean(axis=0)
    expected = np.maximum(screen.X[is_control].mean(axis=0) + rule[cls.default_key][0], 0)
    np.testing.assert_allclose(mean, expected, rtol=1e-4)


@pytest.mark.parametrize("cls", EMBEDDING_BASELINES)
def test_an_unseen_target_is_predicted_after_loading(
    screen: AnnData,
    table: GeneEmbedding,
    predict_effect,
    tmp_path: Path,
    cls: type[EmbeddingBaseline],
):
    aliases = GeneAliases({"OLD": ("NEW",)})
    baseline = fit(cls, screen, gene_embedding=table, aliases=aliases)
    baseline.save(tmp_path / "saved")
    assert sorted(path.suffix for path in (tmp_path / "saved").iterdir()) == [
        ".json",
        ".safetensors",
    ]
    loaded = cls.load(tmp_path / "saved", screen)
    for label in ("OLD", "NEW", "NEW+B", "FAR"):
        first, second = (
            b.get_predicted_expression(perturbations=[label]) for b in (baseline, loaded)
        )
        np.testing.assert_array_equal(first, second)
    # NEW is OLD, which is like A and unlike FAR.
    by_name = {
        label: predict_effect(loaded, label) for label in ("A", "OLD", "NEW", "FAR", "NONE")
    }
    np.testing.assert_array_equal(by_name["NEW"], by_name["OLD"])
    assert np.corrcoef(by_name["A"], by_name["OLD"])[0, 1] > 0.5
    assert not np.allclose(by_name["OLD"], by_name["NONE"])
    # It can be trained anew, with the embedding that it has.
    loaded.train()
    np.testing.assert_array_equal(predict_effect(loaded, "OLD"), by_name["OLD"])


@pytest.mark.parametrize("cls", EMBEDDING_BASELINES)
def test_a_seen_target_is_found_by_its_other_name(
    screen: AnnData, table: GeneEmbedding, predict_effect, cls: type[EmbeddingBaseline]
):
    baseline = fit(cls, screen, gene_embedding=table, aliases=GeneAliases({"A2": ("A",)}))
    known = predict_effect(baseline, "A", "B")
    np.testing.assert_array_equal(predict_effect(baseline, "A2", "B"), known)


def test_without_an_embedding_co_expression_serves_measured_genes(screen: AnnData, predict_effect):
    loadings = compute_coexpression(screen.X[(screen.obs["perturbation"] == "control").to_numpy()])
    given = GeneEmbedding(tuple(screen.var_names), loadings, "by hand")
    for cls in EMBEDDING_BASELINES:
        first, second = fit(cls, screen), fit(cls, screen, gene_embedding=given)
        for target in ("G0", "A", "NONE"):
            np.testing.assert_allclose(
                predict_effect(first, target, "B"),
                predict_effect(second, target, "B"),
                rtol=1e-5,
                atol=1e-6,
            )


def test_the_coverage_of_the_targets_is_logged(
    screen: AnnData, table: GeneEmbedding, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, logger="scbig"):
        fit(NearestCondition, screen, gene_embedding=table)
    assert "Perturbation targets: table: 3 of 3 names matched (100%)" in caplog.text


def test_too_few_controls_for_co_expression_are_named(screen: AnnData):
    is_kept = (screen.obs["perturbation"] != "control").to_numpy(copy=True)
    is_kept[:2] = True
    few = screen[is_kept].copy()
    KernelRidge.setup_anndata(few)
    with pytest.raises(ValueError, match="at least 3 control cells, found 2"):
        KernelRidge(few)


# --- validation -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated() -> AnnData:
    return simulate_screen(n_cells=900, n_genes=60, n_programs=6, n_targets=14, n_doubles=8)


@pytest.mark.parametrize("cls", [RidgeIndicator, KernelRidge])
def test_a_tenth_is_held_out_to_choose_on(simulated: AnnData, cls: type[Baseline]):
    effects = read_effects(simulated)
    chosen = choose_validation(effects.targets, np.random.default_rng(0))
    labels = ["+".join(targets) for targets in chosen]
    by_default, given = fit(cls, simulated), fit(cls, simulated, {"validation": labels})
    assert len(labels) == 2
    assert by_default._method._kernel.settings == given._method._kernel.settings
    assert len(by_default._effects) == len(effects)
    left_out = fit(cls, simulated, {"use_refit": False})
    assert set(effects.targets) - set(left_out._effects.targets) == set(chosen)
    assert left_out._method._kernel.settings == given._method._kernel.settings


def test_where_nothing_is_chosen_nothing_is_held_out(simulated: AnnData):
    additive = fit(Additive, simulated, {"use_refit": False})
    assert len(additive._effects) == len(read_effects(simulated))


def test_validation_conditions_decide_on_the_penalty(simulated: AnnData):
    """Nothing but noise among the validation conditions asks for the largest penalty."""
    labels = sorted(label for label in set(simulated.obs["perturbation"]) if "+" in label)[:3]
    noisy = simulated.copy()
    rows = np.flatnonzero(noisy.obs["perturbation"].isin(labels))
    source = np.arange(noisy.n_obs)
    source[rows] = np.resize(np.flatnonzero(noisy.obs["perturbation"] == "control"), len(rows))
    noisy.X = noisy.X[source]
    del noisy.layers["counts"]
    as_measured = fit(RidgeIndicator, simulated, {"validation": labels})._method._kernel.settings
    as_noise = fit(RidgeIndicator, noisy, {"validation": labels})._method._kernel.settings
    assert as_noise.noise > as_measured.noise


# --- real condition means ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def norman(data_kit: Path) -> AnnData:
    adata = ad.read_h5ad(data_kit / "norman2019_resampled.h5ad")
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


TRIALS = {
    "additive_seed0": {
        Additive: (0.633, 0.64),
        RidgeIndicator: (0.677, 0.70),
        KernelRidge: (0.677, 0.70),
        NearestCondition: (0.59, 0.64),
    },
    "unseen_seed0": {
        Additive: (0.43, 0.49),
        RidgeIndicator: (0.45, 0.515),
        KernelRidge: (0.45, 0.515),
        NearestCondition: (0.35, 0.45),
    },
}


@pytest.mark.data_kit
@pytest.mark.parametrize("split", TRIALS)
def test_real_condition_means_are_predicted_as_in_trials(
    norman: AnnData, data_kit: Path, predict_effect, split: str
):
    """Apart from those of the nearest condition, the figures are those of other code."""
    held_out = json.loads((data_kit / "splits" / "norman2019_resampled.json").read_text())[split]
    train = norman[~norman.obs["perturbation"].isin(held_out["test"])].copy()
    table = load_gene_embedding(data_kit / "priors" / "gene_embedding_go_string_128.parquet")
    effects = read_effects(norman)
    test = {tuple(sorted(label.split("+"))) for label in held_out["test"]}
    real = effects.subset(np.array([group in test for group in effects.targets]))
    control = real.control_mean[0]
    for cls, (low, high) in TRIALS[split].items():
        init = {"gene_embedding": table} if issubclass(cls, EmbeddingBaseline) else {}
        baseline = fit(cls, train, {"validation": held_out["val"]}, **init)
        predicted = [control + predict_effect(baseline, *group) for group in real.targets]
        r = pearson_delta(control + real.delta, predicted, control).mean()
        assert low <= r <= high, cls.__name__

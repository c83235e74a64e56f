"""References, pairing, the ceiling and the storages of both sides."""

import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from scipy.spatial.distance import cdist
from scipy.stats import pearsonr
from sklearn.decomposition import PCA

from scbig import metrics
from scbig.data import ScreenSchema
from scbig.metrics import METRICS, Evaluator, choose_metrics

WITHOUT_TESTS = [name for name in choose_metrics("default") if name != "des"]
PERTURBED = ["pearson_delta_perturbed"]


def _get_values(evaluator, predicted, **options):
    return evaluator.score(predicted, **options)["value"].to_numpy()


def _select(adata, labels, lines="xy"):
    is_kept = adata.obs["perturbation"].isin(labels) & adata.obs["line"].isin(list(lines))
    return adata[is_kept].copy()


def test_the_reference_may_be_cells_means_a_table_or_an_array(real, predicted, cells_of):
    schema = ScreenSchema("perturbation", "control", "+")
    test = _select(real, ["control", "A+B", "B+C"], "x")
    train = _select(real, ["control", "A", "B", "C"], "x")
    means = np.array([cells_of(real, label, "x").mean(axis=0) for label in "ABC"])
    genes = pd.DataFrame(index=real.var_names)
    table = pd.DataFrame(means, index=list("ABC"), columns=real.var_names)
    table = table.iloc[:, ::-1]
    table.loc["control"] = 99.0
    obs = pd.DataFrame({"perturbation": list("ABC")}, index=list("abc"))
    references = [train, AnnData(means, obs=obs, var=genes), table, means]
    expected = metrics.pearson_delta_perturbed(
        np.array([cells_of(real, label, "x").mean(axis=0) for label in ("A+B", "B+C")]),
        np.array([cells_of(predicted, label, "x").mean(axis=0) for label in ("A+B", "B+C")]),
        means.mean(axis=0),
    )
    guess = _select(predicted, ["B+A", "C+B"], "x")
    for reference in references:
        evaluator = Evaluator(test, schema, reference=reference, metrics=PERTURBED)
        np.testing.assert_allclose(_get_values(evaluator, guess), expected, atol=1e-9)


def test_the_reference_of_a_context_is_its_own_or_moved_to_it(real, predicted, schema, cells_of):
    test = _select(real, ["control", "A+B", "B+C"])
    train = ad.concat([_select(real, ["control"]), _select(real, ["A", "C"], "x")])
    evaluator = Evaluator(test, schema, reference=train, metrics=PERTURBED)
    scores = evaluator.score(predicted)
    x = np.mean([cells_of(real, label, "x").mean(axis=0) for label in "AC"], axis=0)
    shift = x - cells_of(real, "control", "x").mean(axis=0)
    y = cells_of(real, "control", "y").mean(axis=0) + shift
    for line, reference in (("x", x), ("y", y)):
        rows = scores[scores["context"] == line]
        for label, value in zip(rows["perturbation"], rows["value"], strict=True):
            sides = [cells_of(a, label, line).mean(axis=0) - reference for a in (real, predicted)]
            assert value == pytest.approx(pearsonr(*sides)[0])


def test_a_reference_that_holds_test_conditions_is_a_warning(real, schema, caplog):
    with caplog.at_level(logging.WARNING, logger="scbig"):
        Evaluator(_select(real, ["control", "A"]), schema, reference=real, metrics=PERTURBED)
    assert "2 of the 2 conditions to score are in the reference, too, such as 'A'" in caplog.text


def test_other_cells_of_a_test_condition_may_be_the_reference(real, schema, caplog):
    other = real.copy()
    other.obs_names = [f"other_{name}" for name in real.obs_names]
    with caplog.at_level(logging.WARNING, logger="scbig"):
        Evaluator(_select(real, ["control", "A"]), schema, reference=other, metrics=PERTURBED)
    assert "in the reference, too" not in caplog.text
    caplog.clear()
    # The same gene in another line is what a split by context trains on.
    test = ad.concat([_select(real, ["control"]), _select(real, ["A"], "y")])
    Evaluator(test, schema, reference=_select(real, ["A", "B"], "x"), metrics=PERTURBED)
    assert not caplog.records


def test_cells_are_compared_in_components_of_the_training_cells(rng):
    genes = pd.DataFrame(index=[f"G{i:03d}" for i in range(80)])

    def make(labels, name):
        obs = pd.DataFrame(
            {"perturbation": labels}, index=[f"{name}{i}" for i in range(len(labels))]
        )
        return AnnData(rng.gamma(2, 0.5, (len(labels), 80)), obs=obs, var=genes)

    train = make(["control"] * 60 + ["A"] * 60, "train")
    real, predicted = make(["control"] * 20 + ["B"] * 30, "real"), make(["B"] * 40, "predicted")
    schema = ScreenSchema("perturbation", "control", None)
    evaluator = Evaluator(real, schema, reference=train, metrics=["energy_distance"])
    pca = PCA(50, svd_solver="full").fit(train.X)
    one, other = pca.transform(real.X[20:]), pca.transform(predicted.X)
    within = [cdist(p, p).sum() / (len(p) * (len(p) - 1)) for p in (one, other)]
    expected = 2 * cdist(one, other).mean() - sum(within)
    assert _get_values(evaluator, predicted)[0] == pytest.approx(expected, rel=1e-3)


def test_at_most_200_predicted_cells_are_compared(real, schema):
    schema = ScreenSchema("perturbation", "control", "+")
    test = _select(real, ["control", "A"], "x")
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"perturbation": ["A"] * 230}, index=[f"p{i:03d}" for i in range(230)])
    predicted = AnnData(rng.gamma(2, 0.5, (230, 24)), obs=obs, var=test.var)
    evaluator = Evaluator(test, schema, metrics=["energy_distance"], seed=4)
    drawn = np.random.default_rng([4, 0]).choice(np.arange(230), 200, replace=False)
    fewer = evaluator.score(predicted[drawn].copy())
    assert evaluator.score(predicted)["value"][0] == pytest.approx(fewer["value"][0], rel=1e-6)
    other = Evaluator(test, schema, metrics=["energy_distance"], seed=5).score(predicted)
    assert other["value"][0] != fewer["value"][0]


def test_pairing_takes_the_chance_of_the_controls_off(real, schema, cells_of, rng):
    controls = _select(real, ["control"], "x")
    drawn = rng.integers(0, controls.n_obs, 5)
    shift = rng.uniform(0, 1, 24)
    out = AnnData(controls.X[drawn], obs=controls.obs.iloc[drawn].copy(), var=real.var)
    out.obs["perturbation"] = "A"
    out.obs_names = [f"{i}_A" for i in range(5)]
    out.layers["mine"] = (out.X + shift).astype(np.float32)
    test = _select(real, ["control", "A"], "x")
    evaluator = Evaluator(test, schema, metrics=["mse"])
    delta = cells_of(real, "A", "x").mean(axis=0) - cells_of(real, "control", "x").mean(axis=0)
    expected = np.mean((shift - delta) ** 2)
    paired = _get_values(evaluator, out, layer="mine", is_paired=True)[0]
    assert paired == pytest.approx(expected, rel=1e-5)
    assert _get_values(evaluator, out, layer="mine")[0] != pytest.approx(expected, rel=1e-3)
    with pytest.raises(ValueError, match="Name the layer of the prediction"):
        evaluator.score(out, is_paired=True)


def test_cells_are_not_paired(real, schema):
    """Their X is the prediction, so that no effect would be left."""
    out = real.copy()
    out.layers["mine"] = real.X.copy()
    out.obs["mine_source"] = "a control cell"
    evaluator = Evaluator(real, schema, metrics=["mse"])
    for kind in ("counts", "values"):
        out.uns["mine"] = {"cells": kind}
        with pytest.raises(ValueError, match=r"layers\['mine'\] holds cells.*sampling=False"):
            evaluator.score(out, layer="mine", is_paired=True)
    out.uns["mine"] = {"cells": "expected"}
    assert len(evaluator.score(out, layer="mine", is_paired=True)) == 10


def test_measured_cells_are_no_sources(real, schema):
    annotated = real.copy()
    annotated.layers["scbig"] = real.X.copy()
    evaluator = Evaluator(real, schema, metrics=["mse"])
    with pytest.raises(ValueError, match="70 of its perturbed cells are named as measured cells"):
        evaluator.score(annotated, layer="scbig", is_paired=True)
    annotated.obs["scbig_source"] = "a control cell"
    assert len(evaluator.score(annotated, layer="scbig", is_paired=True)) == 10


def test_the_ceiling_of_two_cells_is_one_cell_against_the_other(real, schema, cells_of, value_of):
    is_kept = real.obs.groupby(["perturbation", "line"], observed=True).cumcount() < 2
    is_kept |= real.obs["perturbation"] == "control"
    # A lone cell in another condition.
    is_kept &= ~(real.obs_names == real.obs_names[real.obs["perturbation"] == "C"][1])
    pairs = real[is_kept].copy()
    ceiling = Evaluator(pairs, schema, metrics=["pearson_delta", "mse", "energy_distance"])
    scores = ceiling.score_ceiling()
    control = cells_of(real, "control", "x").mean(axis=0)
    one, other = cells_of(pairs, "A", "x") - control
    r = pearsonr(one, other)[0]
    assert value_of(scores, "pearson_delta", "A", "x") == pytest.approx(2 * r / (1 + r))
    assert value_of(scores, "mse", "A", "x") == pytest.approx(np.mean((one - other) ** 2))
    status = scores.set_index(["metric", "perturbation", "context"])["status"]
    assert status["pearson_delta", "A", "x"] == "ok: Spearman-Brown of split halves"
    assert status["mse", "A", "x"] == "ok: one half against the other"
    assert status["mse", "C", "x"] == "1 real cell: there are no halves"
    assert "at least 2 are needed" in status["energy_distance", "A", "x"]
    assert scores.loc[~scores["status"].str.startswith("ok"), "value"].isna().all()


def test_negative_agreement_is_not_stepped_up(schema):
    x = np.array([[1, 1, 1, 1], [1, 2, 3, 2], [3, 2, 1, 2]], dtype=np.float32)
    obs = pd.DataFrame({"perturbation": ["control", "A", "A"], "line": "x"}, index=list("abc"))
    real = AnnData(x, obs=obs, var=pd.DataFrame(index=list("stuv")))
    scores = Evaluator(real, schema, metrics=["pearson_delta"]).score_ceiling()
    assert scores["value"].tolist() == [pytest.approx(-1)]


@pytest.mark.parametrize("storage", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_sparse_cells_score_as_dense_ones(real, predicted, schema, storage):
    dense = Evaluator(real, schema, reference=real, metrics=WITHOUT_TESTS)
    expected = pd.concat([dense.score(predicted), dense.score_ceiling()])
    for cells in (real, predicted):
        cells.X = storage(cells.X)
    thin = Evaluator(real, schema, reference=real, metrics=WITHOUT_TESTS)
    found = pd.concat([thin.score(predicted), thin.score_ceiling()])
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6)
    assert isinstance(real.X, storage)


def test_backed_files_score_as_cells_in_memory(real, predicted, schema, tmp_path):
    expected = Evaluator(real, schema, metrics=WITHOUT_TESTS).score(predicted)
    files = []
    for name, cells in (("real", real), ("predicted", predicted)):
        cells.X = sparse.csr_matrix(cells.X)
        cells.write_h5ad(tmp_path / f"{name}.h5ad")
        files.append(ad.read_h5ad(tmp_path / f"{name}.h5ad", backed="r"))
    scores = Evaluator(files[0], schema, metrics=WITHOUT_TESTS).score(files[1])
    pd.testing.assert_frame_equal(scores, expected, rtol=1e-6)


def test_layers_and_named_genes_are_read(real, predicted):
    expected = Evaluator(
        real, ScreenSchema("perturbation", "control", "+", ("line",)), metrics=["mse"]
    ).score(predicted)
    schema = ScreenSchema("perturbation", "control", "+", ("line",), "log1p", "symbol")
    other = AnnData(np.zeros(real.shape), obs=real.obs, layers={"log1p": real.X})
    other.var["symbol"] = real.var_names.to_numpy()
    predicted.layers["mine"], predicted.X = predicted.X, np.zeros(predicted.shape)
    scores = Evaluator(other, schema, metrics=["mse"]).score(predicted, layer="mine")
    pd.testing.assert_frame_equal(scores, expected)


def test_nothing_is_written(real, predicted, schema):
    before = real.copy(), predicted.copy()
    Evaluator(real, schema, metrics=WITHOUT_TESTS).score(predicted)
    for old, new in zip(before, (real, predicted), strict=True):
        assert not new.uns
        assert list(new.obs) == list(old.obs)
        np.testing.assert_array_equal(new.X, old.X)


@pytest.mark.parametrize(
    ("name", "arrow", "rated", "best"),
    [
        ("pearson_delta", "↑", [0.2, 0.7, 0.4], 0.7),
        ("mse", "↓", [-0.2, -0.7, -0.4], 0.2),
        ("c2st_auc", "→0.5", [-0.3, -0.2, -0.1], 0.4),
        ("de_count", "", [np.nan] * 3, np.nan),
    ],
)
def test_values_are_rated_by_what_is_best(name, arrow, rated, best):
    metric, values = METRICS[name], [0.2, 0.7, 0.4]
    np.testing.assert_allclose(metric.rate(values), rated)
    np.testing.assert_equal(metric.pick_best([*values, np.nan]), best)
    assert metric.arrow == arrow


def test_the_catalogue_names_every_metric():
    needs = {name: metric.needs for name, metric in choose_metrics(None).items() if metric.needs}
    assert needs == {
        "pearson_delta_perturbed": ("reference",),
        "energy_distance": ("cells",),
        "mmd_rbf": ("cells",),
        "des": ("cells", "eval"),
    }
    assert all(getattr(metrics, name) is METRICS[name].function for name in METRICS)
    default = choose_metrics(None)
    lower = {name for name, metric in default.items() if not metric.is_higher_better}
    assert lower == {
        "mse", "mae", "mse_delta", "mae_delta", "weighted_mse", "energy_distance", "mmd_rbf",
    }  # fmt: skip
    stepped = {name for name, m in METRICS.items() if m.ceiling == "spearman_brown"}
    assert stepped == {"pearson_delta", "pearson_delta_top20", "pearson_delta_perturbed"}
    realism = choose_metrics("realism")
    calibration = choose_metrics("calibration")
    assert set(METRICS) == {*default, *realism, *calibration}
    assert {metric.needs for metric in realism.values()} == {("cells",)}
    assert {metric.needs for metric in calibration.values()} == {()}
    assert {name for name, metric in METRICS.items() if metric.best is not None} == {
        "c2st_auc", "de_count_ratio", "variance_ratio", "coverage_90", "coverage_90_top",
    }  # fmt: skip
    assert {n for n, m in METRICS.items() if m.is_higher_better is None and m.best is None} == {
        "de_count",
        "interval_width",
    }
    assert list(choose_metrics(["mse", "realism"])) == ["mse", *realism]
    with pytest.raises(TypeError):
        METRICS["mine"] = METRICS["mse"]

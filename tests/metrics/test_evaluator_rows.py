"""What cannot be scored is a row that says why; what cannot be read is an error."""

import logging

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig import _optional
from scbig.data import ScreenSchema
from scbig.metrics import Evaluator, choose_metrics, evaluate, group_reasons, summarise

WITHOUT_TESTS = [name for name in choose_metrics("default") if name != "des"]
NAMES = {"perturbation_key": "perturbation", "control": "control", "context_keys": ["line"]}


def _drop(adata: AnnData, label: str, n_left: int = 0, line: str = "x") -> AnnData:
    """Leave that many cells of a condition in a line."""
    is_own = (adata.obs["perturbation"] == label) & (adata.obs["line"] == line)
    dropped = np.flatnonzero(is_own)[n_left:]
    return adata[np.setdiff1d(np.arange(adata.n_obs), dropped)].copy()


def _get_status(scores, metric, label, line="x"):
    rows = scores.query("metric == @metric and perturbation == @label and context == @line")
    [status] = rows["status"]
    assert np.isnan(rows["value"]).all() == (not status.startswith("ok"))
    return status


def test_a_condition_that_is_not_predicted_is_a_row_and_a_rival(real, predicted, schema):
    evaluator = Evaluator(real, schema, reference=real.X[:3], metrics=WITHOUT_TESTS)
    whole = evaluator.score(predicted)
    scores = evaluator.score(_drop(predicted, "C+B"))
    is_absent = (scores["perturbation"] == "B+C") & (scores["context"] == "x")
    assert scores.loc[is_absent, "value"].isna().all()
    assert scores.loc[is_absent, "status"].str.startswith("not predicted: ").all()
    # The others are ranked among all five conditions as before.
    pd.testing.assert_frame_equal(scores[~is_absent], whole[~is_absent])


def test_a_single_real_cell_has_means_but_no_spread(real, predicted):
    scores = evaluate(_drop(real, "A", 1), predicted, **NAMES, metrics=WITHOUT_TESTS)
    assert _get_status(scores, "mse", "A") == "ok"
    assert _get_status(scores, "pds_l1", "A") == "ok"
    for metric in ("weighted_mse", "weighted_r2_delta"):
        assert _get_status(scores, metric, "A").startswith("1 real cell: weights")
    for metric in ("energy_distance", "mmd_rbf"):
        assert "real has 1 cells; at least 2" in _get_status(scores, metric, "A")
        assert _get_status(scores, metric, "A", "y") == "ok"


def test_a_single_predicted_cell_has_a_mean_but_no_spread(real, predicted):
    scores = evaluate(real, _drop(predicted, "A", 1), **NAMES, metrics=WITHOUT_TESTS)
    assert _get_status(scores, "pearson_delta", "A") == "ok"
    assert "predicted has 1 cells" in _get_status(scores, "energy_distance", "A")


def test_a_single_condition_is_not_ranked(real, predicted):
    alone = real[real.obs["perturbation"].isin(["A", "control"])].copy()
    scores = evaluate(alone, predicted, **NAMES, metrics=WITHOUT_TESTS)
    assert set(scores["perturbation"]) == {"A"}
    assert "there is only one" in _get_status(scores, "centroid_accuracy", "A")
    assert _get_status(scores, "weighted_mse", "A").startswith("no other condition")
    assert _get_status(scores, "mse", "A") == "ok"


def test_a_condition_that_perturbs_every_gene_is_not_ranked(real, predicted):
    real, predicted = real[:, ["A", "B"]].copy(), predicted[:, ["A", "B"]].copy()
    scores = evaluate(real, predicted, **NAMES, metrics=["pds_l1", "mse"])
    assert _get_status(scores, "pds_l1", "A+B").startswith("this condition perturbs every gene")
    assert _get_status(scores, "pds_l1", "A") == "ok"
    assert _get_status(scores, "mse", "A+B") == "ok"


def test_without_a_reference_the_metric_that_needs_it_says_so(real, predicted):
    scores = evaluate(real, predicted, **NAMES, metrics=["pearson_delta_perturbed", "mse"])
    assert _get_status(scores, "pearson_delta_perturbed", "A").startswith("needs reference=")
    assert _get_status(scores, "mse", "A") == "ok"


def test_too_few_genes_for_the_top_are_said_in_each_row(real, predicted):
    real, predicted = real[:, :10].copy(), predicted[:, :10].copy()
    scores = evaluate(real, predicted, **NAMES, metrics=["pearson_delta_top20", "mse"])
    assert "n_top=20" in _get_status(scores, "pearson_delta_top20", "B+C")


def test_without_cell_eval_the_row_says_how_to_install_it(real, predicted, monkeypatch):
    def refuse(module):
        raise ModuleNotFoundError(name=module)

    monkeypatch.setattr(_optional, "import_module", refuse)
    scores = evaluate(real, predicted, **NAMES)
    assert "pip install 'scbig-perturb[eval]'" in _get_status(scores, "des", "A")
    assert (scores["metric"] == "des").sum() == 10
    assert _get_status(scores, "mse", "A") == "ok"


def test_differential_expression_is_that_of_cell_eval(real, predicted, schema):
    pytest.importorskip("cell_eval")
    evaluator = Evaluator(real, schema, metrics=["des"])
    scores = evaluator.score(_drop(real, "A"))
    assert _get_status(scores, "des", "A").startswith("not predicted")
    rest = scores[scores["status"] == "ok"]
    assert len(rest) == 9
    # Predicting the cells themselves recovers every gene, where there are any.
    assert set(rest["value"]) <= {0.0, 1.0}
    assert rest["value"].max() == 1.0


def test_extra_predictions_are_ignored_and_logged(real, predicted, caplog):
    fewer = real[real.obs["perturbation"] != "B+C"].copy()
    with caplog.at_level(logging.INFO, logger="scbig"):
        scores = evaluate(fewer, predicted, **NAMES, metrics=["mse"])
    assert "2 predicted conditions that real has not are ignored" in caplog.text
    assert "C+B (x)" in caplog.text
    assert "B+C" not in set(scores["perturbation"])


def test_genes_are_matched_by_name(real, predicted, caplog, rng):
    metric = ["mse", "energy_distance"]
    expected = evaluate(real, predicted, **NAMES, metrics=metric)
    wider = predicted[:, rng.permutation(24)].copy()
    wider = AnnData(
        np.hstack([wider.X, np.ones((wider.n_obs, 1), np.float32)]),
        obs=wider.obs,
        var=pd.DataFrame(index=[*wider.var_names, "MORE"]),
    )
    with caplog.at_level(logging.INFO, logger="scbig"):
        scores = evaluate(real, wider, **NAMES, metrics=metric)
    np.testing.assert_allclose(scores["value"], expected["value"])
    assert "1 further genes of predicted are left out" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a[:, 2:], r"predicted lacks 2 of the 24 genes of real: \['A', 'B'\]"),
        (lambda a: a[a.obs["perturbation"] == "D"], "X is of shape"),
    ],
)
def test_predicted_cells_that_do_not_fit_are_refused(real, predicted, spoil, message):
    with pytest.raises(ValueError, match=message):
        evaluate(real, spoil(predicted).copy(), **NAMES, metrics=["mse"])


@pytest.mark.parametrize("side", ["real", "predicted"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda x: np.where(x > 1, np.nan, x), "NaN and 0 infinite"),
        (lambda x: np.round(30 * x), "X holds raw counts"),
        (lambda x: x - 2, "Negative values"),
    ],
)
def test_expression_that_is_not_log1p_is_refused(real, predicted, side, values, message):
    spoiled = {"real": real, "predicted": predicted}
    spoiled[side].X = values(spoiled[side].X).astype(np.float32)
    with pytest.raises(ValueError, match=f"{side}: .*{message}"):
        evaluate(**spoiled, **NAMES, metrics=["mse"])


@pytest.mark.parametrize("side", ["real", "predicted"])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("scale", [3, 30])
def test_rows_in_counts_are_refused_however_few(real, predicted, side, share, scale):
    spoiled = {"real": real, "predicted": predicted}
    cells = spoiled[side]
    n_counts = max(1, int(share * cells.n_obs))
    cells.X[-n_counts:] = np.round(scale * cells.X[-n_counts:])
    named = f"{n_counts} of {cells.n_obs} cells .*, such as {cells.obs_names[-n_counts]}:"
    if share == 1.0:
        # Whole pieces are named as such.
        named = "integers"
    with pytest.raises(ValueError, match=rf"{side}: X holds raw counts.*{named}.*sc.pp.log1p"):
        evaluate(**spoiled, **NAMES, metrics=["mse"])


@pytest.mark.parametrize("side", ["real", "predicted"])
def test_values_that_no_log1p_value_reaches_are_refused(real, predicted, side):
    spoiled = {"real": real, "predicted": predicted}
    spoiled[side].X[3] = np.expm1(2 * spoiled[side].X[3]) + 0.1
    spoiled[side].X[3, 5] = 20.5
    n, name = spoiled[side].n_obs, spoiled[side].obs_names[3]
    message = rf"{side}: X reaches .* 1 of {n} cells .*, such as {name}. Normalise them: sc.pp"
    with pytest.raises(ValueError, match=message):
        evaluate(**spoiled, **NAMES, metrics=["mse"])


def test_missing_columns_layers_and_labels_are_errors(real, predicted, schema):
    evaluator = Evaluator(real, schema, metrics=["mse"])
    with pytest.raises(ValueError, match=r"predicted has no column obs\['line'\].*Columns found"):
        evaluator.score(AnnData(predicted.X, predicted.obs[["perturbation"]], predicted.var))
    with pytest.raises(ValueError, match=r"predicted has no layer 'scbig'. Layers found: \[\]"):
        evaluator.score(predicted, layer="scbig")
    other = predicted.copy()
    other.obs["perturbation"] = "Z"
    with pytest.raises(ValueError, match="none of the 10 conditions of real"):
        evaluator.score(other)
    other.obs["perturbation"] = None
    with pytest.raises(ValueError, match=r"predicted: obs\['perturbation'\] is missing for 48"):
        evaluator.score(other)


def test_a_real_side_without_what_scores_need_is_an_error(real, predicted, schema):
    is_control = real.obs["perturbation"] == "control"
    with pytest.raises(ValueError, match="real has no perturbed cells"):
        Evaluator(real[is_control].copy(), schema)
    with pytest.raises(ValueError, match=r"1 context\(s\) with perturbed cells but no controls"):
        Evaluator(real[~is_control | (real.obs["line"] == "x")].copy(), schema)
    with pytest.raises(ValueError, match=r"no metrics \['r2'\]. Choose from \['pearson_delta'"):
        Evaluator(real, schema, metrics=["r2"])
    with pytest.raises(ValueError, match="No metric is named"):
        Evaluator(real, schema, metrics=[])


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (np.ones((3, 5)), r"reference has shape \(3, 5\); expected training conditions x 24"),
        (np.full((3, 24), np.nan), "reference holds 72 values that are not finite"),
        (pd.DataFrame(np.ones((2, 23))), "reference lacks 24 of the 24 genes"),
    ],
)
def test_a_reference_that_does_not_fit_is_an_error(real, schema, reference, message):
    with pytest.raises(ValueError, match=message):
        Evaluator(real, schema, reference=reference)


def test_controls_alone_are_no_reference(real, schema):
    controls = real[real.obs["perturbation"] == "control"].copy()
    with pytest.raises(ValueError, match="reference has no perturbed cells"):
        Evaluator(real, schema, reference=controls)


def test_means_over_conditions_count_what_failed(real, predicted):
    scores = evaluate(real, _drop(predicted, "A"), **NAMES, metrics=["mse", "pds_l1"])
    table = summarise(scores)
    assert list(table) == ["metric", "mean", "n", "n_failed"]
    assert table["metric"].tolist() == ["mse", "pds_l1"]
    assert table["n"].tolist() == [9, 9]
    assert table["n_failed"].tolist() == [1, 1]
    values = scores.loc[scores["metric"] == "mse", "value"].dropna()
    assert table["mean"][0] == pytest.approx(values.sum() / 9)
    both = pd.concat([scores.assign(predictor=name) for name in "ba"])
    assert summarise(both)["predictor"].tolist() == ["b", "b", "a", "a"]
    with pytest.raises(ValueError, match=r"lacks the columns \['value'\]"):
        summarise(scores.drop(columns="value"))


def test_rows_of_a_failed_predictor(real, schema):
    rows = Evaluator(real, schema, metrics=["mse"]).get_failed("out of memory")
    assert rows["value"].isna().all()
    assert set(rows["status"]) == {"out of memory"}
    assert len(rows) == 10


def test_labels_are_those_of_the_real_cells():
    obs = pd.DataFrame({"condition": ["B+ctrl", "C+A", "ctrl", "B+ctrl", "C+A", "ctrl"]})
    obs.index = [f"c{i}" for i in range(6)]
    x = np.random.default_rng(0).gamma(2, 0.5, (6, 30))
    real = AnnData(x, obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(30)]))
    predicted = real.copy()
    predicted.obs["condition"] = ["B", "A+C", "ctrl", "ctrl+B", "C+A", "ctrl"]
    scores = Evaluator(real, ScreenSchema("condition", "ctrl", "+"), metrics=["mse"]).score(
        predicted
    )
    assert scores["perturbation"].tolist() == ["B+ctrl", "C+A"]
    np.testing.assert_allclose(scores["value"], 0, atol=1e-15)


def test_integers_are_log1p_values_where_the_user_says_so(real, predicted, schema):
    whole = [cells.copy() for cells in (real, predicted)]
    for cells in whole:
        cells.X = np.rint(cells.X)
    with pytest.raises(ValueError, match="raw counts"):
        Evaluator(whole[0], schema, metrics=["mse"])
    evaluator = Evaluator(whole[0], schema, reference=whole[0], metrics=["mse"], is_log1p=True)
    assert evaluator.score(whole[1])["status"].eq("ok").all()


def test_reasons_that_differ_in_numbers_are_one():
    statuses = pd.Series(["2 cells", "no effect", "13 cells", "length 1.5e-3", "length 1.5e-3"])
    assert group_reasons(statuses).tolist() == [
        "such as: 2 cells", "no effect", "such as: 2 cells", "length 1.5e-3", "length 1.5e-3",
    ]  # fmt: skip

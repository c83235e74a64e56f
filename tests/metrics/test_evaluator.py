"""The evaluator against the same numbers worked out cell by cell."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings, strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import pearsonr

from scbig import metrics
from scbig.data import ScreenSchema
from scbig.metrics import METRICS, Evaluator, choose_metrics, evaluate

CONDITIONS = ["A", "B", "C", "A+B", "B+C"]
WITHOUT_TESTS = [name for name in choose_metrics("default") if name != "des"]
NAMES = {"perturbation_key": "perturbation", "control": "control", "context_keys": ["line"]}
REFERENCE = np.random.default_rng(11).uniform(0.5, 2.5, (4, 24))


@pytest.fixture
def scores(real, predicted):
    return evaluate(real, predicted, **NAMES, reference=REFERENCE, metrics=WITHOUT_TESTS)


def _mean_within(points):
    return cdist(points, points).sum() / (len(points) * (len(points) - 1))


def test_every_condition_context_and_metric_is_a_row(scores):
    assert list(scores) == ["perturbation", "context", "metric", "value", "status"]
    assert len(scores) == len(CONDITIONS) * 2 * len(WITHOUT_TESTS)
    assert not scores.duplicated(["perturbation", "context", "metric"]).any()
    assert (scores["status"] == "ok").all()
    assert np.isfinite(scores["value"]).all()


@pytest.mark.parametrize("line", ["x", "y"])
@pytest.mark.parametrize("label", CONDITIONS)
def test_metrics_of_one_condition_are_those_of_its_cells(
    label, line, real, predicted, scores, cells_of, value_of
):
    one, other = cells_of(real, label, line), cells_of(predicted, label, line)
    control = cells_of(real, "control", line).mean(axis=0)
    delta, guess = one.mean(axis=0) - control, other.mean(axis=0) - control
    top = np.argsort(-np.abs(delta))[:20]
    unshifted = one.mean(axis=0) - REFERENCE.mean(axis=0), other.mean(axis=0) - REFERENCE.mean(0)
    expected = {
        "pearson_delta": pearsonr(delta, guess)[0],
        "pearson_delta_top20": pearsonr(delta[top], guess[top])[0],
        "pearson_delta_perturbed": pearsonr(*unshifted)[0],
        "direction_accuracy": np.mean((delta > 0) == (guess > 0)),
        "direction_accuracy_top20": np.mean((delta > 0)[top] == (guess > 0)[top]),
        "mse": np.mean((delta - guess) ** 2),
        "mae_delta": np.mean(np.abs(delta - guess)),
        # All components of 24 genes are a rotation: distances are those of the genes.
        "energy_distance": 2 * cdist(one, other).mean() - _mean_within(one) - _mean_within(other),
    }
    for metric, number in expected.items():
        assert value_of(scores, metric, label, line) == pytest.approx(number, abs=1e-5), metric


def test_cells_are_compared_by_the_pure_function(real, predicted, scores, cells_of, value_of):
    one, other = cells_of(real, "A+B", "x"), cells_of(predicted, "A+B", "x")
    expected = metrics.mmd_rbf(one, other)
    assert value_of(scores, "mmd_rbf", "A+B", "x") == pytest.approx(expected, abs=1e-5)


def test_ranks_are_among_the_conditions_of_the_context(
    real, predicted, scores, cells_of, value_of
):
    for line in "xy":
        control = cells_of(real, "control", line).mean(axis=0)
        effects = {c: cells_of(real, c, line).mean(axis=0) - control for c in CONDITIONS}
        for label in CONDITIONS:
            guess = cells_of(predicted, label, line).mean(axis=0) - control
            kept = ~np.isin(real.var_names, label.split("+"))
            far = {c: np.abs(guess - e)[kept].sum() for c, e in effects.items()}
            rank = sorted(CONDITIONS, key=far.get).index(label)
            assert value_of(scores, "pds_l1", label, line) == pytest.approx(1 - rank / 5)
            assert value_of(scores, "pds_published", label, line) == pytest.approx(1 - rank / 4)
            near = {c: np.linalg.norm(guess - e) for c, e in effects.items()}
            rank = sorted(CONDITIONS, key=near.get).index(label)
            assert value_of(scores, "centroid_accuracy", label, line) == pytest.approx(
                1 - rank / 4
            )
    assert scores.query("metric == 'pds_l1'")["value"].min() < 1


def test_weights_are_those_of_the_cells_of_the_context(
    real, predicted, scores, cells_of, value_of
):
    for line in "xy":
        cells = {c: cells_of(real, c, line) for c in CONDITIONS}
        labels = np.repeat(CONDITIONS, [len(x) for x in cells.values()])
        t_scores = metrics.compute_t_scores(
            np.concatenate(list(cells.values())), labels, CONDITIONS
        )
        weights = metrics.get_gene_weights(t_scores)
        for i, label in enumerate(CONDITIONS):
            error = (cells_of(predicted, label, line).mean(0) - cells[label].mean(0)) ** 2
            expected = (weights[i] * error).sum() / weights[i].sum()
            assert value_of(scores, "weighted_mse", label, line) == pytest.approx(expected)


def test_a_context_scores_as_it_does_alone(real, predicted, scores):
    one = evaluate(
        real[real.obs["line"] == "y"].copy(),
        predicted[predicted.obs["line"] == "y"].copy(),
        perturbation_key="perturbation",
        control="control",
        reference=REFERENCE,
        metrics=WITHOUT_TESTS,
    )
    both = scores[scores["context"] == "y"].reset_index(drop=True)
    # Components differ, but all 24 of them are the whole space.
    np.testing.assert_allclose(one["value"], both["value"], atol=1e-5)
    assert set(one["context"]) == {"all"}


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_order_of_cells_and_genes_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    genes = [f"G{i}" for i in range(60)]

    def make(n_cells, name):
        obs = pd.DataFrame({"perturbation": rng.choice(["G1", "G2", "control"], n_cells)})
        obs.index = [f"{name}{i}" for i in range(n_cells)]
        x = rng.gamma(2, 0.5, (n_cells, 60)).astype(np.float32)
        return AnnData(x, obs=obs, var=pd.DataFrame(index=genes))

    real, predicted = make(150, "r"), make(700, "p")
    schema = ScreenSchema("perturbation", "control", "+")
    tables = []
    for order in (np.arange, rng.permutation):
        # More than 200 predicted cells of each condition: some are drawn.
        one = real[order(150), order(60)].copy()
        other = predicted[order(700), order(60)].copy()
        evaluator = Evaluator(one, schema, reference=one, metrics=WITHOUT_TESTS)
        tables.append(pd.concat([evaluator.score(other), evaluator.score_ceiling()]))
    np.testing.assert_allclose(tables[0]["value"], tables[1]["value"], atol=1e-6)
    assert tables[0]["status"].str.startswith("ok").all()


def test_a_perfect_prediction_scores_best(real, schema):
    evaluator = Evaluator(real, schema, reference=REFERENCE, metrics=WITHOUT_TESTS)
    values = evaluator.score(real).set_index("metric")["value"]
    for name in WITHOUT_TESTS:
        if METRICS[name].level == "means":
            best = 1.0 if METRICS[name].is_higher_better else 0.0
            np.testing.assert_allclose(values[name], best, atol=1e-12, err_msg=name)
        else:  # unbiased: two samples are 0 on average, one sample twice is below
            assert (values[name] < 0).all()
    other = real.copy()
    other.obs["perturbation"] = other.obs["perturbation"].replace({"A": "B", "B": "A"})
    worse = evaluator.score(other).set_index("metric")["value"]
    for name in WITHOUT_TESTS:
        sign = 1 if METRICS[name].is_higher_better else -1
        assert sign * worse[name].mean() < sign * values[name].mean(), name


def test_no_change_scores_what_the_definitions_say(real, schema):
    controls = real[real.obs["perturbation"] == "control"]
    parts = []
    for label in CONDITIONS:
        part = controls.copy()
        part.obs["perturbation"] = label
        part.obs_names = [f"{label}_{name}" for name in part.obs_names]
        parts.append(part)
    wanted = ["pearson_delta", "direction_accuracy", "mse", "pds_cosine"]
    scores = Evaluator(real, schema, metrics=wanted).score(ad.concat(parts))
    means = metrics.summarise(scores).set_index("metric")["mean"]
    assert means["pearson_delta"] == 0
    assert means["direction_accuracy"] == 0
    assert means["pds_cosine"] == pytest.approx(1 - 2 / 5)
    assert means["mse"] > 0.1


@pytest.mark.data_kit
def test_whole_files_score_as_in_cell_eval(data_kit):
    folder = data_kit / "parity"
    real, predicted = (ad.read_h5ad(folder / f"{name}_lognorm.h5ad") for name in ("real", "pred"))
    columns = {"pds_l1": "l1", "pds_l2": "l2", "pds_cosine": "cosine"}
    columns = {name: f"discrimination_score_{suffix}" for name, suffix in columns.items()}
    columns |= {name: name for name in ("pearson_delta", "mse", "mae", "mse_delta", "mae_delta")}
    scores = evaluate(
        real,
        predicted,
        perturbation_key="target",
        control="non-targeting",
        separator="",
        metrics=list(columns),
    )
    table = pd.read_csv(folder / "cell_eval_0.8.2" / "results.csv", index_col="perturbation")
    found = scores.pivot_table(index="perturbation", columns="metric", values="value")
    assert len(found) == len(table) > 10
    for name, column in columns.items():
        expected = table.loc[found.index, column]
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-6, err_msg=name)


def test_another_measurement_is_taken_to_its_own_controls(real, schema, cells_of):
    # Another batch, in the other order, with half of the cells.
    other = real[::-2].copy()
    other.X = other.X * np.float32(0.9) + np.float32(0.5)
    evaluator = Evaluator(real, schema, metrics=["mse"])
    scores = evaluator.score(other, controls=other)
    values = scores.set_index(["perturbation", "context"])["value"]
    for label, line in values.index:
        effects = [
            np.subtract(*(cells_of(cells, name, line).mean(0) for name in (label, "control")))
            for cells in (real, other)
        ]
        expected = np.square(effects[0] - effects[1]).mean()
        assert values[label, line] == pytest.approx(expected, rel=1e-4)
    is_gone = (other.obs["perturbation"] == "control") & (other.obs["line"] == "y")
    with pytest.raises(ValueError, match="no cell labelled 'control' in 1 of 2 contexts"):
        evaluator.score(other, controls=other[~is_gone].copy())

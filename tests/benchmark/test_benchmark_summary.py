"""Means by split and kind with intervals, and differences to the best floor."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scbig.benchmark import compare, find_best_floors, summarise
from scbig.benchmark._summary import bootstrap_means

HIGHER = {"pearson_delta": True, "mse": False}
FLOORS = ("low", "high")


def get_mean(table: pd.DataFrame, **where: object) -> float:
    for name, value in where.items():
        table = table[table[name] == value]
    [value] = table["mean"]
    return value


def select(scores: pd.DataFrame, **where: object) -> np.ndarray:
    for name, value in where.items():
        scores = scores[scores[name] == value]
    return scores["value"].to_numpy()


def test_means_are_plain_means(scores: pd.DataFrame):
    summary = summarise(scores, n_resamples=20)
    one = {"predictor": "model", "metric": "mse"}
    assert get_mean(summary, split="pooled", kind="all", **one) == pytest.approx(
        select(scores, **one).mean()
    )
    assert get_mean(summary, split="first", kind="seen1", **one) == pytest.approx(
        select(scores, split="first", kind="seen1", **one).mean()
    )
    assert summary["split"].unique().tolist() == ["pooled", "first", "second"]
    assert summary["kind"].unique().tolist() == ["all", "unseen_single", "seen0", "seen1"]
    pooled = summary[(summary["split"] == "pooled") & (summary["kind"] == "all")]
    assert set(pooled["n"]) == {16}
    assert set(pooled["n_conditions"]) == {4}
    assert (pooled["low"] <= pooled["mean"]).all()
    assert (pooled["mean"] <= pooled["high"]).all()


def test_one_kind_is_not_told_apart(scores: pd.DataFrame):
    summary = summarise(scores[scores["kind"] == "unseen_single"], n_resamples=20)
    assert summary["kind"].unique().tolist() == ["all"]


def test_missing_values_are_counted_and_a_failed_predictor_stays(scores: pd.DataFrame):
    is_gone = (scores["predictor"] == "model") & (scores["split"] == "first")
    holed = scores.assign(value=scores["value"].mask(is_gone))
    summary = summarise(holed, n_resamples=20)
    row = summary[(summary["predictor"] == "model") & (summary["kind"] == "all")]
    row = row[row["metric"] == "mse"].set_index("split")
    assert row["n_failed"].to_dict() == {"pooled": 8, "first": 8, "second": 0}
    assert row["n"].to_dict() == {"pooled": 8, "first": 0, "second": 8}
    assert np.isnan(row.loc["first", "mean"])


def test_the_best_floor_follows_the_direction_of_the_metric(scores: pd.DataFrame):
    best = find_best_floors(summarise(scores, n_resamples=20), FLOORS, HIGHER)
    assert set(best["floor"]) == {"high"}
    turned = find_best_floors(
        summarise(scores, n_resamples=20), FLOORS, {"pearson_delta": False, "mse": True}
    )
    assert set(turned["floor"]) == {"low"}
    assert len(best) == 2 * 4  # metrics x kinds, all kinds together being one


def test_differences_are_paired(scores: pd.DataFrame):
    best = find_best_floors(summarise(scores, n_resamples=20), FLOORS, HIGHER)
    table = compare(scores, best, HIGHER, n_resamples=200)
    assert set(table["predictor"]) == {"low", "model"}
    rows = table[(table["split"] == "pooled") & (table["kind"] == "all")]
    rows = rows.set_index(["predictor", "metric"])
    expected = (
        select(scores, predictor="model", metric="mse")
        - select(scores, predictor="high", metric="mse")
    ).mean()
    assert rows.loc[("model", "mse"), "difference"] == pytest.approx(expected)
    assert rows["verdict"].to_dict() == {
        ("low", "mse"): "worse",
        ("low", "pearson_delta"): "worse",
        ("model", "mse"): "better",
        ("model", "pearson_delta"): "better",
    }


def test_only_what_both_have_is_compared(scores: pd.DataFrame):
    best = find_best_floors(summarise(scores, n_resamples=20), FLOORS, HIGHER)
    is_gone = (scores["predictor"] == "high") & (scores["perturbation"] == "A")
    table = compare(scores.assign(value=scores["value"].mask(is_gone)), best, HIGHER)
    assert table["n_conditions"].max() == 3


def test_a_zero_difference_is_level(scores: pd.DataFrame):
    best = find_best_floors(summarise(scores, n_resamples=20), FLOORS, HIGHER)
    same = scores[scores["predictor"] == "high"].assign(predictor="model")
    table = compare(
        pd.concat([scores[scores["predictor"] != "model"], same]), best, HIGHER, n_resamples=50
    )
    assert set(table.loc[table["predictor"] == "model", "verdict"]) == {"level"}


def test_without_floors_there_is_nothing_to_compare(scores: pd.DataFrame):
    best = find_best_floors(summarise(scores, n_resamples=20), (), HIGHER)
    assert (len(best), len(compare(scores, best, HIGHER))) == (0, 0)


def test_means_are_those_of_numpy(rng: np.random.Generator):
    values = pd.DataFrame(rng.normal(size=(30, 2)), columns=["a", "b"])
    values.iloc[3, 0] = np.nan
    conditions = pd.Series(np.repeat(np.arange(10), 3))
    found = bootstrap_means(values, conditions, n_resamples=20)
    np.testing.assert_allclose(found.mean, np.nanmean(values, axis=0))
    assert found.n_values.tolist() == [29, 30]
    assert found.n_conditions.tolist() == [10, 10]


def test_interval_is_that_of_scipy(rng: np.random.Generator):
    values = rng.normal(size=60)
    found = bootstrap_means(
        pd.DataFrame({"a": values}), pd.Series(np.arange(60)), n_resamples=20000
    )
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20000
    ).confidence_interval
    np.testing.assert_allclose([found.low[0], found.high[0]], expected, atol=0.01)


def test_conditions_are_drawn_with_all_their_rows(rng: np.random.Generator):
    values = rng.normal(size=40)
    once = bootstrap_means(pd.DataFrame({"a": values}), pd.Series(np.arange(40)), n_resamples=500)
    thrice = bootstrap_means(
        pd.DataFrame({"a": np.repeat(values, 3)}),
        pd.Series(np.repeat(np.arange(40), 3)),
        n_resamples=500,
    )
    np.testing.assert_allclose([thrice.low, thrice.high], [once.low, once.high])
    assert (once.n_values[0], thrice.n_values[0], thrice.n_conditions[0]) == (40, 120, 40)


def test_one_condition_has_no_interval_and_none_has_no_mean():
    values = pd.DataFrame({"a": [1.0, 3.0, np.nan], "b": [np.nan] * 3})
    found = bootstrap_means(values, pd.Series(["p", "p", "q"]), n_resamples=50)
    np.testing.assert_allclose(found.mean, [2.0, np.nan])
    assert np.isnan([found.low, found.high]).all()
    assert found.n_conditions.tolist() == [1, 0]


def test_same_seed_same_interval(rng: np.random.Generator):
    values = pd.DataFrame({"a": rng.normal(size=9)})
    runs = [bootstrap_means(values, pd.Series(range(9)), n_resamples=30) for _ in range(2)]
    assert (runs[0].low, runs[0].high) == (runs[1].low, runs[1].high)
    other = bootstrap_means(values, pd.Series(range(9)), n_resamples=30, seed=1)
    assert other.low != runs[0].low

"""Means by split and kind with intervals, and differences to the best floor."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scbig.benchmark import compare, find_best_floors, summarise
from scbig.benchmark._summary import bootstrap_means

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
    best = find_best_floors(scores, FLOORS)
    assert set(best["floor"]) == {"high"}
    turned = scores.assign(metric=scores["metric"].map({"pearson_delta": "mae", "mse": "pds_l1"}))
    assert set(find_best_floors(turned, FLOORS)["floor"]) == {"low"}
    assert len(best) == 2 * 4  # metrics x kinds, all kinds together being one


@pytest.fixture
def around_best(scores: pd.DataFrame) -> pd.DataFrame:
    """The floor `low` is 1 on average and never near it, `high` is always 1.2, the model 1.1."""
    rows = scores[scores["metric"] == "mse"].assign(metric="variance_ratio")
    swing = np.where(np.arange(len(rows)) % 2, 0.0, 2.0)
    values = {"low": swing, "high": np.full(len(rows), 1.2), "model": np.full(len(rows), 1.1)}
    is_of = {name: (rows["predictor"] == name).to_numpy() for name in values}
    return rows.assign(value=np.select(list(is_of.values()), list(values.values()), 1.0))


def test_a_best_value_is_missed_on_either_side(around_best: pd.DataFrame):
    best = find_best_floors(around_best, FLOORS)
    assert set(best["floor"]) == {"high"}
    table = compare(around_best, best, n_resamples=50)
    rows = table[(table["split"] == "pooled") & (table["kind"] == "all")].set_index("predictor")
    assert rows["verdict"].to_dict() == {"low": "worse", "model": "better"}
    np.testing.assert_allclose(rows.loc[["low", "model"], "difference"], [0.8, -0.1])


def test_what_only_describes_has_no_best_floor(around_best: pd.DataFrame):
    described = around_best.assign(metric="de_count")
    best = find_best_floors(described, FLOORS)
    assert (len(best), len(compare(described, best))) == (0, 0)


def test_differences_are_paired(scores: pd.DataFrame):
    best = find_best_floors(scores, FLOORS)
    table = compare(scores, best, n_resamples=200)
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
    best = find_best_floors(scores, FLOORS)
    is_gone = (scores["predictor"] == "high") & (scores["perturbation"] == "A")
    table = compare(scores.assign(value=scores["value"].mask(is_gone)), best)
    assert table["n_conditions"].max() == 3


def test_a_zero_difference_is_level(scores: pd.DataFrame):
    best = find_best_floors(scores, FLOORS)
    same = scores[scores["predictor"] == "high"].assign(predictor="model")
    table = compare(
        pd.concat([scores[scores["predictor"] != "model"], same]), best, n_resamples=50
    )
    assert set(table.loc[table["predictor"] == "model", "verdict"]) == {"level"}


def test_without_floors_there_is_nothing_to_compare(scores: pd.DataFrame):
    best = find_best_floors(scores, ())
    assert (len(best), len(compare(scores, best))) == (0, 0)


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

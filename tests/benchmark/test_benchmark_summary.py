"""Means by split and kind, and differences to the best floor."""

import numpy as np
import pandas as pd
import pytest

from scbig.benchmark import compare, find_best_floors, summarise

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

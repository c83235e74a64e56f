"""The report: one page that needs nothing beside itself, and says what the tables say."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from scbig.benchmark import BenchmarkSettings, PredictorSpec, compare, find_best_floors, summarise
from scbig.benchmark._folder import Config, make_config
from scbig.benchmark._report import (
    average_conditions,
    describe_verdicts,
    find_extremes,
    list_problems,
    make_report,
)
from scbig.benchmark._report_displays import count_decimals, format_number
from scbig.splits import Split

HIGHER = {"pearson_delta": True, "mse": False}
FLOORS = ("low", "high")
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Collects what a page links to, and checks that its elements are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def make_page(scores: pd.DataFrame, config: Config) -> str:
    floors = [name for name, values in config.predictors.items() if values["is_floor"]]
    summary = summarise(scores, n_resamples=50)
    best = find_best_floors(scores, floors)
    return make_report(scores, summary, compare(scores, best, n_resamples=50), config)


@pytest.fixture
def config(shift_class: type) -> Config:
    specs = [PredictorSpec(name, shift_class, is_floor=name in FLOORS) for name in FLOORS]
    specs.append(PredictorSpec("model", shift_class))
    splits = [Split(name, "unseen", 0, (("A",),)) for name in ("first", "second")]
    screen = {"n_cells": 1234, "n_genes": 56}
    settings = BenchmarkSettings(command="scbig benchmark <screen>.h5ad").resolve({"unseen"})
    return make_config(screen, {}, splits, specs, settings)


def test_the_page_needs_nothing_beside_itself(scores: pd.DataFrame, config: Config):
    text = make_page(scores, config)
    page = Page(text)
    assert page.open == []
    assert len(page.links) == 2
    assert all(link.startswith("data:image/svg+xml;base64,") for link in page.links)
    assert not re.search(r"<script|<link|@import|url\(|https?://", text)


def test_the_page_says_what_the_tables_say(scores: pd.DataFrame, config: Config):
    text = make_page(scores, config)
    mean = scores[(scores["predictor"] == "model") & (scores["metric"] == "mse")]["value"].mean()
    assert f"<b>{mean:.3f}</b>" in text
    assert "<b>model</b> beats high, the best floor: +0.1" in text
    assert "Against the best floor of each of 2 metrics: beats on 2." not in text
    assert "metrics: better on 2." in text
    assert "4 held-out conditions in 2 splits." in text
    assert "1,234 cells × 56 genes · 3 predictors · 2 splits" in text
    assert "scbig benchmark &lt;screen&gt;.h5ad" in text
    texts = Page(text).texts
    assert {"pearson_delta ↑", "mse ↓", "pearson_delta, split by split"} <= set(texts)
    assert "Only unseen single (2)" in texts


def test_the_page_says_whether_cells_were_looked_at(scores: pd.DataFrame, config: Config):
    invitation = "--metrics default,realism"
    texts = Page(make_page(scores, config)).texts
    assert (invitation in texts, "cells" in texts) == (True, False)
    realism = scores[scores["metric"] == "mse"].assign(metric="c2st_auc")
    texts = Page(make_page(pd.concat([scores, realism]), config)).texts
    assert (invitation in texts, "cells" in texts) == (False, True)
    assert "c2st_auc →0.5" in texts


def test_names_are_escaped(scores: pd.DataFrame, config: Config):
    named = scores.replace({"perturbation": {"A": "<script>A</script>"}})
    text = make_page(named, config)
    assert "<script>" not in text
    assert "&lt;script&gt;A&lt;/script&gt;" in text


def test_what_is_missing_is_said(scores: pd.DataFrame, config: Config):
    is_model = scores["predictor"] == "model"
    status = scores["status"].mask(is_model, "OSError: gone")
    failed = scores.assign(value=scores["value"].mask(is_model), status=status)
    texts = Page(make_page(failed, config)).texts
    assert "Scores that are missing" in texts
    assert "OSError: gone" in texts
    problems = list_problems(failed)
    assert problems.to_dict("records") == [
        {"predictor": "model", "status": "OSError: gone", "n": 32, "metrics": "pearson_delta, mse"}
    ]


def test_a_metric_without_any_value_is_a_row_of_dashes(scores: pd.DataFrame, config: Config):
    status = "real has {} cells; 50 are needed"
    none = scores[scores["metric"] == "mse"].assign(metric="c2st_auc", value=np.nan)
    none["status"] = [status.format(20 + n % 3) for n in range(len(none))]
    page = Page(make_page(pd.concat([scores, none]), config))
    assert page.texts.count("missing") == 4 * 4  # a predictor and a block of conditions each
    assert "c2st_auc →0.5" in page.texts
    problems = list_problems(pd.concat([scores, none]))
    assert set(problems["status"]) == {"such as: real has 20 cells; 50 are needed"}


def test_floors_alone_are_compared_with_each_other(scores: pd.DataFrame, config: Config):
    text = make_page(scores[scores["predictor"] != "model"], config)
    assert "Only floors were run" in text
    assert "low: best and worst conditions" in text


def test_one_condition_and_one_floor_make_a_page(scores: pd.DataFrame, config: Config):
    few = scores[(scores["predictor"] == "high") & (scores["perturbation"] == "A")]
    page = Page(make_page(few, config))
    assert (page.open, len(page.links)) == ([], 1)


def test_the_same_scores_give_the_same_page(scores: pd.DataFrame, config: Config):
    pages = [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", make_page(scores, config)) for _ in "ab"]
    assert pages[0] == pages[1]


def test_best_and_worst_conditions_follow_the_metric(scores: pd.DataFrame):
    for metric, is_higher_better in HIGHER.items():
        means = average_conditions(scores, metric)
        found = find_extremes(means, "model", "high", metric)
        order = means["model"].sort_values(ascending=not is_higher_better)
        names = order.index.get_level_values("perturbation").tolist()
        assert found.best["condition"].tolist() == names[:2]
        assert found.worst["condition"].tolist() == names[:1:-1]
        np.testing.assert_allclose(
            found.best["difference"], (means["model"] - means["high"])[order.index[:2]]
        )
        expected = scores[
            (scores["metric"] == metric)
            & (scores["predictor"] == "ceiling")
            & (scores["perturbation"] == names[0])
        ]["value"].mean()
        assert found.best["ceiling"].iloc[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "high", "verdict", "words"),
    [(0.1, 0.3, "better", "beats"), (-0.1, 0.5, "level", "is level with")],
)
def test_verdicts_in_words(low: float, high: float, verdict: str, words: str):
    row = {
        "predictor": "model", "metric": "mse", "floor": "ridge", "difference": 0.2, "low": low,
        "high": high, "n_conditions": 7, "verdict": verdict,
    }  # fmt: skip
    [found] = describe_verdicts(pd.DataFrame([row]), "mse")
    sign = "+0.1" if low > 0 else "−0.1"
    assert found.style == verdict
    assert found.text.startswith(
        f"{words} ridge, the best floor: +0.2 mse (95% interval {sign} to +{high:g}) on 7 "
        "held-out conditions."
    )


@pytest.mark.parametrize(
    ("values", "n_decimals"),
    [([0.5, 0.123], 3), ([1.0], 3), ([32.3], 1), ([0.00523, np.nan], 5), ([0.0], 3), ([5e5], 0)],
)
def test_three_digits_are_shown(values: list[float], n_decimals: int):
    assert count_decimals(pd.Series(values)) == n_decimals


def test_numbers_are_written_with_a_minus():
    assert format_number(-0.256, 2) == "−0.26"
    assert format_number(-0.0004, 2) == "0.00"
    assert format_number(float("nan"), 2) == "–"

"""The tables of the judge: means, what they lack, the ends of the scale, and why there is none."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from scbig.benchmark._judge_means import average_judged, explain_missing
from scbig.benchmark._judge_tables import (
    describe_judged,
    make_judge_table,
    make_terminal_table,
)

NO_SCALE = "no scale: the replicate is not better than the baseline"


@pytest.fixture
def judged() -> pd.DataFrame:
    rows = [
        {"predictor": p, "split": s, "seed": 0, "context": "all", "metric": m, "value": v + i,
         "scaled": v / 10, "baseline": 5.0, "replicate": 6.0, "status": "ok"}
        for p, v in (("scbig", 1.0), ("ceiling", 3.0), ("floor", 2.0))
        for i, s in enumerate(("a", "b"))
        for m in ("pds_cosine", "other")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_tables_show_means_and_both_ends(judged: pd.DataFrame):
    means = average_judged(judged, ["floor"])
    order = ["floor", "scbig", "ceiling", "mean response", "replicate"]
    assert list(means.index.unique("predictor")) == order
    assert means.loc[("scbig", "other")].tolist()[:2] == [1.5, pytest.approx(0.1)]
    assert means.loc[("mean response", "other")].tolist() == [5.0, 0.0, 0]
    assert means.loc[("replicate", "other")].tolist() == [6.0, 1.0, 0]
    table = make_judge_table(judged, ["floor"], "vcc2026")
    assert [row.name for row in table.rows] == ["PDS cosine", "other"]
    assert [(cell.text, cell.interval) for cell in table.rows[1].cells] == [
        ("0.20", "(2.50)"), ("0.10", "(1.50)"), ("0.30", "(3.50)"), ("0.00", "(5.00)"),
        ("1.00", "(6.00)"),
    ]  # fmt: skip
    assert table.remark == ""
    judged.loc[judged["predictor"] == "scbig", ["value", "scaled"]] = np.nan
    cell = make_judge_table(judged, [], "vcc2026").rows[0].cells[0]
    assert (cell.text, cell.interval, cell.style) == ("–", "", "failed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The configuration of a benchmark whose floor is no predictor of scbig."""
    predictors = {"scbig": {"is_floor": False}, "floor": {"is_floor": True}}
    config = {"predictors": predictors, "fixed": {"judge": "vcc2026, cell-eval2 0.20.0"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def show(judged: pd.DataFrame, folder: Path) -> str:
    console = Console(file=StringIO(), width=120)
    console.print(make_terminal_table(judged, folder))
    return console.file.getvalue()


def test_the_terminal_reads_judge_and_floors_from_the_configuration(
    judged: pd.DataFrame, folder: Path
):
    shown = show(judged, folder)
    assert "Judged by vcc2026, cell-eval2 0.20.0" in shown
    assert "Scaled for nobody" not in shown
    rows = [line.split()[0] for line in shown.splitlines() if line.strip()]
    names = [name for name in rows if name in ("floor", "scbig", "ceiling", "mean", "replicate")]
    assert names == ["floor", "scbig", "ceiling", "mean", "replicate"]
    config = json.loads((folder / "config.json").read_text())
    assert describe_judged(config) == (["floor"], "vcc2026, cell-eval2 0.20.0")


def test_without_a_scale_there_are_no_ends_and_a_reason(judged: pd.DataFrame, folder: Path):
    """The values are there, and nothing is scaled; one predictor failed, which is no reason."""
    is_other = judged["metric"] == "other"
    judged.loc[is_other, ["scaled", "status"]] = [np.nan, NO_SCALE]
    is_failed = judged["predictor"] == "scbig"
    judged.loc[is_failed, ["value", "scaled", "baseline", "replicate"]] = np.nan
    judged.loc[is_failed, "status"] = "MemoryError"
    average = judged[is_other].assign(metric="average", value=np.nan, baseline=np.nan)
    average["status"] = "some scores have no scaled value"
    judged = pd.concat([judged, average], ignore_index=True)
    table = make_judge_table(judged, ["floor"], "vcc2026")
    assert table.remark == f"Scaled for nobody: other ({NO_SCALE})."
    other = next(row for row in table.rows if row.name == "other")
    assert [(cell.text, cell.interval) for cell in other.cells] == [
        ("–", "(2.50)"), ("–", ""), ("–", "(3.50)"), ("–", "(5.00)"), ("–", "(6.00)"),
    ]  # fmt: skip
    average = next(row for row in table.rows if row.name == "average")
    assert {cell.text for cell in average.cells} == {"–"}
    cosine = table.rows[0].cells
    assert [cell.text for cell in cosine] == ["0.20", "–", "0.30", "0.00", "1.00"]
    shown = " ".join(show(judged, folder).split())
    assert table.remark in shown
    # Where only the average is scaled for nobody, as in no split all scores exist, it is named.
    judged.loc[(judged["metric"] == "other") & (judged["split"] == "a"), "scaled"] = 0.5
    assert (
        explain_missing(judged) == "Scaled for nobody: average (some scores have no scaled value)."
    )


def test_a_mean_says_how_many_scores_it_lacks(judged: pd.DataFrame):
    """One split of two has no scaled score of anybody, another no value of one predictor."""
    is_a, is_other = judged["split"] == "a", judged["metric"] == "other"
    judged.loc[is_a & is_other, "scaled"] = np.nan
    is_lost = ~is_a & ~is_other & (judged["predictor"] == "scbig")
    judged.loc[is_lost, ["value", "scaled"]] = np.nan
    rows = make_judge_table(judged, ["floor"], "vcc2026").rows
    cells = {row.name: [(cell.text, cell.interval) for cell in row.cells] for row in rows}
    assert cells["PDS cosine"] == [
        ("0.20", "(2.50)"), ("0.10", "(1.00) (1 missing)"), ("0.30", "(3.50)"),
        ("0.00", "(5.00)"), ("1.00", "(6.00)"),
    ]  # fmt: skip
    assert [text for text, _ in cells["other"]] == ["0.20", "0.10", "0.30", "0.00", "1.00"]
    assert all(note.endswith(" (1 missing)") for _, note in cells["other"])


def test_each_split_and_context_counts_once_in_the_ends(judged: pd.DataFrame):
    """A predictor that failed takes no weight from its split."""
    is_b = judged["split"] == "b"
    judged.loc[is_b, "baseline"] = 7.0
    is_failed = is_b & judged["predictor"].isin(["scbig", "floor"])
    judged.loc[is_failed, ["value", "scaled", "baseline", "replicate"]] = np.nan
    means = average_judged(judged, ["floor"])
    assert means.loc[("mean response", "other"), "value"] == (5.0 + 7.0) / 2

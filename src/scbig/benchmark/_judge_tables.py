"""What the judge of the field said, for the page and the terminal: scores on its scale."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as TerminalTable

from scbig.benchmark._field_judge import AVERAGE
from scbig.benchmark._folder import CONFIG
from scbig.benchmark._report_displays import Cell, Row, Table, format_number, order_predictors
from scbig.benchmark._settings import CEILING

BASELINE, REPLICATE = "mean response", "replicate"
# Short, for the terminal; others go by their names.
WORDS = {
    "pds_cosine": "PDS cosine",
    "expr_mse_unbiased_capped_norm": "expr. error",
    "de_wilcoxon_lfc_nmae": "lfc error",
    "de_wilcoxon_sig_jaccard": "DE Jaccard",
    "de_wilcoxon_direction_reach_raw": "sign reach",
    "de_wilcoxon_direction_fidelity_yield_raw": "sign fidelity",
    AVERAGE: "average",
}


def average_judged(judged: pd.DataFrame, floors: Sequence[str]) -> pd.DataFrame:
    """Average over splits, seeds and contexts.

    Parameters
    ----------
    judged
        Rows of ``judge.csv``.
    floors
        Names of the floors, which come first.

    Returns
    -------
    Columns ``value`` and ``scaled`` by ``predictor`` and ``metric``, and ``n_missing``: how many
    the mean of scaled scores lacks, or that of values where none is scaled. The last predictors
    are the two ends of the judge's scale, which are scaled where anything is.
    """
    names = [name for name in WORDS if name in set(judged["metric"])]
    names += [name for name in judged["metric"].unique() if name not in names]
    keys = ["predictor", "metric"]
    rows = pd.concat([judged[[*keys, "value", "scaled"]], _make_ends(judged)])
    means = rows.groupby(keys).mean()
    missing = rows.set_index(keys).isna().groupby(keys).sum()
    means["n_missing"] = missing["scaled"].where(means["scaled"].notna(), missing["value"])
    predictors = order_predictors(list(judged["predictor"].unique()), floors)
    order = pd.MultiIndex.from_product([[*predictors, BASELINE, REPLICATE], names], names=keys)
    return means.reindex(order)


def _make_ends(judged: pd.DataFrame) -> pd.DataFrame:
    """Make a row for each end of the scale, metric, split and context.

    They stand in the rows of every predictor that could be scored; there is no scale where no
    predictor has a scaled score.
    """
    groups = judged.groupby(["metric", "split", "context"], sort=False)
    found = groups[["baseline", "replicate", "scaled"]].max().reset_index("metric")
    has_scale = found["scaled"].notna()
    ends = [
        found.assign(predictor=name, value=found[column], scaled=np.where(has_scale, mark, np.nan))
        for name, column, mark in ((BASELINE, "baseline", 0.0), (REPLICATE, "replicate", 1.0))
    ]
    return pd.concat(ends)[["predictor", "metric", "value", "scaled"]]


def explain_missing(judged: pd.DataFrame) -> str:
    """Say which scores are scaled for nobody, and why.

    Parameters
    ----------
    judged
        Rows of ``judge.csv``.

    Returns
    -------
    A line with the commonest reason of each; empty where each score is scaled somewhere.
    """
    lacking = judged[judged.groupby("metric")["scaled"].transform("count") == 0]
    # The average lacks what another score lacks; a predictor that failed says nothing of a scale.
    if not (others := lacking[lacking["metric"] != AVERAGE]).empty:
        lacking = others
    keys = ["predictor", "split", "seed", "context"]
    is_scored = judged.groupby(keys)["value"].transform("count") > 0
    if is_scored[lacking.index].any():
        lacking = lacking[is_scored[lacking.index]]
    reasons = lacking["status"].fillna("no value")
    why = reasons.groupby(lacking["metric"], sort=False).agg(lambda texts: texts.mode().iloc[0])
    names = {
        text: ", ".join(WORDS.get(str(metric), str(metric)) for metric in why.index[why == text])
        for text in why.unique()
    }
    listed = "; ".join(f"{of} ({text})" for text, of in names.items())
    return f"Scaled for nobody: {listed}." if listed else ""


@dataclass(frozen=True)
class JudgeTable(Table):
    """What the judge said.

    Attributes
    ----------
    remark
        Which scores are scaled for nobody, and why.
    """

    remark: str = ""


def describe_judged(config: Mapping[str, Any]) -> tuple[list[str], str]:
    """Read from a configuration which predictors are floors, and who judged.

    Parameters
    ----------
    config
        Plain values, as in ``config.json``.

    Returns
    -------
    Names of the floors, and of the judge.
    """
    floors = [name for name, values in config["predictors"].items() if values["is_floor"]]
    return floors, config["fixed"]["judge"]


def make_judge_table(judged: pd.DataFrame, floors: Sequence[str], judge: str) -> JudgeTable:
    """Lay out the scores for the report, a row a metric.

    Parameters
    ----------
    judged
        Rows of ``judge.csv``.
    floors
        Names of the floors.
    judge
        Name of the judge.

    Returns
    -------
    The table: what is scaled, and below it the score as it is.
    """
    means = average_judged(judged, floors)
    columns = list(means.index.unique("predictor"))
    rows = [
        Row(
            WORDS.get(metric, metric),
            [_make_cell(means.loc[(name, metric)], name) for name in columns],
            metric,
        )
        for metric in means.index.unique("metric")
    ]
    return JudgeTable(
        f"Judged by {judge}", [("", len(columns))], columns, rows, explain_missing(judged)
    )


def make_terminal_table(judged: pd.DataFrame, folder: Path) -> TerminalTable:
    """Lay out the scores for the terminal, a row a predictor.

    Parameters
    ----------
    judged
        Rows of ``judge.csv``.
    folder
        That of the benchmark, which knows the judge and the floors.

    Returns
    -------
    The table: what is scaled, and below it the score as it is.
    """
    floors, judge = describe_judged(json.loads((folder / CONFIG).read_text("utf-8")))
    means = average_judged(judged, floors)
    caption = "Scaled: 0 is the mean response, 1 a replicate; below it the score as it is"
    table = TerminalTable(
        title=f"Judged by {judge}",
        caption="\n".join(filter(None, [caption, escape(explain_missing(judged))])),
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    table.add_column("", no_wrap=True)
    metrics = list(means.index.unique("metric"))
    for metric in metrics:
        table.add_column(WORDS.get(metric, metric), justify="right", overflow="fold")
    for name in means.index.unique("predictor"):
        if name == BASELINE:
            table.add_section()
        cells = [_make_cell(means.loc[(name, metric)], name) for metric in metrics]
        table.add_row(name, *(f"{cell.text}\n{cell.interval}".strip() for cell in cells))
    return table


def _make_cell(score: pd.Series, name: str) -> Cell:
    raw = "" if pd.isna(score["value"]) else f"({format_number(score['value'], 2)})"
    style = "ceiling" if name in (CEILING, BASELINE, REPLICATE) else ""
    text = format_number(score["scaled"], 2)
    if score["n_missing"] > 0 and (raw or text != "–"):
        raw = f"{raw} ({score['n_missing']:.0f} missing)".strip()
    return Cell(text, raw, style or ("failed" if text == "–" else ""))

"""What the judge of the field said, for the page and the terminal: scores on its scale."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as TerminalTable

from scbig.benchmark._folder import CONFIG
from scbig.benchmark._judge_means import (
    BASELINE,
    REPLICATE,
    WORDS,
    average_judged,
    explain_missing,
)
from scbig.benchmark._report_displays import Cell, Row, Table, format_number
from scbig.benchmark._settings import CEILING


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

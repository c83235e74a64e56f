"""What the judge of the field said, for the page and the terminal: scores on its scale."""

from collections.abc import Sequence

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table as TerminalTable

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
    "average": "average",
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
    Columns ``value`` and ``scaled`` by ``predictor`` and ``metric``; the last predictors are the
    two ends of the judge's scale.
    """
    names = [name for name in WORDS if name in set(judged["metric"])]
    names += [name for name in judged["metric"].unique() if name not in names]
    means = judged.groupby(["predictor", "metric"])[["value", "scaled"]].mean()
    ends = judged.groupby("metric")[["baseline", "replicate"]].mean()
    tables = {
        name: means.loc[name].reindex(names)
        for name in order_predictors(list(judged["predictor"].unique()), floors)
    }
    for name, column, scaled in ((BASELINE, "baseline", 0.0), (REPLICATE, "replicate", 1.0)):
        values = ends[column].reindex(names)
        is_there = values.notna() | (values.index == "average")
        marks = pd.Series(scaled, values.index).where(is_there)
        tables[name] = pd.DataFrame({"value": values, "scaled": marks})
    return pd.concat(tables, names=["predictor", "metric"])


def make_judge_table(judged: pd.DataFrame, floors: Sequence[str], judge: str) -> Table:
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
    return Table(f"Judged by {judge}", [("", len(columns))], columns, rows)


def make_terminal_table(judged: pd.DataFrame, floors: Sequence[str], judge: str) -> TerminalTable:
    """Lay out the scores for the terminal, a row a predictor.

    Parameters
    ----------
    judged, floors, judge
        See :func:`make_judge_table`.

    Returns
    -------
    The table: what is scaled, and beside it the score as it is.
    """
    means = average_judged(judged, floors)
    table = TerminalTable(
        title=f"Judged by {judge}",
        caption="Scaled: 0 is the mean response, 1 a replicate; below it the score as it is",
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
    if pd.isna(score["scaled"]):
        return Cell("–", raw, style or "failed")
    return Cell(format_number(score["scaled"], 2), raw, style)

"""The tables of the report, as records that the template lays out."""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scbig.benchmark._settings import CEILING
from scbig.metrics import METRICS

HIGHER, LOWER = "↑", "↓"


@dataclass(frozen=True)
class Cell:
    """One mean: its text, its interval, and a class that says what it is."""

    text: str
    interval: str = ""
    style: str = ""


@dataclass(frozen=True)
class Row:
    """Means of one metric, or of one split."""

    name: str
    cells: list[Cell]
    note: str = ""
    arrow: str = ""


@dataclass(frozen=True)
class Table:
    """Means of predictors, which are the columns.

    Attributes
    ----------
    title
        What the means are of.
    groups
        Heading and width of each group of columns.
    columns
        Names of the predictors.
    rows
        The rows.
    """

    title: str
    groups: list[tuple[str, int]]
    columns: list[str]
    rows: list[Row] = field(default_factory=list)


def make_metric_table(
    title: str, summary: pd.DataFrame, comparison: pd.DataFrame, floors: Sequence[str]
) -> Table:
    """Lay out the means of one block, a row a metric.

    Parameters
    ----------
    title
        What the means are of.
    summary, comparison
        Rows of one task, split and kind.
    floors
        Names of the floors.

    Returns
    -------
    The table.
    """
    columns = order_predictors(list(summary["predictor"].unique()), floors)
    verdicts = get_verdicts(comparison)
    rows = []
    for metric, means in summary.groupby("metric", sort=False):
        metric = str(metric)
        cells = _make_cells(means.set_index("predictor").reindex(columns), verdicts[metric])
        rows.append(Row(metric, cells, describe_metric(metric), get_arrow(metric)))
    return Table(title, _get_groups(columns, floors), columns, rows)


def make_split_table(
    title: str, summary: pd.DataFrame, comparison: pd.DataFrame, floors: Sequence[str]
) -> Table:
    """Lay out the means of one metric, a row a split.

    Parameters
    ----------
    title
        What the means are of.
    summary, comparison
        Rows of one task, kind and metric.
    floors
        Names of the floors.

    Returns
    -------
    The table.
    """
    columns = order_predictors(list(summary["predictor"].unique()), floors)
    rows = []
    for split, means in summary.groupby("split", sort=False):
        verdicts = get_verdicts(comparison[comparison["split"] == split])
        metric = str(means["metric"].iloc[0])
        cells = _make_cells(means.set_index("predictor").reindex(columns), verdicts[metric])
        rows.append(Row(str(split), cells))
    return Table(title, _get_groups(columns, floors), columns, rows)


def order_predictors(names: Sequence[str], floors: Sequence[str]) -> list[str]:
    """Order names: floors, others, ceiling."""
    return sorted(names, key=lambda name: (name == CEILING, name not in floors))


def describe_metric(name: str) -> str:
    """Return the first line of what the documentation says of a metric."""
    return (inspect.getdoc(METRICS[name].function) or "").partition("\n")[0]


def get_arrow(metric: str) -> str:
    """Return the sign of which way a metric is better."""
    return HIGHER if METRICS[metric].is_higher_better else LOWER


def get_verdicts(comparison: pd.DataFrame) -> "Verdicts":
    """Look up how predictors compare with the best floor.

    Parameters
    ----------
    comparison
        Rows of one task, split and kind.

    Returns
    -------
    For each metric the style of each predictor's cell: its verdict, or that it is the floor.
    """
    styles: dict[str, dict[str, str]] = {}
    for row in comparison.itertuples():
        of_metric = styles.setdefault(str(row.metric), {str(row.floor): "floor"})
        of_metric[str(row.predictor)] = str(row.verdict)
    return Verdicts(styles)


class Verdicts(dict[str, Mapping[str, str]]):
    """Styles by metric; none for a metric that nothing was compared by."""

    def __missing__(self, metric: str) -> Mapping[str, str]:
        return {}


def _get_groups(columns: Sequence[str], floors: Sequence[str]) -> list[tuple[str, int]]:
    n_floors = sum(name in floors for name in columns)
    n_ceilings = sum(name == CEILING for name in columns)
    counts = {
        "floors": n_floors,
        "models": len(columns) - n_floors - n_ceilings,
        "ceiling": n_ceilings,
    }
    return [(name, n) for name, n in counts.items() if n]


def _make_cells(means: pd.DataFrame, styles: Mapping[str, str]) -> list[Cell]:
    n_decimals = count_decimals(means["mean"])
    return [
        _make_cell(row, n_decimals, "ceiling" if name == CEILING else styles.get(str(name), ""))
        for name, row in means.iterrows()
    ]


def _make_cell(row: pd.Series, n_decimals: int, style: str) -> Cell:
    if math.isnan(row["mean"]):
        return Cell("–", "missing", "failed")
    mean, low, high = (format_number(row[name], n_decimals) for name in ("mean", "low", "high"))
    interval = "" if math.isnan(row["low"]) else f"{low} to {high}"
    if row["n_failed"] > 0:
        interval += f" ({int(row['n_failed'])} missing)"
    return Cell(mean, interval.strip(), style)


def format_number(value: float, n_decimals: int) -> str:
    """Write a number with a true minus sign, and a dash where there is none."""
    rounded = round(float(value), n_decimals) + 0.0  # no negative zero
    return "–" if math.isnan(value) else f"{rounded:.{n_decimals}f}".replace("-", "−")


def count_decimals(values: pd.Series, n_digits: int = 3) -> int:
    """Count the decimals that show the largest of some values with three digits.

    A leading 1 counts as none, so that scores up to 1 have three decimals.
    """
    largest = np.nanmax(np.abs(values), initial=0.0)
    if largest == 0:
        return n_digits
    return int(np.clip(n_digits - 1 - math.floor(math.log10(largest / 2)), 0, 8))

"""The tables and figures of the report."""

import inspect
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import cycle

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scbig.benchmark._settings import CEILING
from scbig.benchmark._summary import rank_kind
from scbig.metrics import METRICS

#: What each group of metrics looks at, as a heading in the tables.
HEADINGS = {"default": "effects", "realism": "cells", "calibration": "errors of effects"}
# From the palette of Okabe and Ito, which colour-blind readers can tell apart.
FLOOR_COLOUR, MODEL_COLOUR, CEILING_COLOUR = "#7a7a7a", "#0072B2", "#009E73"
KIND_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


@dataclass(frozen=True)
class Cell:
    """One mean: its text, its interval, and a class that says what it is."""

    text: str
    interval: str = ""
    style: str = ""


MISSING, NO_VALUE = Cell("–", "missing", "failed"), Cell("–", "no value", "ceiling")


@dataclass(frozen=True)
class Row:
    """Means of one metric, or of one split."""

    name: str
    cells: list[Cell]
    note: str = ""
    arrow: str = ""
    heading: str = ""


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
        means = means.set_index("predictor").reindex(columns)
        # To tell no errors, or to ask of a condition in which no gene changes, is no failure.
        none = NO_VALUE if METRICS[metric].level == "effects" else MISSING
        cells = _make_cells(means, verdicts[metric], none)
        arrow, heading = METRICS[metric].arrow, HEADINGS[METRICS[metric].group]
        rows.append(Row(metric, cells, describe_metric(metric), arrow, heading))
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


def _make_cells(
    means: pd.DataFrame, styles: Mapping[str, str], none: Cell = MISSING
) -> list[Cell]:
    n_decimals = count_decimals(means["mean"])
    styles = {**styles, CEILING: "ceiling"}
    return [
        none if math.isnan(row["mean"]) else _make_cell(row, n_decimals, styles.get(str(name), ""))
        for name, row in means.iterrows()
    ]


def _make_cell(row: pd.Series, n_decimals: int, style: str) -> Cell:
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
    largest = values.abs().max()
    if not largest > 0:  # all are 0, or there are none
        return n_digits
    return int(np.clip(n_digits - 1 - math.floor(math.log10(largest / 2)), 0, 8))


def _use_style() -> AbstractContextManager[None]:
    """Keep figures from changing with anybody's settings, or from one run to the next."""
    return mpl.rc_context(
        {
            "font.size": 9.5,
            "svg.hashsalt": "scbig",
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )


def draw_means(summary: pd.DataFrame, floors: Sequence[str], metric: str) -> str:
    """Draw means and intervals of one metric, a panel for each kind of condition.

    Parameters
    ----------
    summary
        Rows of one task and metric, pooled over splits.
    floors
        Names of the floors.
    metric
        Name of the metric.

    Returns
    -------
    The figure as a data URI.
    """
    kinds = list(summary["kind"].unique())
    names = list(summary["predictor"].unique())[::-1]
    with _use_style():
        figure = Figure(
            figsize=(2.3 + 2.7 * len(kinds), 0.9 + 0.27 * len(names)), layout="constrained"
        )
        axes = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for ax, kind in zip(axes, kinds, strict=True):
            rows = summary[summary["kind"] == kind].set_index("predictor").reindex(names)
            _draw_intervals(ax, rows, floors)
            n_conditions = int(rows["n_conditions"].max())
            ax.set_title(f"{kind.replace('_', ' ')} ({n_conditions})", fontsize=10)
            ax.set_xlabel(f"{metric} {METRICS[metric].arrow}")
        return _to_uri(figure)


def _draw_intervals(ax: Axes, rows: pd.DataFrame, floors: Sequence[str]) -> None:
    for y, (name, row) in enumerate(rows.iterrows()):
        colour = FLOOR_COLOUR if name in floors else MODEL_COLOUR
        colour = CEILING_COLOUR if name == CEILING else colour
        ax.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2.2, alpha=0.55)
        ax.plot(row["mean"], y, "o", color=colour, markersize=6)
    ax.set_yticks(range(len(rows)), [str(name) for name in rows.index])
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)


def draw_scatter(means: pd.DataFrame, predictors: Sequence[str], floor: str, metric: str) -> str:
    """Draw the conditions: each predictor against the best floor.

    Parameters
    ----------
    means
        See :func:`average_conditions`.
    predictors
        A panel each.
    floor
        The floor.
    metric
        Name of the metric.

    Returns
    -------
    The figure as a data URI.
    """
    with _use_style():
        width = 3.6 * len(predictors) + 1.3
        figure = Figure(figsize=(width, 3.7), layout="constrained")
        axes = figure.subplots(1, len(predictors), squeeze=False)[0]
        for ax, name in zip(axes, predictors, strict=True):
            _draw_conditions(ax, means[floor], means[name])
            own, other = (METRICS[metric].rate(means[column]) for column in (name, floor))
            _count_better(ax, own - other)
            ax.set_xlabel(f"{floor}: {metric} {METRICS[metric].arrow}")
            ax.set_ylabel(f"{name}: {metric} {METRICS[metric].arrow}")
        handles, labels = axes[0].get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(handles, labels, loc="outside right upper", frameon=False)
        return _to_uri(figure)


def _draw_conditions(ax: Axes, floor: pd.Series, own: pd.Series) -> None:
    kinds = floor.index.get_level_values("kind")
    for kind, colour in zip(
        sorted(kinds.unique(), key=rank_kind), cycle(KIND_COLOURS), strict=False
    ):
        is_kind = kinds == kind
        ax.scatter(
            floor[is_kind], own[is_kind], s=18, color=colour, alpha=0.6, linewidths=0,
            label=str(kind).replace("_", " "),
        )  # fmt: skip
    values = np.concatenate([floor, own])
    values = values[np.isfinite(values)]
    margin = 0.06 * np.ptp(values) if len(values) and np.ptp(values) else 0.1
    limits = (values.min() - margin, values.max() + margin) if len(values) else (0.0, 1.0)
    ax.axline((limits[0], limits[0]), slope=1, color="0.6", linewidth=0.9, linestyle="--")
    ax.set(xlim=limits, ylim=limits, aspect="equal")


def _count_better(ax: Axes, gain: np.ndarray) -> None:
    title = f"better on {(gain > 0).sum()} of {np.isfinite(gain).sum()}"
    ax.set_title(title, fontsize=9.5, color="0.35")


def _to_uri(figure: Figure) -> str:
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return "data:image/svg+xml;base64," + b64encode(buffer.getvalue()).decode()

"""The figures of the report, as images inside the page."""

from base64 import b64encode
from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from itertools import cycle

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scbig.benchmark._report_tables import get_arrow
from scbig.benchmark._settings import CEILING
from scbig.benchmark._summary import rank_kind
from scbig.metrics import METRICS

# From the palette of Okabe and Ito, which colour-blind readers can tell apart.
FLOOR_COLOUR, MODEL_COLOUR, CEILING_COLOUR = "#7a7a7a", "#0072B2", "#009E73"
KIND_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


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
            ax.set_xlabel(f"{metric} {get_arrow(metric)}")
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
            _count_better(ax, means[name] - means[floor], metric)
            ax.set_xlabel(f"{floor}: {metric} {get_arrow(metric)}")
            ax.set_ylabel(f"{name}: {metric} {get_arrow(metric)}")
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


def _count_better(ax: Axes, difference: pd.Series, metric: str) -> None:
    is_better = difference > 0 if METRICS[metric].is_higher_better else difference < 0
    title = f"better on {is_better.sum()} of {difference.notna().sum()}"
    ax.set_title(title, fontsize=9.5, color="0.35")


def _to_uri(figure: Figure) -> str:
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return "data:image/svg+xml;base64," + b64encode(buffer.getvalue()).decode()

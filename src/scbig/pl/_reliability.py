"""Whether what a model is sure of happens as often as it says."""

from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from scbig._annotations import checked
from scbig.pl._axes import BLUE, GREY, ORANGE, get_axes

_COLUMNS = ("predicted", "observed", "n")
_LABELS = {
    "probability": ("predicted probability of a change", "share of genes that changed"),
    "coverage": ("share that intervals are to hold", "share of measured effects inside"),
}
TOLERANCE = 0.05
MIN_SHOWN = 100


@checked
def reliability(
    table: pd.DataFrame,
    *,
    kind: Literal["probability", "coverage"] = "probability",
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how often that happened which was predicted with some probability.

    On the diagonal, probabilities and standard errors hold; the band around it is five points
    wide to each side. Probabilities have a point a tenth, with the number of genes in it; one of
    fewer than 100 is hollow. Below the diagonal, changes are announced that do not happen, and
    intervals are too narrow.

    Parameters
    ----------
    table
        What :meth:`scbig.metrics.Evaluator.get_reliability` returned,
        :func:`scbig.metrics.tabulate_probability` or :func:`scbig.metrics.tabulate_coverage`: a
        row a point, with the columns ``predicted``, ``observed`` and ``n``; by ``kind`` where the
        table has several, and a curve for each of ``genes``.
    kind
        ``"probability"`` for probabilities of a change against calls of real cells,
        ``"coverage"`` for intervals of effects against measured ones.
    title
        Title of the Axes.
    ax
        Axes to draw on; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes.

    Raises
    ------
    ValueError
        If ``table`` is none or lacks a column, ``kind`` is unknown, or there is nothing of it to
        draw.

    Examples
    --------
    >>> import pandas as pd, scbig
    >>> table = pd.DataFrame(
    ...     {"predicted": [0.05, 0.5], "observed": [0.04, 0.56], "n": [9000, 310]}
    ... )
    >>> ax = scbig.pl.reliability(table, title="held-out knock-outs")
    """
    chosen = _choose(table, kind)
    ax = get_axes(ax, (4.4, 4.2))
    _draw_diagonal(ax)
    curves = chosen.groupby("genes", sort=False) if "genes" in chosen else [("", chosen)]
    for (name, rows), colour in zip(curves, (BLUE, ORANGE), strict=False):
        _draw_curve(ax, rows.sort_values("predicted"), colour, str(name))
        if kind == "probability":
            _write_numbers(ax, rows)
    low = min(chosen["predicted"].min(), chosen["observed"].min()) if kind == "coverage" else 0.0
    limits = max(low - 0.07, -0.03), 1.03
    ax.set(xlim=limits, ylim=limits, aspect="equal", title=title or "")
    ax.set_xlabel(_LABELS[kind][0])
    ax.set_ylabel(_LABELS[kind][1])
    if kind == "coverage" and len(ax.get_legend_handles_labels()[1]) > 1:
        ax.legend(title="genes", frameon=False, loc="upper left")
    return ax


def _choose(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    if kind not in _LABELS:
        raise ValueError(f"kind={kind!r}: choose from {list(_LABELS)}.")
    if not isinstance(table, pd.DataFrame):
        raise ValueError(
            f"table is {type(table).__name__!r} and no DataFrame. Give what "
            "Evaluator.get_reliability(model.predict_effects([...])) returns."
        )
    if missing := [name for name in _COLUMNS if name not in table]:
        raise ValueError(
            f"table lacks the columns {missing}; expected {list(_COLUMNS)}, found {list(table)}."
        )
    chosen = table[table["kind"] == kind] if "kind" in table else table
    chosen = chosen.dropna(subset=list(_COLUMNS))
    if chosen.empty:
        raise ValueError(
            f"table has nothing of the kind {kind!r} to draw: no gene could be compared."
        )
    return chosen


def _draw_diagonal(ax: Axes) -> None:
    ends = np.array([-0.2, 1.2])
    ax.fill_between(ends, ends - TOLERANCE, ends + TOLERANCE, color=GREY, alpha=0.15, linewidth=0)
    ax.plot(ends, ends, color=GREY, linewidth=0.9, linestyle="--")


def _draw_curve(ax: Axes, rows: pd.DataFrame, colour: str, name: str) -> None:
    x, y = rows["predicted"].to_numpy(float), rows["observed"].to_numpy(float)
    is_shown = rows["n"].to_numpy() >= MIN_SHOWN
    ax.plot(x, y, color=colour, linewidth=1.4, label=name)
    faces = [colour if is_enough else "white" for is_enough in is_shown]
    ax.scatter(x, y, s=34, c=faces, edgecolors=colour, linewidths=1.3, zorder=3)


def _write_numbers(ax: Axes, rows: pd.DataFrame) -> None:
    """Write the number of genes on the side of a point where the curve leaves room."""
    for row in rows.itertuples():
        offset, side, height = (6, -5), "left", "top"
        if row.observed < 0.08:  # or the frame would be below
            offset, side, height = (9, 0), "left", "center"
        elif row.observed > row.predicted:
            offset, side, height = (-6, 5), "right", "bottom"
        ax.annotate(
            _shorten(row.n),
            (row.predicted, row.observed),
            xytext=offset,
            textcoords="offset points",
            ha=side,
            va=height,
            fontsize=8,
            color="0.35",
        )


def _shorten(n: float) -> str:
    """Write a number of genes in few letters."""
    for unit, word in ((1e6, "M"), (1e3, "k")):
        if n >= unit:
            return f"{n / unit:.{0 if n >= 9.95 * unit else 1}f}{word}"
    return f"{n:.0f}"

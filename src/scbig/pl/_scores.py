"""Scores of several predictors, one dot a condition."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from scbig._annotations import checked
from scbig.pl._axes import BLUE, ORANGE, get_axes

_COLUMNS = ("predictor", "perturbation", "metric", "value")


@checked
def scores(
    scores: pd.DataFrame,
    *,
    metric: str | None = None,
    is_lower_better: bool = False,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the scores of each predictor: a dot a condition, a box, and the mean in figures.

    Parameters
    ----------
    scores
        One row a score, with the columns ``predictor``, ``perturbation``, ``metric`` and
        ``value``.
    metric
        The metric to draw; may be left out if the table holds only one.
    is_lower_better
        Put the lowest mean on top, for errors and distances.
    title
        Title of the Axes.
    ax
        Axes to draw on; by default a new figure as high as the predictors need.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes, predictors from best (top) to worst by their mean. Missing values are not drawn.

    Raises
    ------
    ValueError
        If a column is missing or ``metric`` is not one of those in the table.

    Examples
    --------
    >>> import pandas as pd, scbig
    >>> table = pd.DataFrame(
    ...     {"predictor": ["additive", "ridge"], "perturbation": "A+B", "metric": "mse"}
    ... ).assign(value=[0.2, 0.1])
    >>> ax = scbig.pl.scores(table, metric="mse", is_lower_better=True)
    """
    chosen = _select_metric(scores, metric)
    values = {
        str(name): group.to_numpy(float) for name, group in chosen.groupby("predictor")["value"]
    }
    means = {name: float(group.mean()) for name, group in values.items()}
    # Drawn from the bottom up, so the best comes last.
    order = sorted(means, key=lambda name: means[name], reverse=is_lower_better)
    ax = get_axes(ax, (6.4, 1.1 + 0.42 * len(order)))
    _draw_boxes(ax, [values[name] for name in order])
    _draw_dots(ax, [values[name] for name in order])
    _write_means(ax, [means[name] for name in order])
    arrow = "lower is better" if is_lower_better else "higher is better"
    ax.set_yticks(range(len(order)), order)
    ax.set_xlabel(f"{chosen['metric'].iloc[0]} ({arrow})")
    ax.set_title(title or "")
    return ax


def _select_metric(scores: pd.DataFrame, metric: str | None) -> pd.DataFrame:
    missing = [column for column in _COLUMNS if column not in scores.columns]
    if missing:
        raise ValueError(f"scores lacks the columns {missing}; expected {list(_COLUMNS)}.")
    found = sorted(map(str, scores["metric"].unique()))
    if metric is None and len(found) == 1:
        metric = found[0]
    if metric not in found:
        raise ValueError(f"metric={metric!r}: choose one of {found}.")
    chosen = scores[(scores["metric"] == metric) & scores["value"].notna()]
    if chosen.empty:
        raise ValueError(f"scores holds only missing values of {metric!r}.")
    return chosen.assign(predictor=chosen["predictor"].astype(str))


def _draw_boxes(ax: Axes, groups: list[np.ndarray]) -> None:
    ax.boxplot(
        groups,
        positions=range(len(groups)),
        orientation="horizontal",
        widths=0.55,
        showfliers=False,
        boxprops={"color": "0.45"},
        whiskerprops={"color": "0.45"},
        capprops={"color": "0.45"},
        medianprops={"color": ORANGE, "linewidth": 1.8},
    )


def _draw_dots(ax: Axes, groups: list[np.ndarray]) -> None:
    jitter = np.random.default_rng(0)  # only moves dots apart: always the same figure
    for position, values in enumerate(groups):
        height = position + jitter.uniform(-0.2, 0.2, len(values))
        ax.scatter(values, height, s=10, color=BLUE, alpha=0.45, linewidths=0, zorder=2)


def _write_means(ax: Axes, means: list[float]) -> None:
    """Write each mean in a column to the right of the Axes."""
    beside = ax.get_yaxis_transform()  # x as a share of the Axes, y in data units
    for position, mean in enumerate(means):
        ax.text(1.02, position, f"{mean:#.3g}", transform=beside, va="center", fontsize=9)
    ax.text(1.02, len(means) - 0.35, "mean", transform=beside, fontsize=9, color="0.4")
    ax.set_ylim(-0.6, len(means) - 0.2)

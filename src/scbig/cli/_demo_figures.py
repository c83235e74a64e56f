"""The three figures of the demo."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from scbig import pl
from scbig.cli._demo_split import KINDS


def save_figures(
    folder: Path,
    *,
    scores: pd.DataFrame,
    effects: pd.DataFrame,
    shifts: dict[str, pd.DataFrame],
    title: str,
) -> list[Path]:
    """Draw and save the figures.

    Parameters
    ----------
    folder
        Where to.
    scores
        See :func:`compute_scores`.
    effects
        Columns ``real`` and ``predicted``, one row a gene, of one condition.
    shifts
        Programs x conditions: ``"measured"`` and ``"predicted"``.
    title
        Name of that condition.

    Returns
    -------
    The files.
    """
    figures = {
        "scores.png": _draw_scores(scores),
        "effect.png": _draw_effect(effects, title),
        "programs.png": _draw_programs(shifts),
    }
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=150)
        plt.close(figure)
    return [folder / name for name in figures]


def _draw_scores(scores: pd.DataFrame) -> Figure:
    drawn = scores[scores["metric"] == "pearson_delta"]
    lowest = min(float(drawn["value"].min()), -0.1)
    kinds = [kind for kind in KINDS if (scores["kind"] == kind).any()]
    figure, axes = plt.subplots(
        len(kinds), figsize=(6.8, 2.4 * len(kinds)), layout="constrained", squeeze=False
    )
    for ax, kind in zip(axes[:, 0], kinds, strict=True):
        pl.scores(drawn[drawn["kind"] == kind], title=kind, ax=ax)
        ax.set_xlim(lowest - 0.05, 1.02)
    return figure


def _draw_effect(effects: pd.DataFrame, title: str) -> Figure:
    figure, ax = plt.subplots(figsize=(5, 5), layout="constrained")
    pl.effect_scatter(
        effects["real"],
        effects["predicted"],
        gene_names=list(effects.index),
        title=f"{title} (held out)",
        ax=ax,
    )
    return figure


def _draw_programs(shifts: dict[str, pd.DataFrame]) -> Figure:
    first = next(iter(shifts.values()))
    size = (1.6 + 0.3 * first.shape[1], (1.6 + 0.22 * len(first)) * len(shifts))
    figure, axes = plt.subplots(
        len(shifts), figsize=size, layout="constrained", sharex=True, squeeze=False
    )
    limit = max(float(table.abs().to_numpy().max()) for table in shifts.values())
    for ax, (name, table) in zip(axes[:, 0], shifts.items(), strict=True):
        pl.programs(table, title=f"{name} shift of each gene program", ax=ax)
        ax.images[0].set_clim(-limit, limit)
    return figure

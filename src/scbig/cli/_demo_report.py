"""What the demo shows and says at the end."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scbig import pl
from scbig._writing import replacing
from scbig.cli._demo_screen import KINDS, LOWER_IS_BETTER, summarise

MODEL = "scbig"
METRIC = "pearson_delta"
HEADINGS = {
    "pearson_delta": "Pearson",
    "pearson_delta_top20": "top 20",
    "direction_accuracy_top20": "direction",
    "mse": "MSE",
    "pds_l1": "PDS",
}
CAPTION = (
    "Pearson: correlation of predicted and real effect over all genes, and over the 20 genes of "
    "largest effect, where direction is the share with the right sign. PDS: is the prediction "
    "closest to its own condition? Higher is better, except for MSE."
)
MARGIN = 0.005  # differences below this are said to be none


def report(
    console: Console,
    scores: pd.DataFrame,
    recovery: float,
    files: Sequence[Path],
    *,
    seconds: float,
) -> None:
    """Show the mean scores, and say in words how SCBIG compares and what was written.

    Parameters
    ----------
    console
        Where to.
    scores
        See :func:`compute_scores`.
    recovery
        Adjusted Rand index of the gene programs against the true ones.
    files
        What was written.
    seconds
        What it took.
    """
    summary = summarise(scores)
    counts = scores.groupby("kind")["perturbation"].nunique()
    console.print(make_table(summary, counts))
    for kind in summary.index.unique("kind"):
        console.print(describe(summary.loc[kind][METRIC], f"{kind} ({counts[kind]})"))
    console.print(
        f"Gene programs: adjusted Rand index {recovery:.2f} against the simulated ones "
        "(1 is perfect, 0 is chance)."
    )
    listed = ", ".join(path.name for path in files)
    console.print(
        f"Wrote {escape(listed)} to [bold]{escape(str(files[0].parent))}[/bold] "
        f"in {seconds / 60:.1f} minutes.",
        highlight=False,
    )


def make_table(summary: pd.DataFrame, counts: pd.Series) -> Table:
    """Lay out the mean scores, the best of each kind of condition in bold."""
    table = Table(title="Mean scores on held-out conditions", caption=CAPTION)
    table.add_column("", no_wrap=True)
    for metric in summary.columns:
        table.add_column(HEADINGS[metric], justify="right")
    for kind in summary.index.unique("kind"):
        block = summary.loc[kind]
        best = {m: block[m].min() if m in LOWER_IS_BETTER else block[m].max() for m in block}
        table.add_section()
        table.add_row(f"[italic]{kind} ({counts[kind]})[/italic]")
        for name, row in block.iterrows():
            cells = [_format(row[m], is_best=row[m] == best[m]) for m in block]
            table.add_row(f"  {name}", *cells)
    return table


def describe(means: pd.Series, kind: str) -> str:
    """Say how SCBIG compares with the best baseline.

    Parameters
    ----------
    means
        Mean score of each predictor, higher being better.
    kind
        What was predicted.

    Returns
    -------
    A sentence.
    """
    baselines = means.drop(MODEL)
    best, own = baselines.idxmax(), means[MODEL]
    difference = own - baselines[best]
    if abs(difference) < MARGIN:
        verdict = f"SCBIG is level with {best}"
    else:
        verdict = f"SCBIG {'beats' if difference > 0 else 'LOSES to'} {best}, the best baseline"
    return f"{kind}: {verdict}: Pearson delta {own:.2f} against {baselines[best]:.2f}."


def _format(value: float, *, is_best: bool) -> str:
    text = f"{value:.2g}" if 0 < abs(value) < 0.01 else f"{value:.3f}"
    return f"[bold green]{text}[/bold green]" if is_best else text


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
        with replacing(folder / name) as half:
            figure.savefig(half, dpi=150, format="png")
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

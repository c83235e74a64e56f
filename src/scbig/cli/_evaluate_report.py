"""What `scbig evaluate` says at the end."""

from collections.abc import Iterator

import pandas as pd
from rich.box import SIMPLE
from rich.table import Table

from scbig.metrics import METRICS

LEGEND = (
    "Means over test conditions; ↑ higher is better, ↓ lower; the best but the ceiling is bold."
)
CEILING = "ceiling"
# Widths of the column of names, and of the others with what stands between them.
NAME_WIDTH, COLUMN_WIDTH = 20, 12


def make_tables(summary: pd.DataFrame, width: int) -> Iterator[Table]:
    """Lay out the mean scores.

    Parameters
    ----------
    summary
        See :func:`scbig.metrics.summarise`.
    width
        Width of the terminal.

    Yields
    ------
    Tables with a row for each predictor and as many metrics as fit; metrics without values are
    left out.
    """
    means = summary.pivot_table(
        index="predictor", columns="metric", values="mean", sort=False, dropna=False
    ).dropna(axis=1, how="all")
    step = max(1, (width - NAME_WIDTH) // COLUMN_WIDTH)
    for start in range(0, means.shape[1], step):
        yield _make_table(means.iloc[:, start : start + step])


def describe_failures(scores: pd.DataFrame) -> Iterator[str]:
    """Say which scores there are not, and why.

    Parameters
    ----------
    scores
        See :func:`scbig.tl.evaluate`.

    Yields
    ------
    A line for each metric and reason.
    """
    failed = scores[scores["value"].isna()]
    for (metric, status), rows in failed.groupby(["metric", "status"], sort=False):
        n_conditions = len(rows[["perturbation", "context"]].drop_duplicates())
        predictors = list(map(str, rows["predictor"].unique()))
        of = f"{len(predictors)} predictors" if len(predictors) > 1 else predictors[0]
        yield f"No {metric} of {of} on {n_conditions} condition(s): {status}"


def _make_table(means: pd.DataFrame) -> Table:
    table = Table(box=SIMPLE, show_edge=False)
    table.add_column("", no_wrap=True)
    best = {}
    contest = means.drop(index=CEILING, errors="ignore")
    for name in map(str, means.columns):
        is_rising = METRICS[name].is_higher_better
        best[name] = contest[name].max() if is_rising else contest[name].min()
        heading = name.replace("_", "\n")
        table.add_column(f"{heading} {'↑' if is_rising else '↓'}", justify="right")
    for predictor, row in means.iterrows():
        cells = [
            _format(value, is_best=predictor != CEILING and value == best[str(name)])
            for name, value in row.items()
        ]
        table.add_row(str(predictor), *cells)
    return table


def _format(value: float, *, is_best: bool) -> str:
    text = "-" if pd.isna(value) else f"{value:#.3g}"
    return f"[bold green]{text}[/bold green]" if is_best else text

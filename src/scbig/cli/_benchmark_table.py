"""The means of a benchmark on the terminal."""

import pandas as pd
from rich.table import Table

from scbig.metrics import METRICS

SHOWN = ("pearson_delta", "pearson_delta_top20", "mse", "pds_l1", "energy_distance")
N_SHOWN = 5


def make_table(summary: pd.DataFrame) -> Table:
    """Lay out the means over all conditions and splits, the best of each task in bold.

    Parameters
    ----------
    summary
        See :func:`scbig.benchmark.summarise`.

    Returns
    -------
    A row for each predictor, a column for each of a few metrics.
    """
    rows = summary[(summary["split"] == "pooled") & (summary["kind"] == "all")]
    found = list(rows["metric"].unique())
    metrics = [name for name in SHOWN if name in found] or found[:N_SHOWN]
    table = Table(title="Mean over held-out conditions", caption="↑ higher is better, ↓ lower")
    table.add_column("", no_wrap=True)
    for name in metrics:
        arrow = "↑" if METRICS[name].is_higher_better else "↓"
        table.add_column(f"{name.replace('_', ' ')} {arrow}", justify="right")
    for task, block in rows.groupby("task", sort=False):
        means = block.pivot(index="predictor", columns="metric", values="mean")[metrics]  # noqa: PD010
        means = means.loc[block["predictor"].unique()]
        table.add_section()
        table.add_row(f"[italic]{task}[/italic]")
        contest = means.drop(index="ceiling", errors="ignore")
        for name, values in means.iterrows():
            cells = [_format(values[m], contest[m], m) for m in metrics]
            table.add_row(f"  {name}", *cells)
    return table


def _format(value: float, contest: pd.Series, metric: str) -> str:
    best = contest.max() if METRICS[metric].is_higher_better else contest.min()
    text = f"{value:#.3g}"
    return f"[bold green]{text}[/bold green]" if value == best else text

"""The report: one page that needs nothing beside itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from scbig.benchmark._config import Config
from scbig.benchmark._report_conditions import (
    Extremes,
    average_conditions,
    find_extremes,
    list_problems,
    summarise_cost,
)
from scbig.benchmark._report_figures import draw_means, draw_scatter
from scbig.benchmark._report_tables import (
    Table,
    count_decimals,
    describe_metric,
    format_number,
    get_arrow,
    make_metric_table,
    make_split_table,
    order_predictors,
)
from scbig.benchmark._report_words import Verdict, describe_verdicts
from scbig.benchmark._settings import CEILING, POOLED
from scbig.benchmark._summary import ALL
from scbig.metrics import METRICS


@dataclass(frozen=True)
class TaskSection:
    """What the report says of one task."""

    name: str
    metric: str
    n_splits: int
    n_conditions: int
    verdicts: list[Verdict]
    tables: list[Table]
    splits: Table | None
    means_figure: str
    scatter_figure: str
    extremes: list[Extremes]
    n_decimals: int


def make_report(
    scores: pd.DataFrame, summary: pd.DataFrame, comparison: pd.DataFrame, config: Config
) -> str:
    """Write the page.

    Parameters
    ----------
    scores, summary, comparison
        See :func:`summarise` and :func:`compare`.
    config
        What was run.

    Returns
    -------
    HTML with figures and styles inside.
    """
    floors = [name for name, values in config.predictors.items() if values["is_floor"]]
    names = order_predictors(list(summary["predictor"].unique()), floors)
    environment = Environment(
        loader=PackageLoader("scbig.benchmark"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_number
    metrics = list(summary["metric"].unique())
    return environment.get_template("report.html.j2").render(
        config=config,
        config_text=json.dumps(config.to_dict(), indent=2),
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        sections=[
            _make_section(
                scores[scores["task"] == task],
                summary[summary["task"] == task],
                comparison[comparison["task"] == task],
                floors,
            )
            for task in summary["task"].unique()
        ],
        cost=summarise_cost(scores, [name for name in names if name != CEILING]),
        problems=list_problems(scores),
        metrics=[(name, get_arrow(name), describe_metric(name)) for name in metrics],
    )


def _make_section(
    scores: pd.DataFrame, summary: pd.DataFrame, comparison: pd.DataFrame, floors: Sequence[str]
) -> TaskSection:
    """Put together what is said of one task."""
    metric = str(summary["metric"].iloc[0])
    pooled, compared = (table[table["split"] == POOLED] for table in (summary, comparison))
    best = compared[(compared["kind"] == ALL) & (compared["metric"] == metric)]
    shown = _choose_shown(best, pooled, floors)
    means = average_conditions(scores, metric)
    return TaskSection(
        name=str(summary["task"].iloc[0]),
        metric=metric,
        n_splits=scores["split"].nunique(),
        n_conditions=scores["perturbation"].nunique(),
        verdicts=describe_verdicts(
            compared[(compared["kind"] == ALL) & ~compared["predictor"].isin(floors)], metric
        ),
        tables=_make_kind_tables(pooled, compared, floors),
        splits=_make_splits(summary, comparison, metric, floors),
        means_figure=draw_means(pooled[pooled["metric"] == metric], floors, metric),
        scatter_figure=draw_scatter(means, shown, best["floor"].iloc[0], metric) if shown else "",
        extremes=[
            find_extremes(
                means,
                name,
                best["floor"].iloc[0],
                is_higher_better=METRICS[metric].is_higher_better,
            )
            for name in shown
        ],
        n_decimals=count_decimals(pooled.loc[pooled["metric"] == metric, "mean"]),
    )


def _choose_shown(best: pd.DataFrame, pooled: pd.DataFrame, floors: Sequence[str]) -> list[str]:
    """Predictors that are shown condition by condition: the models, or else the next floor."""
    if best.empty:
        return []
    models = [str(name) for name in best["predictor"] if name not in floors]
    if models:
        return models
    metric = str(best["metric"].iloc[0])
    means = pooled[(pooled["kind"] == ALL) & (pooled["metric"] == metric)]
    means = means[means["predictor"].isin(best["predictor"])].set_index("predictor")["mean"]
    is_ascending = not METRICS[metric].is_higher_better
    return [str(means.sort_values(ascending=is_ascending).index[0])]


def _make_kind_tables(
    pooled: pd.DataFrame, compared: pd.DataFrame, floors: Sequence[str]
) -> list[Table]:
    tables = []
    for kind, rows in pooled.groupby("kind", sort=False):
        n_conditions = int(rows["n_conditions"].max())
        title = "All conditions" if kind == ALL else str(kind).replace("_", " ")
        tables.append(
            make_metric_table(
                f"{title} ({n_conditions})", rows, compared[compared["kind"] == kind], floors
            )
        )
    return tables


def _make_splits(
    summary: pd.DataFrame, comparison: pd.DataFrame, metric: str, floors: Sequence[str]
) -> Table | None:
    """Lay out the splits one by one, if there are several."""
    if summary["split"].nunique() < 3:  # the pooled rows and one split
        return None
    rows, compared = (
        table[(table["split"] != POOLED) & (table["kind"] == ALL) & (table["metric"] == metric)]
        for table in (summary, comparison)
    )
    return make_split_table(f"{metric}, split by split", rows, compared, floors)

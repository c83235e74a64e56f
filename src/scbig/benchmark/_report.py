"""The report: one page that needs nothing beside itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from scbig.benchmark._folder import Config
from scbig.benchmark._report_displays import (
    Table,
    count_decimals,
    describe_metric,
    draw_means,
    draw_scatter,
    format_number,
    make_metric_table,
    make_split_table,
    order_predictors,
)
from scbig.benchmark._settings import CEILING, POOLED
from scbig.benchmark._summary import ALL, BETTER, LEVEL_WITH, WORSE
from scbig.metrics import METRICS, group_reasons

N_SHOWN = 8
_WORDS = {BETTER: "beats", LEVEL_WITH: "is level with", WORSE: "loses to"}


@dataclass(frozen=True)
class Verdict:
    """How one predictor compares with the best floor.

    Attributes
    ----------
    predictor
        The predictor.
    style
        ``"better"``, ``"level"`` or ``"worse"`` by the first metric.
    text
        A sentence without its subject.
    """

    predictor: str
    style: str
    text: str


@dataclass(frozen=True)
class Extremes:
    """Best and worst conditions of one predictor.

    Attributes
    ----------
    predictor, floor
        The predictor and the floor that it is compared with.
    best, worst
        Columns ``condition``, ``kind``, ``own``, ``floor``, ``difference`` and ``ceiling``.
    """

    predictor: str
    floor: str
    best: pd.DataFrame
    worst: pd.DataFrame


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
    scores: pd.DataFrame,
    summary: pd.DataFrame,
    comparison: pd.DataFrame,
    config: Config,
    judge: Table | None = None,
) -> str:
    """Write the page.

    Parameters
    ----------
    scores, summary, comparison
        See :func:`summarise` and :func:`compare`.
    config
        What was run.
    judge
        What the judge of the field said, if one was asked.

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
        judge=judge,
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
        metrics=[(name, METRICS[name].arrow, describe_metric(name)) for name in metrics],
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
        extremes=[find_extremes(means, name, best["floor"].iloc[0], metric) for name in shown],
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
    rated = pd.Series(METRICS[metric].rate(means), means.index)
    return [str(rated.sort_values(ascending=False).index[0])]


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


def average_conditions(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Average one metric over splits, seeds and contexts.

    Parameters
    ----------
    scores
        Scores of one task.
    metric
        The metric.

    Returns
    -------
    Rows ``perturbation`` and ``kind``, a column for each predictor.
    """
    rows = scores[scores["metric"] == metric]
    return rows.pivot_table(
        index=["perturbation", "kind"], columns="predictor", values="value", dropna=False
    ).dropna(how="all")


def find_extremes(means: pd.DataFrame, predictor: str, floor: str, metric: str) -> Extremes:
    """Find where a predictor is best and worst.

    Parameters
    ----------
    means
        See :func:`average_conditions`.
    predictor, floor
        What to compare.
    metric
        Name of the metric.

    Returns
    -------
    At most eight of each, none in both.
    """
    table = pd.DataFrame(
        {
            "condition": means.index.get_level_values("perturbation"),
            "kind": means.index.get_level_values("kind"),
            "own": means[predictor].to_numpy(),
            "floor": means[floor].to_numpy(),
            "difference": (means[predictor] - means[floor]).to_numpy(),
            "ceiling": means[CEILING].to_numpy() if CEILING in means else float("nan"),
        }
    )
    table = table.dropna(subset="own").sort_values(
        "own", ascending=False, key=METRICS[metric].rate
    )
    n_shown = min(N_SHOWN, (len(table) + 1) // 2)
    worst = table.tail(min(n_shown, len(table) - n_shown)).iloc[::-1]
    return Extremes(predictor, floor, table.head(n_shown), worst)


def summarise_cost(scores: pd.DataFrame, predictors: Sequence[str]) -> pd.DataFrame:
    """Average what training and prediction cost.

    Parameters
    ----------
    scores
        All scores.
    predictors
        Names, in the order wanted.

    Returns
    -------
    By predictor: number of ``parts``, mean ``seconds``, largest ``peak_memory_mb``.
    """
    parts = scores.drop_duplicates(["predictor", "split", "seed"]).groupby("predictor")
    cost = pd.DataFrame(
        {
            "parts": parts.size(),
            "seconds": parts["seconds"].mean(),
            "peak_memory_mb": parts["peak_memory_mb"].max(),
        }
    )
    return cost.reindex(list(predictors))


def list_problems(scores: pd.DataFrame) -> pd.DataFrame:
    """Count the scores that are missing, by predictor and reason.

    Parameters
    ----------
    scores
        All scores.

    Returns
    -------
    Columns ``predictor``, ``status``, ``n`` and ``metrics``.
    """
    rows = scores[scores["value"].isna()]
    rows = rows.assign(status=group_reasons(rows["status"]))
    groups = rows.groupby(["predictor", "status"], sort=False)["metric"]
    return groups.agg(n="size", metrics=lambda names: ", ".join(names.unique())).reset_index()


def describe_verdicts(comparison: pd.DataFrame, metric: str) -> list[Verdict]:
    """Say how each predictor compares with the best floor.

    Parameters
    ----------
    comparison
        Rows of one task, pooled over splits, all kinds together.
    metric
        The metric that is said in figures; the others are counted.

    Returns
    -------
    A verdict for each predictor.
    """
    return [
        _describe(str(predictor), rows, metric)
        for predictor, rows in comparison.groupby("predictor", sort=False)
    ]


def _describe(predictor: str, rows: pd.DataFrame, metric: str) -> Verdict:
    counts = rows["verdict"].value_counts()
    found = ", ".join(f"{name} on {counts[name]}" for name in _WORDS if name in counts)
    n_metrics = rows["metric"].nunique()
    counted = f" Against the best floor of each of {n_metrics} metrics: {found}."
    main = rows[rows["metric"] == metric].dropna(subset="difference")
    if main.empty:
        return Verdict(predictor, LEVEL_WITH, f"has no {metric} to compare.{counted}")
    row = main.iloc[0]
    difference, low, high = (
        f"{row[name]:+.3g}".replace("-", "−") for name in ("difference", "low", "high")
    )
    shown = f"{difference} {metric} (95% interval {low} to {high})"
    n_conditions = int(row["n_conditions"])
    text = (
        f"{_WORDS[row['verdict']]} {row['floor']}, the best floor: {shown} on {n_conditions} "
        f"held-out conditions.{counted}"
    )
    return Verdict(predictor, str(row["verdict"]), text)

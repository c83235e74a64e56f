"""Means over conditions and differences to the best floor, with intervals."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scbig._annotations import checked
from scbig.benchmark._settings import CEILING, POOLED
from scbig.metrics import METRICS

ALL = "all"
BLOCK = ("task", "split", "kind")
_KEYS = ["split", "seed", "perturbation", "context"]
BETTER, WORSE, LEVEL_WITH = "better", "worse", "level"
LEVEL = 0.95


@checked
def summarise(scores: pd.DataFrame, *, n_resamples: int = 2000) -> pd.DataFrame:
    """Average scores over conditions.

    Parameters
    ----------
    scores
        One row a score, with the columns ``task``, ``split``, ``seed``, ``kind``,
        ``predictor``, ``perturbation``, ``context``, ``metric`` and ``value``.
    n_resamples
        Bootstrap samples of conditions behind each interval.

    Returns
    -------
    One row for each ``task``, ``split`` (``"pooled"`` for all splits of the task), ``kind`` of
    condition (``"all"``, and each kind where a task has several), ``predictor`` and ``metric``:
    the ``mean`` with the ends ``low`` and ``high`` of its 95% bootstrap interval over
    conditions, ``n`` values of ``n_conditions`` conditions, and ``n_failed`` values that the
    mean lacks.
    """
    columns = ["predictor", "metric"]
    tables = []
    for block, rows in iterate_blocks(scores):
        # Not pivot_table, which drops predictors that have no value at all.
        wide = rows.pivot(index=_KEYS, columns=columns, values="value")  # noqa: PD010
        conditions = wide.index.get_level_values("perturbation").to_series()
        found = bootstrap_means(wide, conditions, n_resamples=n_resamples)
        expected = rows.groupby(columns)["value"].size().reindex(wide.columns)
        table = pd.DataFrame(
            {
                "n": found.n_values,
                "n_conditions": found.n_conditions,
                "n_failed": expected.to_numpy() - found.n_values,
                "mean": found.mean,
                "low": found.low,
                "high": found.high,
            },
            index=wide.columns,
        )
        tables.append(table.reset_index().assign(**dict(zip(BLOCK, block, strict=True))))
    return _in_order(pd.concat(tables, ignore_index=True), scores)


def iterate_blocks(scores: pd.DataFrame) -> Iterator[tuple[tuple[str, str, str], pd.DataFrame]]:
    """Yield task, split and kind with the scores that are averaged together.

    Parameters
    ----------
    scores
        See :func:`summarise`.

    Yields
    ------
    The block, and its rows.
    """
    for task, of_task in scores.groupby("task", sort=False):
        kinds = [ALL, *sorted(of_task["kind"].unique(), key=rank_kind)]
        if len(kinds) == 2:
            kinds = [ALL]  # one kind is all there is
        parts = [(POOLED, of_task), *of_task.groupby("split", sort=False)]
        for split, rows in parts:
            for kind in kinds:
                chosen = rows if kind == ALL else rows[rows["kind"] == kind]
                if len(chosen):
                    yield (str(task), str(split), str(kind)), chosen


def rank_kind(kind: str) -> tuple[bool, str]:
    """Put single perturbations before combinations."""
    return "single" not in kind, kind


def _in_order(summary: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Keep predictors and metrics in the order of the scores, and put the keys first."""
    order = {name: list(scores[name].unique()) for name in ("predictor", "metric")}
    position = summary.groupby(list(BLOCK), sort=False).ngroup()
    ranks = pd.DataFrame(
        {"block": position}
        | {name: summary[name].map(values.index) for name, values in order.items()}
    )
    columns = [*BLOCK, "predictor", "metric"]
    rest = [name for name in summary if name not in columns]
    rows = ranks.sort_values(["block", "predictor", "metric"]).index
    return summary.loc[rows, [*columns, *rest]].reset_index(drop=True)


def find_best_floors(scores: pd.DataFrame, floors: Collection[str]) -> pd.DataFrame:
    """Find the floor with the best mean over the pooled splits, for each metric.

    Best is highest, lowest, or on average closest to the best value of the metric, see
    :meth:`scbig.metrics.Metric.rate`. The floor is chosen by the test scores themselves, which
    favours the floors.

    Parameters
    ----------
    scores
        See :func:`summarise`.
    floors
        Names of the floors.

    Returns
    -------
    One row for each ``task``, ``kind`` and ``metric``: the best ``floor``. Metrics that only
    describe have none.
    """
    rated = scores.assign(value=_rate(scores))
    rated = rated[rated["predictor"].isin(floors)]
    tables = []
    for (task, split, kind), rows in iterate_blocks(rated):
        if split == POOLED:
            means = rows.groupby(["metric", "predictor"], sort=False)["value"].mean().dropna()
            best = means.sort_values(kind="stable").reset_index().groupby("metric", sort=False)
            tables.append(best.tail(1).assign(task=task, kind=kind))
    columns = ["task", "kind", "metric", "predictor"]
    found = pd.concat(tables) if tables else pd.DataFrame(columns=columns)
    return found[columns].rename(columns={"predictor": "floor"})


def _rate(scores: pd.DataFrame) -> pd.Series:
    """Turn the scores of several metrics so that higher is better."""
    rated = scores["value"].astype(float)
    for metric, rows in scores.groupby("metric", sort=False).groups.items():
        rated.loc[rows] = METRICS[str(metric)].rate(rated.loc[rows])
    return rated


def compare(
    scores: pd.DataFrame,
    best_floors: pd.DataFrame,
    *,
    n_resamples: int = 2000,
) -> pd.DataFrame:
    """Average the differences of each predictor to the best floor.

    Parameters
    ----------
    scores
        See :func:`summarise`.
    best_floors
        See :func:`find_best_floors`.
    n_resamples
        Bootstrap samples of conditions behind each interval.

    Returns
    -------
    One row for each ``task``, ``split``, ``kind``, ``predictor`` and ``metric``, the best
    ``floor`` itself and the ceiling left out: the mean ``difference`` (predictor minus floor,
    on the conditions that both have a score of; for a metric with a best value that of the
    distances from it, so that a negative one is better), the ends ``low`` and ``high`` of its 95%
    paired bootstrap interval, and the ``verdict``: ``"better"`` or ``"worse"`` when the
    interval leaves out 0, else ``"level"``.
    """
    scores = scores.assign(value=_measure(scores))
    tables = []
    for block, rows in iterate_blocks(scores):
        named = best_floors[(best_floors["task"] == block[0]) & (best_floors["kind"] == block[2])]
        pairs = _pair(rows, named)
        if len(pairs):
            table = _average(pairs, n_resamples)
            tables.append(table.assign(**dict(zip(BLOCK, block, strict=True))))
    columns = [*BLOCK, "predictor", "metric", "floor"]
    if not tables:
        numbers = ["n", "n_conditions", "difference", "low", "high"]
        return pd.DataFrame(columns=[*columns, *numbers, "verdict"])
    compared = pd.concat(tables, ignore_index=True)
    compared["verdict"] = _judge(compared)
    return compared[[*columns, *(name for name in compared if name not in columns)]]


def _measure(scores: pd.DataFrame) -> pd.Series:
    """Put the distance from the best value in place of scores that have one."""
    best = scores["metric"].map({name: metric.best for name, metric in METRICS.items()})
    return scores["value"].where(best.isna(), (scores["value"] - best.astype(float)).abs())


def _pair(rows: pd.DataFrame, best_floors: pd.DataFrame) -> pd.DataFrame:
    """Put the score of the best floor beside each score; the column ``difference`` is theirs."""
    rows = rows[rows["predictor"] != CEILING]
    rows = rows.merge(best_floors[["metric", "floor"]], on="metric")
    floor = rows.loc[rows["predictor"] == rows["floor"], [*_KEYS, "metric", "value"]]
    pairs = rows[rows["predictor"] != rows["floor"]].merge(
        floor, on=[*_KEYS, "metric"], suffixes=("", "_f")
    )
    return pairs.assign(difference=pairs["value"] - pairs["value_f"])


def _average(pairs: pd.DataFrame, n_resamples: int) -> pd.DataFrame:
    wide = pairs.pivot(  # noqa: PD010
        index=_KEYS,
        columns=["predictor", "metric", "floor"],
        values="difference",
    )
    conditions = wide.index.get_level_values("perturbation").to_series()
    found = bootstrap_means(wide, conditions, n_resamples=n_resamples)
    values = {
        "n": found.n_values,
        "n_conditions": found.n_conditions,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
    }
    return pd.DataFrame(values, index=wide.columns).reset_index()


def _judge(compared: pd.DataFrame) -> np.ndarray:
    # Distances from a best value are better when they are lower.
    rises = {name: bool(metric.is_higher_better) for name, metric in METRICS.items()}
    is_rise_good = compared["metric"].map(rises).to_numpy(bool)
    is_above, is_below = compared["low"] > 0, compared["high"] < 0
    is_better = np.where(is_rise_good, is_above, is_below)
    is_worse = np.where(is_rise_good, is_below, is_above)
    return np.select([is_better, is_worse], [BETTER, WORSE], LEVEL_WITH)


@dataclass(frozen=True)
class Intervals:
    """Means with their intervals, one value a column of the table that they come from.

    Attributes
    ----------
    mean
        Mean of the values that are there; NaN where there are none.
    low, high
        Ends of the 95% percentile interval; NaN with fewer than two conditions.
    n_values
        Number of values.
    n_conditions
        Number of conditions with a value.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n_values: np.ndarray
    n_conditions: np.ndarray


def bootstrap_means(
    values: pd.DataFrame, conditions: pd.Series, *, n_resamples: int, seed: int = 0
) -> Intervals:
    """Average the columns of a table, with intervals over conditions.

    Conditions are drawn with replacement, each with all its rows (a condition measured in two
    contexts or tested in two splits is not two independent conditions). All columns see the
    same draws.

    Parameters
    ----------
    values
        One column for each mean wanted, NaN where there is no value.
    conditions
        Condition of each row.
    n_resamples
        Number of draws.
    seed
        Seed of the draws.

    Returns
    -------
    Means and intervals, each of shape ``(n_columns,)``.
    """
    groups = values.groupby(conditions.to_numpy(), sort=True)
    total, count = groups.sum().to_numpy(float), groups.count().to_numpy(float)
    n = len(total)
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_resamples)
    with np.errstate(invalid="ignore"):
        mean = total.sum(axis=0) / count.sum(axis=0)
        samples = (draws @ total) / (draws @ count)
    n_conditions = (count > 0).sum(axis=0)
    low, high = _get_ends(samples, n_conditions > 1)
    return Intervals(mean, low, high, count.sum(axis=0).astype(int), n_conditions)


def _get_ends(samples: np.ndarray, is_known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Percentiles of the samples that hold a value (a draw may miss all conditions that do)."""
    ends = np.full((2, samples.shape[1]), np.nan)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    ends[:, is_known] = np.nanquantile(samples[:, is_known], tails, axis=0)
    return ends[0], ends[1]

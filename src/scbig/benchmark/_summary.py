"""Means over conditions, with intervals: of each split, and pooled over the splits of a task."""

from collections.abc import Iterator

import pandas as pd

from scbig.benchmark._bootstrap import bootstrap_means
from scbig.benchmark._settings import POOLED

ALL = "all"
BLOCK = ("task", "split", "kind")
_KEYS = ["split", "seed", "perturbation", "context"]


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

"""Conditions one by one: where a predictor is good and bad, and what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from scbig.benchmark._settings import CEILING

N_SHOWN = 8


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


def find_extremes(
    means: pd.DataFrame, predictor: str, floor: str, *, is_higher_better: bool
) -> Extremes:
    """Find where a predictor is best and worst.

    Parameters
    ----------
    means
        See :func:`average_conditions`.
    predictor, floor
        What to compare.
    is_higher_better
        Direction of the metric.

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
    table = table.dropna(subset="own").sort_values("own", ascending=not is_higher_better)
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
    groups = rows.groupby(["predictor", "status"], sort=False)["metric"]
    return groups.agg(n="size", metrics=lambda names: ", ".join(names.unique())).reset_index()

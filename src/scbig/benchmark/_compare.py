"""Each predictor against the best floor, condition by condition."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from scbig.benchmark._bootstrap import bootstrap_means
from scbig.benchmark._settings import CEILING, POOLED
from scbig.benchmark._summary import BLOCK, iterate_blocks

BETTER, WORSE, LEVEL_WITH = "better", "worse", "level"
_KEYS = ["split", "seed", "perturbation", "context", "metric"]


def find_best_floors(
    summary: pd.DataFrame, floors: Collection[str], is_higher_better: Mapping[str, bool]
) -> pd.DataFrame:
    """Find the floor with the best mean over the pooled splits, for each metric.

    The floor is chosen by the test scores themselves, which favours the floors.

    Parameters
    ----------
    summary
        See :func:`summarise`.
    floors
        Names of the floors.
    is_higher_better
        Direction of each metric.

    Returns
    -------
    One row for each ``task``, ``kind`` and ``metric``: the best ``floor``.
    """
    sign = np.where(summary["metric"].map(is_higher_better).astype(bool), 1.0, -1.0)
    rows = summary.assign(goodness=sign * summary["mean"])
    rows = rows[(rows["split"] == POOLED) & rows["predictor"].isin(floors)]
    rows = rows.dropna(subset="goodness").sort_values("goodness", kind="stable")
    best = rows.groupby(["task", "kind", "metric"], sort=False).tail(1)
    return best[["task", "kind", "metric", "predictor"]].rename(columns={"predictor": "floor"})


def compare(
    scores: pd.DataFrame,
    best_floors: pd.DataFrame,
    is_higher_better: Mapping[str, bool],
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
    is_higher_better
        Direction of each metric.
    n_resamples
        Bootstrap samples of conditions behind each interval.

    Returns
    -------
    One row for each ``task``, ``split``, ``kind``, ``predictor`` and ``metric``, the best
    ``floor`` itself and the ceiling left out: the mean ``difference`` (predictor minus floor,
    on the conditions that both have a score of), the ends ``low`` and ``high`` of its 95%
    paired bootstrap interval, and the ``verdict``: ``"better"`` or ``"worse"`` when the
    interval leaves out 0, else ``"level"``.
    """
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
    compared["verdict"] = _judge(compared, is_higher_better)
    return compared[[*columns, *(name for name in compared if name not in columns)]]


def _pair(rows: pd.DataFrame, best_floors: pd.DataFrame) -> pd.DataFrame:
    """Put the score of the best floor beside each score; the column ``difference`` is theirs."""
    rows = rows[rows["predictor"] != CEILING]
    rows = rows.merge(best_floors[["metric", "floor"]], on="metric")
    floor = rows.loc[rows["predictor"] == rows["floor"], [*_KEYS, "value"]]
    pairs = rows[rows["predictor"] != rows["floor"]].merge(floor, on=_KEYS, suffixes=("", "_f"))
    return pairs.assign(difference=pairs["value"] - pairs["value_f"])


def _average(pairs: pd.DataFrame, n_resamples: int) -> pd.DataFrame:
    wide = pairs.pivot(  # noqa: PD010
        index=[key for key in _KEYS if key != "metric"],
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


def _judge(compared: pd.DataFrame, is_higher_better: Mapping[str, bool]) -> np.ndarray:
    is_rise_good = compared["metric"].map(is_higher_better).to_numpy(bool)
    is_above, is_below = compared["low"] > 0, compared["high"] < 0
    is_better = np.where(is_rise_good, is_above, is_below)
    is_worse = np.where(is_rise_good, is_below, is_above)
    return np.select([is_better, is_worse], [BETTER, WORSE], LEVEL_WITH)

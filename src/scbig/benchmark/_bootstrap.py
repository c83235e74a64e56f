"""Intervals of means by resampling conditions."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

LEVEL = 0.95


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

"""Means and intervals against NumPy and SciPy."""

import numpy as np
import pandas as pd
from scipy import stats

from scbig.benchmark._summary import bootstrap_means


def test_means_are_those_of_numpy(rng: np.random.Generator):
    values = pd.DataFrame(rng.normal(size=(30, 2)), columns=["a", "b"])
    values.iloc[3, 0] = np.nan
    conditions = pd.Series(np.repeat(np.arange(10), 3))
    found = bootstrap_means(values, conditions, n_resamples=20)
    np.testing.assert_allclose(found.mean, np.nanmean(values, axis=0))
    assert found.n_values.tolist() == [29, 30]
    assert found.n_conditions.tolist() == [10, 10]


def test_interval_is_that_of_scipy(rng: np.random.Generator):
    values = rng.normal(size=60)
    found = bootstrap_means(
        pd.DataFrame({"a": values}), pd.Series(np.arange(60)), n_resamples=20000
    )
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20000
    ).confidence_interval
    np.testing.assert_allclose([found.low[0], found.high[0]], expected, atol=0.01)


def test_conditions_are_drawn_with_all_their_rows(rng: np.random.Generator):
    values = rng.normal(size=40)
    once = bootstrap_means(pd.DataFrame({"a": values}), pd.Series(np.arange(40)), n_resamples=500)
    thrice = bootstrap_means(
        pd.DataFrame({"a": np.repeat(values, 3)}),
        pd.Series(np.repeat(np.arange(40), 3)),
        n_resamples=500,
    )
    np.testing.assert_allclose([thrice.low, thrice.high], [once.low, once.high])
    assert (once.n_values[0], thrice.n_values[0], thrice.n_conditions[0]) == (40, 120, 40)


def test_one_condition_has_no_interval_and_none_has_no_mean():
    values = pd.DataFrame({"a": [1.0, 3.0, np.nan], "b": [np.nan] * 3})
    found = bootstrap_means(values, pd.Series(["p", "p", "q"]), n_resamples=50)
    np.testing.assert_allclose(found.mean, [2.0, np.nan])
    assert np.isnan([found.low, found.high]).all()
    assert found.n_conditions.tolist() == [1, 0]


def test_same_seed_same_interval(rng: np.random.Generator):
    values = pd.DataFrame({"a": rng.normal(size=9)})
    runs = [bootstrap_means(values, pd.Series(range(9)), n_resamples=30) for _ in range(2)]
    assert (runs[0].low, runs[0].high) == (runs[1].low, runs[1].high)
    other = bootstrap_means(values, pd.Series(range(9)), n_resamples=30, seed=1)
    assert other.low != runs[0].low

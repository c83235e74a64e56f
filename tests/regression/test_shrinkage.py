"""Adaptive shrinkage against the posterior by numerical integration, and against the truth."""

import numpy as np
import pytest
from scipy import stats

from scbig.regression._shrinkage import (
    compute_posterior as compute_found,
    compute_standard_error,
    shrink,
)

N_GENES = 4000


def draw(rng: np.random.Generator, share: float, size: float, n: int = 1) -> np.ndarray:
    """Effects in standard errors, of which a share is normal and the rest nothing."""
    is_there = rng.random((n, N_GENES)) < share
    return np.where(is_there, size * rng.normal(size=is_there.shape), 0.0)


def compute_posterior(measured: np.ndarray, share: float, size: float) -> np.ndarray:
    """Posterior mean under the distribution that effects were drawn from."""
    wide = share * stats.norm.pdf(measured, scale=np.sqrt(1 + size**2))
    there = wide / (wide + (1 - share) * stats.norm.pdf(measured))
    return there * measured * size**2 / (1 + size**2)


@pytest.mark.parametrize(("share", "size"), [(0.05, 8.0), (0.3, 4.0), (1.0, 1.0)])
def test_it_comes_near_the_posterior_that_knows_how_effects_were_drawn(rng, share, size):
    truth = draw(rng, share, size)
    measured = truth + rng.normal(size=truth.shape)
    found = shrink(0.1 * measured, np.full(truth.shape, 0.1)) / 0.1
    best = compute_posterior(measured, share, size)
    errors = [np.mean((one - truth) ** 2) for one in (best, found, measured)]
    assert errors[1] < 1.05 * errors[0] + 0.01
    assert errors[1] < errors[2]
    assert np.mean(np.abs(found - best)) < 0.1


def test_nothing_stays_nothing_and_large_effects_stay(rng):
    noise = rng.normal(size=(1, N_GENES))
    ones = np.ones_like(noise)
    assert np.sqrt(np.mean(shrink(noise, ones) ** 2)) < 0.1
    large = 30 * np.sign(noise) + noise
    np.testing.assert_allclose(shrink(large, ones), large, rtol=0.02)


def test_each_condition_is_shrunk_by_its_own_effects(rng):
    """The same size is believed in a condition with many effects, and not in one without any."""
    truth = np.vstack([draw(rng, 0.0, 1.0, 5), draw(rng, 0.8, 5.0, 5)])
    measured = truth + rng.normal(size=truth.shape)
    measured[[0, -1], 0] = 3.0
    found = shrink(measured, np.ones_like(measured))
    assert found[0, 0] < 0.8 < 2.0 < found[-1, 0]


def test_signs_orders_and_units_do_not_matter(rng):
    truth = draw(rng, 0.3, 3.0, 4)
    error = rng.uniform(0.5, 2.0, size=truth.shape)
    measured = truth + error * rng.normal(size=truth.shape)
    found = shrink(measured, error)
    np.testing.assert_allclose(shrink(-measured, error), -found, rtol=1e-12)
    np.testing.assert_allclose(shrink(100 * measured, 100 * error), 100 * found, rtol=1e-9)
    genes, rows = rng.permutation(N_GENES), [2, 0, 3, 1]
    again = shrink(measured[rows][:, genes], error[rows][:, genes])
    np.testing.assert_allclose(again, found[rows][:, genes], rtol=1e-7, atol=1e-12)
    assert (np.abs(found) <= np.abs(measured)).all()


def test_standard_errors_are_those_of_means(rng):
    variance = np.array([4.0, 1.0, 0.0])
    error = compute_standard_error(variance, np.array([1 / 4, 1 / 25]))
    np.testing.assert_allclose(error[:, :2], [[1.0, 0.5], [0.4, 0.2]])
    # A gene that never varied in training may vary in the next cell.
    assert (error[:, 2] > 0).all()
    assert (error[:, 2] < 0.05).all()


@pytest.mark.parametrize(
    ("share", "size", "most"),
    # Of few effects, weights near zero are not told apart: what is left is rather taken for more.
    [(0.05, 8.0, 1.6), (0.3, 4.0, 1.1), (1.0, 1.0, 1.1)],
)
def test_the_posterior_variance_is_the_squared_error_that_is_left(rng, share, size, most):
    truth = draw(rng, share, size, 5)
    measured = truth + rng.normal(size=truth.shape)
    mean, variance = compute_found(0.1 * measured, np.full(truth.shape, 0.1))
    np.testing.assert_array_equal(mean, shrink(0.1 * measured, np.full(truth.shape, 0.1)))
    square = (mean / 0.1 - truth) ** 2
    assert 0.9 < np.mean(variance) / 0.01 / np.mean(square) < most


def test_the_posterior_variance_is_largest_where_effects_are_in_doubt(rng):
    truth = draw(rng, 0.05, 30.0)
    truth[0, :2] = 3.0, 60.0
    measured = truth + rng.normal(size=truth.shape)
    measured[0, :3] = 3.0, 60.0, 0.1
    variance = compute_found(0.1 * measured, np.full(truth.shape, 0.1))[1][0] / 0.01
    # There or not; surely there, with the error of the measurement; surely nothing.
    assert variance[0] > 0.8
    assert variance[1] == pytest.approx(1, abs=0.05)
    assert variance[2] < 0.1

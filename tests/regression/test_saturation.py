"""The share of the expected effect against least squares."""

from dataclasses import replace

import numpy as np
import pytest

from scbig.data import Effects
from scbig.regression._denoised import compute_saturation

TARGETS = (("A",), ("B",), ("A", "B"), ("A", "C"), ("A", "B", "C"), ("B", "D"))
COMBINED = slice(2, 6)
KNOWN = {"A", "B", "C", "D"}


@pytest.fixture
def effects(rng: np.random.Generator) -> Effects:
    delta = rng.normal(size=(len(TARGETS), 7))
    return Effects(
        targets=TARGETS,
        context=np.zeros(len(TARGETS), dtype=int),
        delta=delta,
        n_cells=np.full(len(TARGETS), 30),
        control_mean=np.ones((1, 7)),
        variance=np.ones_like(delta),
    )


def fit_slope(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0])


def test_share_of_a_gene_is_a_slope_with_one_row_for_the_common_slope(
    rng: np.random.Generator, effects: Effects
):
    predicted = effects.delta / 0.7 + 0.5 * rng.normal(size=effects.delta.shape)
    x, y = predicted[COMBINED], effects.delta[COMBINED]
    common = fit_slope(x.ravel(), y.ravel())
    # The row is as large as an average gene.
    size = np.sqrt((x**2).sum(axis=0).mean())
    expected = [
        fit_slope(np.append(x[:, gene], size), np.append(y[:, gene], size * common))
        for gene in range(7)
    ]
    assert min(expected) > 0
    np.testing.assert_allclose(compute_saturation(effects, predicted, KNOWN), expected, rtol=1e-10)


def test_a_common_share_is_found_in_all_genes(effects: Effects):
    np.testing.assert_allclose(
        compute_saturation(effects, effects.delta / 0.6, KNOWN), 0.6, rtol=1e-12
    )


def test_a_gene_without_predicted_effects_has_the_common_share(effects: Effects):
    predicted = effects.delta / 0.6
    predicted[:, 3] = 0
    np.testing.assert_allclose(compute_saturation(effects, predicted, KNOWN), 0.6, rtol=1e-12)


def test_single_perturbations_do_not_count(rng: np.random.Generator, effects: Effects):
    predicted = rng.normal(size=effects.delta.shape)
    expected = compute_saturation(effects, predicted, KNOWN)
    predicted[:2] = 100
    np.testing.assert_array_equal(compute_saturation(effects, predicted, KNOWN), expected)


def test_shares_are_never_negative(effects: Effects):
    np.testing.assert_array_equal(compute_saturation(effects, -effects.delta, KNOWN), np.zeros(7))


def test_without_combinations_or_expectations_nothing_is_scaled(effects: Effects):
    singles = effects.subset(np.arange(2))
    np.testing.assert_array_equal(compute_saturation(singles, singles.delta, KNOWN), np.ones(7))
    nothing = np.zeros_like(effects.delta)
    np.testing.assert_array_equal(compute_saturation(effects, nothing, KNOWN), np.ones(7))
    still = replace(effects, delta=nothing)
    np.testing.assert_array_equal(compute_saturation(still, effects.delta, KNOWN), np.zeros(7))


def test_combinations_of_targets_in_no_other_condition_are_left_aside(
    rng: np.random.Generator, effects: Effects
):
    predicted = rng.normal(size=effects.delta.shape)
    expected = compute_saturation(effects.subset(np.arange(5)), predicted[:5], KNOWN)
    found = compute_saturation(effects, predicted, {"A", "B", "C"})
    np.testing.assert_array_equal(found, expected)

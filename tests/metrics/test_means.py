import logging

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import pearsonr

from scbig import metrics

ON_MEANS = [
    metrics.direction_accuracy,
    metrics.direction_accuracy_top20,
    metrics.mae,
    metrics.mae_delta,
    metrics.mse,
    metrics.mse_delta,
    metrics.pds_cosine,
    metrics.pds_l1,
    metrics.pds_l2,
    metrics.pearson_delta,
    metrics.pearson_delta_top20,
]


def _make_means(seed=0, n_conditions=6, n_genes=40):
    rng = np.random.default_rng(seed)
    control = rng.uniform(0, 3, n_genes)
    real = control + rng.normal(0, 0.5, (n_conditions, n_genes))
    return real, real + rng.normal(0, 0.4, real.shape), control


@pytest.mark.parametrize("per_condition_control", [False, True])
def test_pearson_is_scipys(per_condition_control):
    real, predicted, control = _make_means()
    if per_condition_control:
        control = control + np.random.default_rng(1).normal(0, 0.2, real.shape)
    rows = np.broadcast_to(control, real.shape)
    expected = [pearsonr(p - c, r - c)[0] for r, p, c in zip(real, predicted, rows, strict=True)]
    np.testing.assert_allclose(metrics.pearson_delta(real, predicted, control), expected)


@pytest.mark.parametrize("n_top", [3, 20, 40])
def test_top_genes_are_those_of_largest_real_effect(n_top):
    real, predicted, control = _make_means(2)
    r = metrics.pearson_delta_top20(real, predicted, control, n_top=n_top)
    accuracy = metrics.direction_accuracy_top20(real, predicted, control, n_top=n_top)
    for i in range(len(real)):
        top = sorted(range(40), key=lambda g: abs(real[i, g] - control[g]))[-n_top:]
        a, b = (real[i] - control)[top], (predicted[i] - control)[top]
        assert r[i] == pytest.approx(pearsonr(a, b)[0])
        assert accuracy[i] == np.mean([(x > 0) == (y > 0) for x, y in zip(a, b, strict=True)])


def test_direction_counts_zero_as_a_sign():
    real = np.array([[1.0, -1.0, 0.0, 2.0]])
    predicted = np.array([[0.5, 1.0, 0.0, 0.0]])
    assert metrics.direction_accuracy(real, predicted, np.zeros(4)).tolist() == [0.5]
    assert metrics.direction_accuracy(real, real * 0, np.zeros(4)).tolist() == [0.25]


def test_errors_by_hand():
    real, predicted, control = np.array([[1.0, 2.0]]), np.array([[2.0, 4.0]]), np.array([5.0, 7.0])
    assert metrics.mse(real, predicted, control).tolist() == [2.5]
    assert metrics.mse_delta(real, predicted, control).tolist() == [2.5]
    assert metrics.mae(real, predicted, control).tolist() == [1.5]
    assert metrics.mae_delta(real, predicted, control).tolist() == [1.5]


def test_perfect_and_opposite_predictions():
    real, _, control = _make_means()
    np.testing.assert_allclose(metrics.pearson_delta(real, real, control), 1.0)
    np.testing.assert_allclose(metrics.pearson_delta(real, 2 * control - real, control), -1.0)
    assert metrics.direction_accuracy(real, real, control).tolist() == [1.0] * 6
    assert metrics.mse(real, real, control).tolist() == [0.0] * 6


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_a_constant_effect_scores_zero_and_says_so(shift, caplog):
    real, predicted, control = _make_means()
    predicted[2] = control + shift  # constant up to rounding
    with caplog.at_level(logging.INFO):
        r = metrics.pearson_delta(real, predicted, control)
    assert r[2] == 0.0
    assert (r[[0, 1, 3, 4, 5]] > 0.3).all()
    assert "1 of 6 conditions have a constant" in caplog.text


def test_float32_means_are_scored_in_float64():
    real, predicted, control = (a.astype(np.float32) for a in _make_means())
    wide = metrics.pearson_delta(*(a.astype(np.float64) for a in (real, predicted, control)))
    assert np.array_equal(metrics.pearson_delta(real, predicted, control), wide)


@pytest.mark.parametrize("metric", ON_MEANS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_order_of_genes_and_conditions_does_not_matter(metric, seed):
    real, predicted, control = _make_means(seed)
    rng = np.random.default_rng(seed)
    genes, rows = rng.permutation(40), rng.permutation(6)
    score = metric(real, predicted, control)
    assert score.shape == (6,)
    assert score.dtype == np.float64
    np.testing.assert_allclose(
        metric(real[:, genes], predicted[:, genes], control[genes]), score, atol=1e-12
    )
    np.testing.assert_allclose(metric(real[rows], predicted[rows], control), score[rows])
    if not metric.__name__.startswith("pds"):  # a rank needs the other conditions
        np.testing.assert_allclose(metric(real[:1], predicted[:1], control), score[:1])


@pytest.mark.parametrize("metric", ON_MEANS)
def test_inputs_that_do_not_fit_are_refused(metric):
    real, predicted, control = _make_means()
    with pytest.raises(ValueError, match=r"For a single condition pass real\[None, :\]"):
        metric(real[0], predicted[0], control)
    with pytest.raises(ValueError, match=r"predicted has shape \(6, 39\) but real has \(6, 40\)"):
        metric(real, predicted[:, 1:], control)
    with pytest.raises(ValueError, match=r"control has shape \(6,\); expected \(40,\) or \(6, 40"):
        metric(real, predicted, control[:6])
    predicted[1, 1] = np.nan
    with pytest.raises(ValueError, match="predicted holds 1 values that are not finite"):
        metric(real, predicted, control)


@pytest.mark.parametrize("metric", [metrics.pearson_delta_top20, metrics.direction_accuracy_top20])
def test_too_few_genes_for_the_top_are_refused(metric):
    real, predicted, control = _make_means(n_genes=12)
    with pytest.raises(ValueError, match="n_top=20 must be between 1 and the number of genes, 12"):
        metric(real, predicted, control)


@pytest.mark.parametrize("per_condition", [False, True])
def test_the_reference_replaces_the_controls(per_condition):
    real, predicted, reference = _make_means(7)
    if per_condition:
        reference = reference + np.random.default_rng(1).normal(0, 0.2, real.shape)
    rows = np.broadcast_to(reference, real.shape)
    expected = [pearsonr(p - c, r - c)[0] for r, p, c in zip(real, predicted, rows, strict=True)]
    scores = metrics.pearson_delta_perturbed(real, predicted, reference)
    np.testing.assert_allclose(scores, expected)


def test_a_shift_that_all_perturbed_cells_share_earns_nothing():
    rng = np.random.default_rng(3)
    control, shift = rng.uniform(0, 3, 400), rng.normal(0, 1, 400)
    real = control + shift + rng.normal(0, 0.3, (5, 400))
    predicted = control + shift + rng.normal(0, 0.3, (5, 400))
    reference = control + shift
    assert metrics.pearson_delta(real, predicted, control).min() > 0.8
    assert np.abs(metrics.pearson_delta_perturbed(real, predicted, reference)).max() < 0.2


def test_a_reference_that_does_not_fit_is_called_so():
    real, predicted, reference = _make_means()
    with pytest.raises(ValueError, match=r"reference has shape \(39,\); expected \(40,\)"):
        metrics.pearson_delta_perturbed(real, predicted, reference[1:])
    with pytest.raises(ValueError, match="reference holds 40 values that are not finite"):
        metrics.pearson_delta_perturbed(real, predicted, reference * np.nan)

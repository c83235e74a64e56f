import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse
from scipy.stats import ttest_ind
from sklearn.metrics import r2_score

from scbig import metrics

CONDITIONS = ["a", "b", "c"]


def make_cells(seed, n_genes=12):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(CONDITIONS, [4, 7, 9]))
    cells = np.log1p(rng.poisson(rng.uniform(0.3, 3, n_genes), (20, n_genes)))
    return cells, labels


@pytest.mark.filterwarnings("ignore:Precision loss")
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_t_scores_are_scipys(seed):
    cells, labels = make_cells(seed)
    scores = metrics.compute_t_scores(cells, labels, CONDITIONS)
    for row, name in zip(scores, CONDITIONS, strict=True):
        own, rest = cells[labels == name], cells[labels != name]
        is_constant = (np.ptp(own, axis=0) == 0) & (np.ptp(rest, axis=0) == 0)
        own, rest = own[:, ~is_constant], rest[:, ~is_constant]
        expected = ttest_ind(own, rest, equal_var=False).statistic
        np.testing.assert_allclose(row[~is_constant], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix])
def test_sparse_cells_score_as_dense_ones(make):
    cells, labels = make_cells(0)
    expected = metrics.compute_t_scores(cells, labels, CONDITIONS)
    scores = metrics.compute_t_scores(make(cells.astype(np.float32)), labels, CONDITIONS)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert scores.dtype == np.float64


def test_labels_may_be_categorical_and_conditions_in_any_order():
    cells, labels = make_cells(1)
    expected = metrics.compute_t_scores(cells, labels, CONDITIONS)
    scores = metrics.compute_t_scores(cells, pd.Series(labels, dtype="category"), ["c", "a", "b"])
    np.testing.assert_allclose(scores, expected[[2, 0, 1]])


def test_cells_of_other_conditions_count_among_the_rest():
    cells, labels = make_cells(2)
    alone = metrics.compute_t_scores(cells, labels, ["b"])
    np.testing.assert_allclose(alone, metrics.compute_t_scores(cells, labels, CONDITIONS)[[1]])


def test_genes_without_variance():
    labels = ["a"] * 3 + ["b"] * 4
    is_a = np.array([1.0] * 3 + [0.0] * 4)
    # Off everywhere; equal everywhere; two levels without variance; on in one condition only.
    cells = np.column_stack([0 * is_a, 0 * is_a + 1.1, is_a, [0.1, 0.2, 0.4, 0, 0, 0, 0]])
    scores = metrics.compute_t_scores(cells, labels, ["a", "b"])
    assert scores[:, :3].tolist() == [[0.0, 0.0, np.inf], [0.0, 0.0, -np.inf]]
    expected = ttest_ind(cells[:3, 3], cells[3:, 3], equal_var=False).statistic
    np.testing.assert_allclose(scores[:, 3], [expected, -expected])
    assert metrics.get_gene_weights(scores).tolist() == [[0, 0, 1, 0]] * 2


def test_weights_are_squared_shares_of_the_range():
    scores = np.array([[-4.0, 1.0, 2.5, 0.0], [3.0, 3.0, -3.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    weights = metrics.get_gene_weights(scores)
    np.testing.assert_allclose(weights[0], [1.0, 0.0625, 0.390625, 0.0])
    assert weights[1:].tolist() == [[1.0] * 4] * 2  # no gene stands out


def make_means(seed):
    rng = np.random.default_rng(seed)
    real, noise = rng.normal(size=(2, 6, 15))
    return real, real + noise, rng.normal(size=15), rng.random((6, 15))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_weighted_scores_are_those_of_a_loop(seed):
    real, predicted, control, weights = make_means(seed)
    errors = metrics.weighted_mse(real, predicted, weights)
    r2 = metrics.weighted_r2_delta(real, predicted, control, weights)
    for p in range(6):
        squares = [weights[p, g] * (real[p, g] - predicted[p, g]) ** 2 for g in range(15)]
        assert errors[p] == pytest.approx(sum(squares) / sum(weights[p]))
        expected = r2_score(real[p] - control, predicted[p] - control, sample_weight=weights[p])
        assert r2[p] == pytest.approx(expected)


def test_equal_weights_give_the_plain_error():
    real, predicted, control, _ = make_means(0)
    weights = np.full(real.shape, 0.3)
    np.testing.assert_allclose(
        metrics.weighted_mse(real, predicted, weights), metrics.mse(real, predicted, control)
    )


def test_r2_of_a_constant_effect_is_that_of_scikit_learn():
    control = np.array([0.1, 0.7, 1.3])
    real = np.tile(control + 0.3, (2, 1))  # constant up to rounding
    predicted = real + np.array([[0.0], [0.2]])
    scores = metrics.weighted_r2_delta(real, predicted, control, np.ones((2, 3)))
    assert scores.tolist() == [1.0, 0.0]
    assert r2_score([0.3] * 3, [0.3] * 3) == 1.0
    assert r2_score([0.3] * 3, [0.5] * 3) == 0.0


def test_cells_that_do_not_fit_are_refused():
    cells, labels = make_cells(0)
    with pytest.raises(ValueError, match=r"cells has shape \(20, 12\) and there are 19 labels"):
        metrics.compute_t_scores(cells, labels[1:], CONDITIONS)
    with pytest.raises(ValueError, match=r"1 conditions have fewer than 2 cells, .* \['d'\]"):
        metrics.compute_t_scores(cells, labels, ["a", "d"])
    with pytest.raises(ValueError, match=r"'a' has 20 of 20 cells: no two perturbed cells"):
        metrics.compute_t_scores(cells, ["a"] * 20, ["a"])
    with pytest.raises(ValueError, match=r"conditions holds \['a'\] more than once"):
        metrics.compute_t_scores(cells, labels, ["a", "b", "a"])
    cells[0, 0] = np.inf
    for bad in (cells, sparse.csr_array(cells)):
        with pytest.raises(ValueError, match="cells holds values that are not finite"):
            metrics.compute_t_scores(bad, labels, CONDITIONS)


def test_scores_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"t_scores has shape \(3,\); expected conditions x gen"):
        metrics.get_gene_weights([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="t_scores holds 1 NaN"):
        metrics.get_gene_weights([[1.0, np.nan]])


def test_weights_that_do_not_fit_are_refused():
    real, predicted, control, weights = make_means(0)
    calls = [
        lambda w: metrics.weighted_mse(real, predicted, w),
        lambda w: metrics.weighted_r2_delta(real, predicted, control, w),
    ]
    negative, empty = weights.copy(), weights.copy()
    negative[1, 2:4] = [-1, np.nan]
    empty[3] = 0
    for call in calls:
        with pytest.raises(ValueError, match=r"weights has shape \(15,\); expected \(6, 15\)"):
            call(weights[0])
        with pytest.raises(ValueError, match="weights holds 2 values that are negative or not fi"):
            call(negative)
        with pytest.raises(ValueError, match="weights of condition 3 are all 0"):
            call(empty)

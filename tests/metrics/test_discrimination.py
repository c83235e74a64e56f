import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.spatial import distance

from scbig import metrics

BY_NAME = {
    metrics.pds_l1: distance.cityblock,
    metrics.pds_l2: distance.euclidean,
    metrics.pds_cosine: distance.cosine,
}


def _make_case(seed, n_conditions=12, n_genes=15, noise=1.5):
    rng = np.random.default_rng(seed)
    control = rng.uniform(0, 2, n_genes)
    real = control + rng.normal(0, 1, (n_conditions, n_genes))
    predicted = real + rng.normal(0, noise, real.shape)
    mask = rng.random(real.shape) < 0.15
    mask[:, 0] = False
    return real, predicted, control, mask


def _score_by_hand(measure, real, predicted, control, mask):
    scores = []
    for p in range(len(real)):
        genes = [g for g in range(real.shape[1]) if not mask[p, g]]
        own = (predicted[p] - control)[genes]
        distances = [measure(own, (row - control)[genes]) for row in real]
        rank = sorted(range(len(real)), key=lambda q: distances[q]).index(p)
        scores.append(1 - rank / len(real))
    return scores


@pytest.mark.parametrize("metric", BY_NAME)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_scores_are_the_ranks_of_a_loop(metric, seed):
    real, predicted, control, mask = _make_case(seed)
    expected = _score_by_hand(BY_NAME[metric], real, predicted, control, mask)
    scores = metric(real, predicted, control, target_mask=mask)
    np.testing.assert_allclose(scores, expected)
    assert scores.min() >= 1 / 12


@pytest.mark.parametrize("metric", BY_NAME)
def test_a_perfect_prediction_scores_one_and_a_poor_one_less(metric):
    real, predicted, control, _ = _make_case(0)
    assert metric(real, real, control).tolist() == [1.0] * 12
    inaccurate = metric(real, predicted, control).mean()
    without_signal = metric(real, np.roll(real, 1, axis=0), control)
    assert 0.8 < inaccurate < 1
    assert (without_signal < 1).all()


@pytest.mark.parametrize("metric", BY_NAME)
def test_own_targets_are_left_out(metric):
    real, predicted, control, mask = _make_case(1)
    # Without the mask, predicting nothing but the knock-down gives a condition away.
    knocked_down = np.where(mask, real, predicted)
    absurd = np.where(mask, 50.0, predicted)
    expected = metric(real, predicted, control, target_mask=mask)
    for changed in (knocked_down, absurd):
        assert metric(real, changed, control, target_mask=mask).tolist() == expected.tolist()
    assert metric(real, absurd, control).mean() < expected.mean()


def test_the_own_genes_of_other_conditions_stay_in():
    """As in cell-eval: one mean for all conditions profits from the other knock-downs."""
    control = np.full(6, 8.0)
    real = control - 6 * np.eye(6)  # whole numbers: the means are exact, and so are the ties
    predicted = np.tile(real.mean(axis=0), (6, 1))
    assert metrics.pds_l1(real, predicted, control).tolist() == [1 - 2.5 / 6] * 6
    own = np.eye(6, dtype=bool)
    assert metrics.pds_l1(real, predicted, control, target_mask=own).tolist() == [1.0] * 6


@pytest.mark.parametrize("order", [1, -1])
def test_no_change_has_equal_cosine_distances_and_shares_the_ranks(order):
    real, _, control, _ = _make_case(2)
    scores = metrics.pds_cosine(real[::order], np.tile(control, (12, 1)), control)
    np.testing.assert_allclose(scores, 1 - 5.5 / 12)


@pytest.mark.parametrize("metric", BY_NAME)
def test_twin_conditions_share_their_rank(metric):
    real, _, control, _ = _make_case(3)
    real[5] = real[4]
    scores = metric(real, real, control)
    assert scores[[4, 5]].tolist() == [1 - 0.5 / 12] * 2
    assert np.delete(scores, [4, 5]).tolist() == [1.0] * 10


def test_controls_may_differ_between_conditions():
    real, predicted, control, _ = _make_case(4)
    by_condition = control + np.random.default_rng(0).normal(0, 1, real.shape)
    shifted = metrics.pds_l2(
        real - control + by_condition, predicted - control + by_condition, by_condition
    )
    np.testing.assert_allclose(shifted, metrics.pds_l2(real, predicted, control))


def test_target_mask_marks_the_measured_targets():
    mask = metrics.get_target_mask([("A",), ("C", "A"), ("X",), ()], ["A", "B", "C"])
    assert mask.dtype == bool
    assert mask.tolist() == [
        [True, False, False],
        [True, False, True],
        [False, False, False],
        [False, False, False],
    ]
    assert metrics.get_target_mask([], ["A"]).shape == (0, 1)


def test_a_target_given_as_a_string_is_refused():
    with pytest.raises(ValueError, match=r"targets holds the string 'AB'; write \['AB'\] instead"):
        metrics.get_target_mask(["AB"], ["A", "B"])


def test_masks_that_do_not_fit_are_refused():
    real, predicted, control, mask = _make_case(0)
    with pytest.raises(ValueError, match=r"bool of shape \(12, 14\); expected bool of shape"):
        metrics.pds_l1(real, predicted, control, target_mask=mask[:, 1:])
    with pytest.raises(ValueError, match=r"target_mask is int64 .* get_target_mask"):
        metrics.pds_l1(real, predicted, control, target_mask=mask.astype(np.int64))
    mask[7] = True
    with pytest.raises(ValueError, match="leaves no gene of condition 7"):
        metrics.pds_l1(real, predicted, control, target_mask=mask)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_published_scores_are_the_ranks_of_a_loop(seed):
    real, predicted, _, mask = _make_case(seed)
    expected = _score_by_hand(distance.cityblock, real, predicted, 0.0, mask)
    scores = metrics.pds_published(real, predicted, target_mask=mask)
    rank = 12 * (1 - np.array(expected))
    np.testing.assert_allclose(scores, 1 - rank / 11)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_centroid_accuracy_counts_farther_centroids(seed):
    real, predicted, _, _ = _make_case(seed)
    expected = []
    for p in range(12):
        own = distance.euclidean(predicted[p], real[p])
        others = [distance.euclidean(predicted[p], real[q]) for q in range(12) if q != p]
        expected.append(np.mean([other > own for other in others]))
    np.testing.assert_allclose(metrics.centroid_accuracy(real, predicted), expected)


def test_a_centroid_as_far_as_the_own_one_is_not_farther():
    real = np.array([[0.0, 0.0], [2.0, 0.0], [9.0, 0.0]])
    predicted = np.array([[1.0, 0.0], [1.0, 0.0], [9.0, 0.0]])
    assert metrics.centroid_accuracy(real, predicted).tolist() == [0.5, 0.5, 1.0]
    assert metrics.pds_published(real, predicted).tolist() == [0.75, 0.75, 1.0]


def test_every_gene_may_be_the_target_of_some_condition():
    real, predicted, control, _ = _make_case(5, n_conditions=15)
    mask = np.eye(15, dtype=bool)
    for metric, measure in BY_NAME.items():
        expected = _score_by_hand(measure, real, predicted, control, mask)
        scores = metric(real, predicted, control, target_mask=mask)
        np.testing.assert_allclose(scores, expected)


def test_a_single_condition_is_not_ranked_by_share():
    real, predicted, control, _ = _make_case(0)
    for metric in (metrics.pds_published, metrics.centroid_accuracy):
        with pytest.raises(ValueError, match=f"{metric.__name__} ranks a condition among others"):
            metric(real[:1], predicted[:1])
    assert metrics.pds_l1(real[:1], predicted[:1], control).tolist() == [1.0]


@pytest.mark.parametrize("metric", [metrics.pds_published, metrics.centroid_accuracy])
def test_ranked_means_that_do_not_fit_are_refused(metric):
    real, predicted, _, _ = _make_case(0)
    with pytest.raises(ValueError, match=r"predicted has shape \(11, 15\) but real has \(12, 15"):
        metric(real, predicted[1:])
    with pytest.raises(ValueError, match="real holds 1 values that are not finite"):
        metric(np.where(real == real.max(), np.nan, real), predicted)

"""What holds for every metric: order does not matter, exact is best, nothing is NaN."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from scipy.spatial.distance import pdist

from scbig import metrics

CONDITIONS = ["A", "B", "C", "D", "E"]
N_GENES = 24
SEEDS = st.integers(0, 10_000)


class Cells(NamedTuple):
    """Cells x genes with the label of each cell; the reference is a mean of other conditions."""

    real: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    predicted_labels: np.ndarray
    controls: np.ndarray
    reference: np.ndarray
    mask: np.ndarray


def make_cells(seed, *, zeros=0.4):
    """Counts of few distinct values and genes that are off: ties and zero variances abound."""
    rng = np.random.default_rng(seed)
    is_on = rng.random(N_GENES) > zeros
    rate = rng.uniform(0.2, 3, N_GENES) * is_on
    labels = np.repeat(CONDITIONS, rng.integers(3, 7, len(CONDITIONS)))
    predicted_labels = np.repeat(CONDITIONS, rng.integers(2, 6, len(CONDITIONS)))
    effects = {c: rng.choice([0.2, 1, 1, 4], N_GENES) for c in CONDITIONS}

    def draw(names):
        return np.log1p([rng.poisson(rate * effects.get(name, 1)) for name in names])

    mask = np.zeros((len(CONDITIONS), N_GENES), dtype=bool)
    mask[np.arange(len(CONDITIONS)), rng.integers(0, N_GENES, len(CONDITIONS))] = True
    return Cells(
        draw(labels),
        labels,
        draw(predicted_labels),
        predicted_labels,
        draw([""] * 6),
        np.log1p(rng.poisson(rate, (9, N_GENES))).mean(axis=0),
        mask,
    )


def get_means(values, labels):
    return np.array([values[labels == c].mean(axis=0) for c in CONDITIONS])


def score(cells: Cells) -> dict[str, np.ndarray]:
    """Every metric, one value a condition."""
    real = get_means(cells.real, cells.labels)
    predicted = get_means(cells.predicted, cells.predicted_labels)
    control = cells.controls.mean(axis=0)
    weights = metrics.get_gene_weights(
        metrics.compute_t_scores(cells.real, cells.labels, CONDITIONS)
    )
    scores = {f.__name__: f(real, predicted, control) for f in ON_MEANS}
    for f in (metrics.pds_l1, metrics.pds_l2, metrics.pds_cosine):
        scores[f.__name__] = f(real, predicted, control, target_mask=cells.mask)
    scores["pds_published"] = metrics.pds_published(real, predicted, target_mask=cells.mask)
    scores["centroid_accuracy"] = metrics.centroid_accuracy(real, predicted)
    scores["pearson_delta_perturbed"] = metrics.pearson_delta_perturbed(
        real, predicted, cells.reference
    )
    scores["weighted_mse"] = metrics.weighted_mse(real, predicted, weights)
    scores["weighted_r2_delta"] = metrics.weighted_r2_delta(real, predicted, control, weights)
    pairs = [
        (cells.real[cells.labels == c], cells.predicted[cells.predicted_labels == c])
        for c in CONDITIONS
    ]
    # All cells of the real side at once: a handful of equal ones has no bandwidth.
    scores["mmd_rbf"] = np.array([metrics.mmd_rbf(cells.real, y) for _, y in pairs])
    for is_unbiased in (True, False):
        scores[f"energy_distance_{is_unbiased}"] = np.array(
            [metrics.energy_distance(x, y, is_unbiased=is_unbiased) for x, y in pairs]
        )
    return scores


ON_MEANS: list[Callable[..., np.ndarray]] = [
    metrics.pearson_delta,
    metrics.pearson_delta_top20,
    metrics.direction_accuracy,
    metrics.direction_accuracy_top20,
    metrics.mse,
    metrics.mae,
    metrics.mse_delta,
    metrics.mae_delta,
]
LOWER_IS_BETTER = {"mse", "mae", "mse_delta", "mae_delta", "weighted_mse"}


def shuffle_cells(cells: Cells, rng: np.random.Generator) -> Cells:
    order = rng.permutation(len(cells.labels))
    predicted_order = rng.permutation(len(cells.predicted_labels))
    return cells._replace(
        real=cells.real[order],
        labels=cells.labels[order],
        predicted=cells.predicted[predicted_order],
        predicted_labels=cells.predicted_labels[predicted_order],
        controls=rng.permutation(cells.controls),
    )


def shuffle_genes(cells: Cells, rng: np.random.Generator) -> Cells:
    order = rng.permutation(N_GENES)
    return Cells(*(a if a.dtype.kind == "U" else a[..., order] for a in cells))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_order_of_cells_does_not_matter(seed):
    cells = make_cells(seed)
    expected = score(cells)
    for name, values in score(shuffle_cells(cells, np.random.default_rng(seed))).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-10, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_order_of_genes_does_not_matter(seed):
    cells = make_cells(seed)
    expected = score(cells)
    for name, values in score(shuffle_genes(cells, np.random.default_rng(seed))).items():
        if name.endswith("top20"):
            continue  # among equal effects the first gene is taken, whichever that is
        np.testing.assert_allclose(values, expected[name], atol=1e-10, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, zeros=st.sampled_from([0.0, 0.5, 0.9]))
def test_every_value_is_a_float64_and_none_is_nan(seed, zeros):
    cells = make_cells(seed, zeros=zeros)
    assume(np.median(pdist(cells.real)) > 0)  # mmd_rbf refuses the others
    for name, values in score(cells).items():
        assert values.shape == (len(CONDITIONS),), name
        assert values.dtype == np.float64, name
        assert np.isfinite(values).all(), name


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_the_real_cells_as_prediction_score_best(seed):
    cells = make_cells(seed)
    perfect = score(cells._replace(predicted=cells.real, predicted_labels=cells.labels))
    for name, values in score(cells).items():
        if name == "mmd_rbf" or name == "energy_distance_True":
            continue  # unbiased: 0 on average for new cells of the same distribution, see below
        sign = -1 if name in LOWER_IS_BETTER or name.startswith("energy") else 1
        assert (sign * perfect[name] >= sign * values - 1e-10).all(), name


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, shift=st.floats(0.01, 10))
def test_shifted_cells_are_farther_than_the_cells_themselves(seed, shift):
    """The inner means of a shifted copy are the same, so only the outer one may change."""
    cells = np.random.default_rng(seed).normal(size=(12, 4))
    for distance in (metrics.energy_distance, metrics.mmd_rbf):
        assert distance(cells, cells + shift) > distance(cells, cells)


def test_perfect_predictions_have_the_best_possible_value():
    cells = make_cells(3, zeros=0.0)
    scores = score(cells._replace(predicted=cells.real, predicted_labels=cells.labels))
    for name in LOWER_IS_BETTER:
        assert scores.pop(name).tolist() == [0.0] * 5
    np.testing.assert_allclose(scores.pop("energy_distance_False"), 0.0, atol=1e-12)
    for name in ("energy_distance_True", "mmd_rbf"):
        scores.pop(name)
    for name, values in scores.items():
        np.testing.assert_allclose(values, 1.0, err_msg=name)


class Means(NamedTuple):
    real: np.ndarray
    control: np.ndarray


@pytest.fixture
def means():
    """Ten conditions of 30 genes; in three genes of each nothing happens."""
    rng = np.random.default_rng(5)
    control = rng.uniform(0.5, 2, 30)
    effect = rng.normal(0.3, 0.4, (10, 30)) * (np.arange(30) >= 3)
    return Means(control + effect, control)


def test_no_change_scores_what_the_guide_says(means):
    real, control = means
    predicted = np.tile(control, (10, 1))
    weights = np.ones(real.shape)
    assert metrics.pearson_delta(real, predicted, control).tolist() == [0.0] * 10
    assert metrics.pearson_delta_top20(real, predicted, control).tolist() == [0.0] * 10
    assert metrics.direction_accuracy(real, predicted, control).tolist() == [0.1] * 10
    assert metrics.direction_accuracy_top20(real, predicted, control).tolist() == [0.0] * 10
    delta = real - control
    np.testing.assert_allclose(metrics.mse(real, predicted, control), (delta**2).mean(axis=1))
    np.testing.assert_allclose(metrics.pds_cosine(real, predicted, control), 1 - 4.5 / 10)
    expected = -np.square(delta.mean(axis=1)) / delta.var(axis=1)
    r2 = metrics.weighted_r2_delta(real, predicted, control, weights)
    np.testing.assert_allclose(r2, expected)
    assert (r2 < 0).all()


def test_the_reference_has_no_specific_effect(means):
    reference = means.real.mean(axis=0)
    predicted = np.tile(reference, (10, 1))
    scores = metrics.pearson_delta_perturbed(means.real, predicted, reference)
    assert scores.tolist() == [0.0] * 10
    assert metrics.pearson_delta(means.real, predicted, means.control).mean() > 0.2


def test_one_profile_for_all_conditions_has_mean_rank(means):
    """Without masked targets its ranks are a permutation: chance on average, for any profile."""
    real, control = means
    for profile in (control, real.mean(axis=0), real[4], control + 7):
        predicted = np.tile(profile, (10, 1))
        for pds in (metrics.pds_l1, metrics.pds_l2, metrics.pds_cosine):
            assert pds(real, predicted, control).mean() == pytest.approx(1 - 4.5 / 10)
        assert metrics.pds_published(real, predicted).mean() == pytest.approx(0.5)
        assert metrics.centroid_accuracy(real, predicted).mean() == pytest.approx(0.5)


def test_controls_that_were_summed_in_another_order_are_no_change(means):
    """Rounding errors have a direction and a sign, and must not earn a score."""
    cells = np.random.default_rng(0).gamma(1.0, 1.0, (501, 30))
    control, other = cells.mean(axis=0), cells[::-1].cumsum(axis=0)[-1] / 501
    assert (control != other).any()
    predicted = np.tile(other, (10, 1))
    assert metrics.pds_cosine(means.real, predicted, control).tolist() == [1 - 4.5 / 10] * 10
    assert metrics.direction_accuracy(means.real, predicted, control).tolist() == [0.0] * 10
    assert metrics.pearson_delta(means.real, predicted, control).tolist() == [0.0] * 10

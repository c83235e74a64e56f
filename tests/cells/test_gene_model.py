import numpy as np
import pytest
from scipy import sparse

from scbig.cells import fit_gene_model, normalise_counts, widen_genes


def draw_screen(n_cells=3000, n_genes=60, seed=0):
    """Counts of three conditions with means of their own; group 1 is the control."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, n_cells)
    depth = rng.lognormal(6, 0.3, n_cells)
    mean = rng.lognormal(0, 1, n_genes)
    theta = 1 / (0.2 + 0.5 / mean)
    change = np.exp(rng.normal(0, 0.7, (3, n_genes)))
    change[1] = 1
    rate = (depth / depth[group == 1].mean())[:, None] * mean * change[group]
    counts = rng.poisson(rng.gamma(np.broadcast_to(theta, rate.shape), rate / theta))
    return sparse.csr_matrix(counts), depth, group, mean, theta


def test_means_and_dispersions_are_found():
    counts, depth, group, mean, theta = draw_screen()
    model = fit_gene_model(counts, depth, group, control=1)
    assert np.median(np.abs(model.mean / mean - 1)) < 0.05
    assert np.median(np.abs(np.log(model.compute_theta() / theta))) < 0.15
    # The trend is 0.2 + 0.5 / mean of the controls, read at the mean of all.
    np.testing.assert_allclose(model.trend, [0.2, 0.5], atol=0.25)


def test_dispersions_before_shrinking_are_moments_about_condition_means():
    counts, depth, group, *_ = draw_screen(n_cells=200, n_genes=4)
    model = fit_gene_model(counts, depth, group, control=1)
    size = depth / depth[group == 1].mean()
    dense = counts.toarray()
    excess, squares = np.zeros(4), np.zeros(4)
    for g in range(3):
        k, s = dense[group == g], size[group == g]
        fitted = s[:, None] * (k.sum(axis=0) / s.sum())
        n = len(s)
        excess += ((k - fitted) ** 2).sum(axis=0) * n / (n - 1) - fitted.sum(axis=0)
        squares += (fitted**2).sum(axis=0)
    np.testing.assert_allclose(model.dispersion, excess / squares, rtol=1e-8)
    control = group == 1
    np.testing.assert_allclose(model.mean, dense[control].sum(axis=0) / size[control].sum())


def test_genes_may_be_worked_on_in_blocks(monkeypatch):
    counts, depth, group, *_ = draw_screen(n_cells=200, n_genes=11)
    whole = fit_gene_model(counts, depth, group, control=1)
    monkeypatch.setattr("scbig.cells._gene_model._N_AT_ONCE", 12)
    blocks = fit_gene_model(counts, depth, group, control=1)
    np.testing.assert_allclose(blocks.compute_theta(), whole.compute_theta())


def test_shrinking_helps_where_cells_are_few():
    counts, depth, group, _, theta = draw_screen(n_cells=150, n_genes=200, seed=1)
    model = fit_gene_model(counts, depth, group, control=1)
    shrunk = np.abs(np.log(model.compute_theta() / theta))
    raw = np.abs(np.log(1 / np.clip(model.dispersion, 1e-3, 1e3) / theta))
    assert shrunk.mean() < 0.7 * raw.mean()
    assert ((model.weight >= 0) & (model.weight < 1)).all()


def test_silent_genes_take_the_trend_at_their_predicted_mean():
    counts, depth, group, *_ = draw_screen(n_genes=40)
    counts = counts.tolil()
    counts[:, 0] = 0
    model = fit_gene_model(counts.tocsr(), depth, group, control=1)
    assert model.is_silent[0]
    assert not model.is_silent[5:].any()
    assert model.mean[0] > 0
    predicted = np.full(40, 2.0)
    theta = model.compute_theta(predicted)
    assert theta[0] == pytest.approx(1 / (model.trend[0] + model.trend[1] / 2.0))
    np.testing.assert_array_equal(theta[1:], model.compute_theta()[1:])


def test_the_order_of_genes_does_not_matter():
    counts, depth, group, *_ = draw_screen(n_cells=300, n_genes=30)
    order = np.random.default_rng(0).permutation(30)
    model = fit_gene_model(counts, depth, group, control=1)
    moved = fit_gene_model(counts[:, order], depth, group, control=1)
    np.testing.assert_allclose(moved.compute_theta(), model.compute_theta()[order], rtol=1e-6)


def test_a_screen_without_any_count_beyond_poisson_has_hardly_any_dispersion():
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(3.0, (2000, 20)))
    model = fit_gene_model(counts, np.ones(2000), np.zeros(2000, dtype=int))
    assert (model.compute_theta() > 30).all()


def test_bad_input_is_refused():
    counts, depth, group, *_ = draw_screen(n_cells=50)
    with pytest.raises(ValueError, match="No cell has group 9"):
        fit_gene_model(counts, depth, group, control=9)
    depth[3] = np.nan
    with pytest.raises(ValueError, match="1 cells have no positive depth"):
        fit_gene_model(counts, depth, group, control=1)


def test_a_gene_that_dominates_cells_does_not_make_their_size():
    rng = np.random.default_rng(0)
    size = rng.lognormal(0, 0.3, 1000)
    counts = rng.poisson(size[:, None] * np.full(30, 3.0))
    counts[:, 0] = rng.poisson(rng.gamma(1.0, 100.0, 1000))
    depth = counts.sum(axis=1).astype(float)
    model = fit_gene_model(sparse.csr_matrix(counts), depth, np.zeros(1000, dtype=int))
    np.testing.assert_array_equal(np.flatnonzero(model.is_dominant), [0])
    found = model.compute_size(sparse.csr_matrix(counts), depth)
    expected = counts[:, 1:].sum(axis=1)
    np.testing.assert_allclose(found, expected / expected.mean())
    # By their depth the other genes would seem to vary.
    assert (model.compute_theta()[1:] > 20).all()


def test_sizes_are_depths_where_no_gene_dominates():
    counts, depth, group, *_ = draw_screen(n_cells=300)
    model = fit_gene_model(counts, depth, group, control=1)
    assert not model.is_dominant.any()
    expected = depth / depth[group == 1].mean()
    np.testing.assert_allclose(model.compute_size(counts, depth), expected)


def test_a_model_is_widened_to_all_genes_of_deeper_cells():
    counts, depth, group, _, theta = draw_screen()
    known = np.array([40, 3, 17, 25, 8, 51, 30, 12])
    model = fit_gene_model(counts[:, known], depth / 7, group, control=1)
    controls = normalise_counts(counts[group == 1])
    wide = widen_genes(controls, model, known[::-1], np.arange(8)[::-1])
    size = wide.compute_size(controls.counts, controls.depth)
    assert size.mean() == pytest.approx(1)
    # Counts that are expected are those that are there, of known genes and others.
    np.testing.assert_allclose(
        (size[:, None] * wide.mean).sum(axis=0), np.ravel(controls.counts.sum(axis=0)), rtol=0.05
    )
    np.testing.assert_allclose(wide.compute_theta()[known], model.compute_theta(), rtol=0.02)
    np.testing.assert_allclose(wide.mean[known] / model.mean, wide.mean[3] / model.mean[1])
    assert np.median(np.abs(np.log(wide.compute_theta() / theta))) < 0.2

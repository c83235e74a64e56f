"""What is kept of a screen's counts: depths, genes, and how both are saved and extended."""

import numpy as np
import pytest
from scipy import sparse

from scbig.cells import (
    ScreenModel,
    bound_target,
    find_most,
    fit_screen_model,
    normalise_counts,
    read_counts,
    recover_counts,
    scale_counts,
    take_genes,
)

N_GENES = 80


def make_values(n_cells: int, seed: int, *, depth: float = 1.0, target_sum: float = 1e4):
    """Counts, and their log1p values in float32 as scanpy makes them."""
    rng = np.random.default_rng(seed)
    mean = np.random.default_rng(0).lognormal(-0.5, 1.0, N_GENES) * depth
    counts = rng.poisson(rng.lognormal(0, 0.3, (n_cells, 1)) * mean)
    counts[:, 0] += 1
    values = np.log1p(counts / counts.sum(axis=1, keepdims=True) * target_sum)
    return counts, values.astype(np.float32)


@pytest.fixture(scope="module")
def screen():
    """120 controls and 80 perturbed cells of twice the depth."""
    parts = make_values(120, 1), make_values(80, 2, depth=2.0)
    counts, values = (np.vstack(pair) for pair in zip(*parts, strict=True))
    groups = [(("A",), 0, np.arange(120, 200))]
    return counts, values, groups, [np.arange(120)]


def fit(screen, *, groups=None) -> ScreenModel:
    _, values, own, controls = screen
    groups = own if groups is None else groups
    return fit_screen_model(
        lambda rows: (values[rows], None), groups, controls, np.random.default_rng(0)
    )


def test_depths_change_as_those_of_the_screen_did(screen):
    counts, _, _, _ = screen
    model = fit(screen)
    assert model.share == 1
    assert model.target_sum == pytest.approx(1e4, rel=1e-4)
    depth = counts.sum(axis=1).astype(float)
    context = model.contexts[0]
    np.testing.assert_allclose(context.control_depths, np.quantile(depth[:120], context_ranks()))
    for condition in (("A",), ("unseen",)):
        ratio = context.compute_depths(depth[:120], condition) / depth[:120]
        expected = np.median(depth[120:]) / np.median(depth[:120])
        assert np.median(ratio) == pytest.approx(expected, rel=0.05)
        # Cells of another depth keep theirs, but for the same ratio.
        deeper = context.compute_depths(3 * depth[:120], condition)
        np.testing.assert_allclose(deeper, 3 * ratio * depth[:120])


def context_ranks() -> np.ndarray:
    return np.linspace(0, 1, 101)


def test_a_model_comes_back_from_its_plain_parts(screen):
    model = fit(screen)
    again = ScreenModel.from_plain(*model.to_plain())
    assert again.to_plain()[0] == model.to_plain()[0]
    for name, array in model.to_plain()[1].items():
        np.testing.assert_array_equal(again.to_plain()[1][name], array)
    none = ScreenModel({}, np.nan, None, 0.2)
    assert not ScreenModel.from_plain(*none.to_plain()).has_counts


def test_a_further_screen_adds_and_replaces(screen):
    halves = [(("A",), 0, np.arange(120, 160)), (("B",), 0, np.arange(160, 200))]
    first = fit(screen, groups=halves)
    second = fit(screen, groups=[(("A",), 0, np.arange(150, 200))])
    joined = first.extend(second)
    own = joined.contexts[0].own
    assert {key: n for key, (n, _) in own.items()} == {("A",): 50, ("B",): 40}
    none = ScreenModel({}, np.nan, None, 0.2)
    assert first.extend(none) is first
    assert none.extend(first).contexts.keys() == first.contexts.keys()
    assert none.extend(first).contexts[0].own.keys() == first.contexts[0].own.keys()


def test_depths_of_an_earlier_screen_stay_what_they_were_to_its_controls(screen):
    """A further screen of the same context, three times as deep, tells nothing of them."""
    counts, values, _, _ = screen
    first = fit(screen, groups=[(("A",), 0, np.arange(120, 200))])
    second = fit_screen_model(
        lambda rows: (values[rows], sparse.csr_matrix(3 * counts[rows])),
        [(("B",), 0, np.arange(60, 120))],
        [np.arange(60)],
        np.random.default_rng(0),
    )
    joined = first.extend(second).contexts[0]
    depth = counts[:120].sum(axis=1).astype(float)
    np.testing.assert_allclose(
        joined.control_depths, np.quantile(3 * counts[:60].sum(axis=1), context_ranks())
    )
    # Own cells count as 80 against 20, the pooled ones are those of the further screen.
    own = np.median(counts[120:].sum(axis=1)) / np.median(depth)
    pooled = np.median(counts[60:120].sum(axis=1)) / np.median(counts[:60].sum(axis=1))
    expected = own**0.8 * pooled**0.2
    ratio = joined.compute_depths(depth, ("A",)) / depth
    assert np.median(ratio) == pytest.approx(expected, rel=0.1)


def test_values_that_are_no_counts_make_no_model(screen):
    _, values, groups, controls = screen
    model = fit_screen_model(
        lambda rows: (values[rows] * 1.01, None), groups, controls, np.random.default_rng(0)
    )
    assert not model.has_counts
    assert model.share < 0.5


def test_counts_that_are_kept_are_taken_and_checked(screen):
    counts, values, _, _ = screen
    kept = sparse.csr_matrix(counts)
    found = read_counts([(values[:50], kept[:50]), (values[50:], kept[50:])], None)
    np.testing.assert_array_equal(found.counts.toarray(), counts)
    with pytest.raises(ValueError, match="counts"):
        read_counts([(values, kept[::-1])], None)


@pytest.mark.parametrize("target_sum", [1e3, 1e4])
def test_closed_cells_keep_their_target_sum(target_sum):
    counts, values = make_values(40, 5, target_sum=target_sum)
    found = recover_counts(sparse.csr_matrix(values))
    scaled = scale_counts(found, 1e4)
    assert scaled.target_sum == pytest.approx(target_sum, rel=1e-4)
    np.testing.assert_allclose(scaled.depth, counts.sum(axis=1))


def test_cells_that_lost_genes_have_the_depth_at_the_given_sum():
    counts, values = make_values(60, 6)
    found = recover_counts(sparse.csr_matrix(values[:, :50]))
    assert not found.is_closed
    scaled = scale_counts(found, 1e4)
    known = scaled.is_recovered
    assert known.mean() > 0.8
    np.testing.assert_allclose(scaled.depth[known], counts.sum(axis=1)[known], rtol=1e-3)


def test_taken_genes_have_their_own_totals(screen):
    counts, values, _, _ = screen
    found = recover_counts(sparse.csr_matrix(values))
    columns = np.array([7, 3, 60])
    taken, genes = take_genes(found, fit(screen).contexts[0].genes, columns, columns)
    np.testing.assert_array_equal(taken.counts.toarray(), counts[:, columns])
    np.testing.assert_allclose(taken.depth, found.depth)
    expected = np.expm1(values[:, columns].astype(np.float64)).sum(axis=1)
    np.testing.assert_allclose(taken.total, expected, rtol=1e-3)
    np.testing.assert_array_equal(genes.mean, fit(screen).contexts[0].genes.mean[columns])


@pytest.mark.parametrize("base", [None, 2.0])
def test_means_that_add_up_to_too_much_are_lowered_by_one_factor(screen, base):
    counts, _, _, _ = screen
    found = normalise_counts(counts[:120], 1e4, base)
    unit = 1.0 if base is None else np.log(base)
    values = np.log1p(counts[:120] / counts[:120].sum(axis=1, keepdims=True) * 1e4) / unit
    mean = values.mean(axis=0)
    most = find_most(found)
    assert most == pytest.approx(0.9 * 1e4 + 0.1 * np.expm1(mean * unit).sum(), rel=1e-5)
    np.testing.assert_allclose(bound_target(mean, found, most), mean)
    high = mean + 2.0
    lowered = bound_target(high, found, most)
    assert np.expm1(lowered * unit).sum() == pytest.approx(most)
    ratio = np.expm1(lowered * unit) / np.expm1(high * unit)
    np.testing.assert_allclose(ratio, ratio[0])
    # No gene has more than a cell, and none less than nothing.
    assert bound_target(np.full(N_GENES, 50.0), found, np.inf).max() == np.log1p(1e4) / unit
    assert not bound_target(np.full(N_GENES, -1.0), found, most).any()


def test_means_of_cells_that_lost_genes_may_add_up_to_anything():
    _, values = make_values(60, 6)
    found = recover_counts(sparse.csr_matrix(values[:, :50]))
    assert find_most(found.subset(found.is_recovered)) == np.inf

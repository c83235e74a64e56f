from pathlib import Path

import anndata
import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings, strategies as st
from scipy import sparse

from scbig.cells import check_counts, compute_log1p, normalise_counts, recover_counts


def normalise(counts: np.ndarray, target_sum: float | None, base: float | None, dtype: str):
    """As scanpy does it."""
    adata = anndata.AnnData(sparse.csr_matrix(counts, dtype=dtype))
    sc.pp.normalize_total(adata, target_sum=target_sum)
    sc.pp.log1p(adata, base=base)
    return adata.X


def draw_counts(seed: int, n_cells: int = 30, n_genes: int = 150) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.gamma(0.6, rng.lognormal(0, 1.3, n_genes), (n_cells, n_genes)))


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    target_sum=st.one_of(st.none(), st.sampled_from([1e4, 1e6, 1234.5])),
    base=st.sampled_from([None, 2.0, 10.0]),
    dtype=st.sampled_from(["float32", "float64"]),
    is_dense=st.booleans(),
)
def test_counts_are_recovered(seed, target_sum, base, dtype, is_dense):
    counts = draw_counts(seed)
    values = normalise(counts, target_sum, base, dtype)
    found = recover_counts(values.toarray() if is_dense else values, base)
    assert found.is_recovered.all()
    np.testing.assert_array_equal(found.counts.toarray(), counts)
    np.testing.assert_array_equal(found.depth, counts.sum(axis=1))
    expected = np.median(counts.sum(axis=1)) if target_sum is None else target_sum
    assert found.target_sum == pytest.approx(expected, rel=1e-5)
    assert found.is_closed


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), n_kept=st.integers(1, 60))
def test_counts_that_are_recovered_after_genes_were_dropped_are_right(seed, n_kept):
    counts = draw_counts(seed, n_cells=100)
    kept = np.random.default_rng(seed).permutation(counts.shape[1])[:n_kept]
    values = normalise(counts, 1e4, None, "float32")[:, kept]
    found = recover_counts(values)
    is_in = found.is_recovered
    np.testing.assert_array_equal(found.counts.toarray()[is_in], counts[:, kept][is_in])
    assert not found.counts.toarray()[~is_in].any()
    assert np.isnan(found.depth[~is_in]).all()
    if is_in.any() and not found.is_closed:
        # Depths are those of all genes, up to one factor.
        factor = found.depth[is_in] / counts.sum(axis=1)[is_in]
        np.testing.assert_allclose(factor, factor[0], rtol=1e-4)


def test_cells_without_a_count_of_one_are_flagged():
    counts = draw_counts(3)
    counts[0] = 2 * counts[0]  # all even: as likely the counts of one half
    counts[1, counts[1] == 1] = 0
    counts[2] = 0
    counts[3] = 0
    counts[3, 5] = 7
    # All normalised by one depth, as if other genes had been there.
    values = sparse.csr_matrix(np.log1p(counts / 3.0))
    found = recover_counts(values)
    assert not found.is_recovered[1:4].any()
    assert found.is_recovered[4:].all()
    assert not found.counts[1:4].nnz


def test_values_that_are_no_counts_are_not_recovered(rng):
    found = recover_counts(rng.gamma(1.0, 1.0, (20, 30)))
    assert not found.is_recovered.any()
    assert np.isnan(found.target_sum)


def test_the_order_of_genes_and_cells_does_not_matter(rng):
    counts = draw_counts(5)
    values = normalise(counts, 1e4, None, "float32")
    rows, columns = rng.permutation(30), rng.permutation(150)
    found, moved = recover_counts(values), recover_counts(values[rows][:, columns])
    np.testing.assert_array_equal(moved.counts.toarray(), found.counts.toarray()[rows][:, columns])
    np.testing.assert_array_equal(moved.depth, found.depth[rows])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.5])
def test_bad_values_are_refused(bad):
    with pytest.raises(ValueError, match="1 values that are negative or not finite"):
        recover_counts(np.array([[0.0, 1.0], [bad, 1.0]]))


def test_counts_that_agree_are_taken():
    counts = draw_counts(6)
    values = normalise(counts, 1e4, 2.0, "float32")
    found = check_counts(counts, values, base=2.0)
    np.testing.assert_array_equal(found.counts.toarray(), counts)
    np.testing.assert_array_equal(found.depth, counts.sum(axis=1))
    # A subset of genes agrees as well, with depths of all genes.
    part = check_counts(counts[:, :50], values[:, :50], base=2.0)
    factor = part.depth / counts.sum(axis=1)
    np.testing.assert_allclose(factor, factor[0], rtol=1e-5)
    assert not part.is_closed
    # One of them is not taken for a screen with one sum.
    odd = int(np.argmax(np.abs(part.total / part.target_sum - 1)))
    assert not part.subset(np.array([odd])).is_closed


def test_counts_that_disagree_are_counted():
    counts = draw_counts(6)
    values = normalise(counts, 1e4, None, "float32")
    counts[3, 7] += 1
    counts[9, np.flatnonzero(counts[9])[0]] = 0
    with pytest.raises(ValueError, match=r"2 of 30 cells do not agree.*the first is cell 3.*"):
        check_counts(counts, values)
    with pytest.raises(ValueError, match=r"do not agree"):
        check_counts(counts[:, ::-1], values)
    with pytest.raises(ValueError, match=r"shape \(30, 10\)"):
        check_counts(counts[:, :10], values)


@pytest.mark.parametrize("bad", [0.5, -1.0, np.nan, np.inf])
def test_counts_are_whole_numbers(bad):
    with pytest.raises(ValueError, match="no whole numbers"):
        normalise_counts(np.array([[1.0, 2.0], [bad, 0.0]]))


@pytest.mark.parametrize("target_sum", [None, 1e4])
@pytest.mark.parametrize("base", [None, 2.0])
def test_counts_are_normalised_as_scanpy_does(target_sum, base):
    counts = draw_counts(8)
    cells = normalise_counts(counts, target_sum, base)
    values = compute_log1p(cells.counts, cells.depth, cells.target_sum, base)
    expected = normalise(counts, target_sum, base, "float32")
    np.testing.assert_allclose(values.toarray(), expected.toarray(), rtol=1e-5)
    assert values.dtype == np.float32


def test_cells_without_counts_are_not_recovered():
    counts = draw_counts(8)
    counts[4] = 0
    cells = normalise_counts(counts, None)
    np.testing.assert_array_equal(np.flatnonzero(~cells.is_recovered), [4])
    assert np.isnan(cells.depth[4])
    assert cells.target_sum == np.median(np.delete(counts.sum(axis=1), 4))
    assert cells.is_closed


@pytest.mark.data_kit
@pytest.mark.parametrize("name", ["papalexi2021", "schraivogel2020"])
@pytest.mark.parametrize(
    ("target_sum", "base"), [(1e4, None), (None, None), (1e4, 2.0), (None, 2.0)]
)
def test_real_counts_are_recovered_bit_by_bit(data_kit: Path, name, target_sum, base):
    counts = anndata.read_h5ad(data_kit / f"{name}.h5ad").X.tocsr()
    found = recover_counts(normalise(counts, target_sum, base, "float32"), base)
    assert found.is_recovered.all()
    assert (found.counts != counts).nnz == 0


@pytest.mark.data_kit
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("papalexi2021", 0.85, 1.0),
        ("schraivogel2020", 0.99, 1.0),
        ("norman2019_mini", 0.0, 0.05),
        ("mcfaline2024_mini", 0.2, 0.6),
    ],
)
def test_no_real_count_is_guessed_after_genes_were_dropped(data_kit: Path, name, least, most):
    counts = anndata.read_h5ad(data_kit / f"{name}.h5ad").X.tocsr()
    kept = np.random.default_rng(1).choice(counts.shape[1], 60, replace=False)
    found = recover_counts(normalise(counts, 1e4, None, "float32")[:, kept])
    is_in = found.is_recovered
    assert (found.counts[is_in] != counts[is_in][:, kept]).nnz == 0
    assert least <= is_in.mean() <= most

import numpy as np
import pytest
from scipy import sparse

from scbig.programs import compute_coexpression


@pytest.fixture
def x() -> np.ndarray:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 12))
    return np.maximum(factors + rng.normal(size=(60, 12)), 0)


def test_loadings_are_correlations_with_the_principal_components(x: np.ndarray) -> None:
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    u, s, vt = np.linalg.svd(z, full_matrices=False)
    loadings = compute_coexpression(x, n_components=4)
    # The product is free of the sign of the components.
    expected = (vt[:4].T * s[:4] ** 2) @ vt[:4] / len(x)
    np.testing.assert_allclose(loadings @ loadings.T, expected, atol=1e-5)
    by_corrcoef = np.corrcoef(x.T, u[:, :4].T)[:12, 12:]
    np.testing.assert_allclose(np.abs(loadings), np.abs(by_corrcoef), atol=1e-5)


@pytest.mark.parametrize("convert", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix])
def test_sparse_equals_dense(x: np.ndarray, convert: type) -> None:
    dense = compute_coexpression(x, n_components=4)
    np.testing.assert_allclose(compute_coexpression(convert(x), n_components=4), dense, atol=1e-5)


def test_largest_loading_of_each_component_is_positive(x: np.ndarray) -> None:
    loadings = compute_coexpression(x, n_components=6)
    largest = np.abs(loadings).argmax(axis=0)
    assert (loadings[largest, np.arange(6)] > 0).all()
    np.testing.assert_array_equal(loadings, compute_coexpression(x, n_components=6))


def test_constant_genes_have_zero_rows(x: np.ndarray) -> None:
    # Summing 0.1 sixty times in float32 leaves a variance above zero.
    constant = np.full((60, 1), 0.1, dtype=np.float32)
    loadings = compute_coexpression(np.hstack([constant, x, 0 * constant]), n_components=4)
    np.testing.assert_array_equal(loadings.any(axis=1), [False, *[True] * 12, False])
    np.testing.assert_allclose(loadings[1:-1], compute_coexpression(x, n_components=4), atol=1e-5)


def test_components_are_limited_by_cells_and_genes(x: np.ndarray) -> None:
    assert compute_coexpression(x).shape == (12, 11)
    assert compute_coexpression(x[:5]).shape == (12, 4)
    assert compute_coexpression(x).dtype == np.float32


def test_too_few_cells_or_varying_genes_are_refused(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least 3 control cells, found 2"):
        compute_coexpression(x[:2])
    with pytest.raises(ValueError, match="Only 0 of 12 genes vary over the 60"):
        compute_coexpression(np.zeros_like(x))

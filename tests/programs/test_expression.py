import numpy as np
import pytest
from scipy import sparse

from scbig.programs import compute_coexpression, compute_program_means


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


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array, sparse.csc_matrix])
def test_means_against_loops(convert: type) -> None:
    x = np.random.default_rng(0).poisson(1.0, size=(6, 9)).astype(np.float32)
    labels = np.array([0, 2, 2, 0, -1, 0, 2, -1, 0])
    expected = np.array(
        [[row[labels == k].mean() if k != 1 else 0 for k in range(3)] for row in x]
    )
    found = compute_program_means(convert(x), labels, 3)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_wrong_number_of_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="Found 2 labels for 3 genes"):
        compute_program_means(np.ones((1, 3)), np.zeros(2, int), 1)

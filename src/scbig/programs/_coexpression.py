"""Gene loadings from co-expression: what the data alone say about which genes belong together."""

from typing import TypeAlias

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

Matrix: TypeAlias = np.ndarray | sparse.csr_array | sparse.csr_matrix


def compute_coexpression(
    x: Matrix,
    n_components: int = 50,
    seed: int = 0,
) -> np.ndarray:
    """Loadings of the genes on the principal components of standardised expression.

    Each entry is the correlation between a gene and a component over the cells, so a row's
    squared length is the share of the gene's variance that the components hold, and the cosine
    between two rows is the co-expression of two genes. Sparse input stays sparse: centring is
    implicit. The sign of a component is set so that its largest loading is positive.

    Parameters
    ----------
    x
        Log1p-normalised expression of control cells, shape (n_cells, n_genes), dense or sparse.
    n_components
        Number of components; fewer are returned when there are fewer cells or varying genes.
    seed
        Seed of the start vector of the Lanczos iteration.

    Returns
    -------
    float32 array of shape (n_genes, n_found_components). Genes without variance have zero rows.

    Raises
    ------
    ValueError
        If fewer than three cells or fewer than two varying genes are given.
    """
    n_cells, n_genes = x.shape
    if n_cells < 3:
        raise ValueError(
            f"Co-expression needs at least 3 control cells, found {n_cells}. Pass more cells, or "
            "an embedding that covers every gene."
        )
    varies = _find_varying(x)
    if varies.size < 2:
        raise ValueError(
            f"Only {varies.size} of {n_genes} genes vary over the {n_cells} control cells; "
            "co-expression needs at least two. Check that the layer holds expression values."
        )
    # ARPACK finds fewer components than the smaller side of the matrix.
    n_found = min(n_components, n_cells - 1, varies.size - 1)
    standardised = StandardScaler(with_mean=False).fit_transform(x[:, varies])
    pca = PCA(n_found, svd_solver="arpack", random_state=seed).fit(standardised)
    # PCA divides by n - 1, the scaler by n: the factor makes the entries correlations.
    scale = np.sqrt(pca.explained_variance_ * (n_cells - 1) / n_cells)
    loadings = np.zeros((n_genes, n_found), dtype=np.float32)
    loadings[varies] = (_with_fixed_signs(pca.components_) * scale[:, None]).T
    return loadings


def _find_varying(x: Matrix) -> np.ndarray:
    # Not by the variance: rounding leaves a constant gene with a tiny one.
    high, low = x.max(axis=0), x.min(axis=0)
    if sparse.issparse(x):
        high, low = high.toarray().ravel(), low.toarray().ravel()
    return np.flatnonzero(high > low)


def _with_fixed_signs(components: np.ndarray) -> np.ndarray:
    largest = np.argmax(np.abs(components), axis=1)[:, None]
    return components * np.sign(np.take_along_axis(components, largest, axis=1))

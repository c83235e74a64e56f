"""What expression says of genes and programs: co-expression, and the mean of each program."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from scbig.data import Expression, Screen, thin
from scbig.priors import GeneEmbedding
from scbig.programs._clustering import make_membership

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


def make_coexpression_embedding(
    expression: Expression, screen: Screen, genes: Sequence[str], rng: np.random.Generator
) -> GeneEmbedding:
    """Embed the measured genes by their co-expression in control cells.

    Parameters
    ----------
    expression, screen
        Cells of a screen.
    genes
        Names of the genes.
    rng
        Chooses among more than 2,000 control cells.

    Returns
    -------
    An embedding of every gene; of those that do not vary, with zero vectors.

    Raises
    ------
    ValueError
        When there are fewer than three control cells or two varying genes.
    """
    rows = thin(np.flatnonzero(screen.is_control), rng)
    loadings = compute_coexpression(expression.rows(rows))
    return GeneEmbedding(tuple(genes), loadings, "co-expression of control cells")


def compute_program_means(x: Matrix, labels: np.ndarray, n_programs: int) -> np.ndarray:
    """Average the genes of each program.

    Parameters
    ----------
    x
        Expression, shape (n_cells, n_genes), dense or sparse.
    labels
        Program of each gene, -1 for genes to leave out, shape (n_genes,).
    n_programs
        Number of programs.

    Returns
    -------
    float64 array of shape (n_cells, n_programs); zero for a program without genes.

    Raises
    ------
    ValueError
        If the number of labels is not the number of genes.
    """
    if x.shape[1] != len(labels):
        raise ValueError(f"Found {len(labels)} labels for {x.shape[1]} genes.")
    membership = make_membership(np.asarray(labels), n_programs)
    if sparse.issparse(x):
        totals = (sparse.csr_array(x) @ membership).toarray()
    else:
        totals = np.asarray(x @ membership)
    return totals / np.maximum(membership.sum(axis=0), 1.0)


def average_programs(labels: np.ndarray) -> np.ndarray:
    """Return the matrix that averages the genes of each program.

    Parameters
    ----------
    labels
        Program of each gene, shape ``(G,)``.

    Returns
    -------
    Rows that sum to one, shape ``(K, G)``.
    """
    one_hot = np.eye(labels.max() + 1, dtype=np.float32)[:, labels]
    return one_hot / one_hot.sum(axis=1, keepdims=True)


def _find_varying(x: Matrix) -> np.ndarray:
    # Not by the variance: rounding leaves a constant gene with a tiny one.
    high, low = x.max(axis=0), x.min(axis=0)
    if sparse.issparse(x):
        high, low = high.toarray().ravel(), low.toarray().ravel()
    return np.flatnonzero(high > low)


def _with_fixed_signs(components: np.ndarray) -> np.ndarray:
    largest = np.argmax(np.abs(components), axis=1)[:, None]
    return components * np.sign(np.take_along_axis(components, largest, axis=1))

"""Costs of placing each gene in each program (n_genes, n_programs)."""

import numpy as np
from scipy import sparse

UNASSIGNED = -1


def normalize_rows(x: np.ndarray) -> np.ndarray:
    """Scale rows to unit length in float64; rows of zeros stay zeros.

    Parameters
    ----------
    x
        Array of shape (n, d).

    Returns
    -------
    Array of shape (n, d).
    """
    x = np.asarray(x, dtype=np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)


def make_membership(labels: np.ndarray, n_programs: int) -> sparse.csr_array:
    """One-hot matrix of the labels; unassigned genes (-1) have empty rows.

    Parameters
    ----------
    labels
        Program of each gene, shape (n_genes,).
    n_programs
        Number of programs.

    Returns
    -------
    Sparse 0/1 matrix of shape (n_genes, n_programs).
    """
    rows = np.flatnonzero(labels != UNASSIGNED)
    shape = (len(labels), n_programs)
    return sparse.csr_array((np.ones(rows.size), (rows, labels[rows])), shape=shape)


def compute_semantic_cost(
    rows: np.ndarray, is_known: np.ndarray, labels: np.ndarray, n_programs: int
) -> np.ndarray:
    """Cosine distance to the program centroids, divided by its maximum.

    Parameters
    ----------
    rows
        Unit rows, shape (n_genes, d).
    is_known
        Which rows mean anything, shape (n_genes,).
    labels
        Current program of each gene, -1 where it has none, shape (n_genes,).
    n_programs
        Number of programs.

    Returns
    -------
    Cost in [0, 1], shape (n_genes, n_programs); zeros for the genes that are not known.
    """
    membership = make_membership(np.where(is_known, labels, UNASSIGNED), n_programs)
    centroids = normalize_rows(membership.T @ rows)
    distance = np.clip(1.0 - rows @ centroids.T, 0.0, None) * is_known[:, None]
    largest = distance.max(initial=0.0)
    return distance / largest if largest > 0 else distance


def compute_graph_cost(
    adjacency: sparse.csr_array, labels: np.ndarray, n_programs: int
) -> np.ndarray:
    """One minus the neighbours that a gene has in a program over the program's size.

    Parameters
    ----------
    adjacency
        Symmetric 0/1 matrix of shape (n_genes, n_genes).
    labels
        Current program of each gene, -1 where it has none, shape (n_genes,).
    n_programs
        Number of programs.

    Returns
    -------
    Cost in [0, 1], shape (n_genes, n_programs).
    """
    membership = make_membership(labels, n_programs)
    n_neighbours = (adjacency @ membership).toarray()
    sizes = np.maximum(membership.sum(axis=0), 1.0)
    return np.clip(1.0 - n_neighbours / sizes, 0.0, 1.0)

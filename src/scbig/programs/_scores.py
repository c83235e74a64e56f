"""Mean expression of each program in each cell."""

import numpy as np
from scipy import sparse

from scbig.programs._coexpression import Matrix
from scbig.programs._costs import make_membership


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

"""How far combinations fall short of what their targets let expect."""

from collections.abc import Set

import numpy as np

from scbig.data import Effects


def compute_saturation(effects: Effects, predicted: np.ndarray, known: Set[str]) -> np.ndarray:
    """Estimate the share of the expected effect that combinations have, gene by gene.

    Targets that do the same are redundant together, so that combinations mostly have less than
    the sum. The share is the least-squares slope of real on predicted effects over all
    combinations; that of each gene is shrunk to the common one as if the gene had been measured
    in as many combinations again that follow it.

    Parameters
    ----------
    effects
        Effects of the training conditions.
    predicted
        The same, predicted from all other conditions, shape ``(n_groups, n_genes)``.
    known
        Targets that other conditions have too; combinations of others are left aside.

    Returns
    -------
    Shares, shape ``(n_genes,)``; ones without combinations.
    """
    is_combined = np.array(
        [len(group) > 1 and set(group) <= known for group in effects.targets], dtype=bool
    )
    real, expected = effects.delta[is_combined], predicted[is_combined]
    product, square = (real * expected).sum(axis=0), (expected**2).sum(axis=0)
    if not square.any():
        return np.ones(predicted.shape[1])
    common, prior = product.sum() / square.sum(), square.mean()
    return np.maximum((product + prior * common) / (square + prior), 0)

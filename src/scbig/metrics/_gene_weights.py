"""Weights of genes by how clearly a condition sets them apart from the other perturbations."""

import numpy as np
from numpy.typing import ArrayLike


def get_gene_weights(t_scores: ArrayLike) -> np.ndarray:
    """Turn t-scores into weights: absolute values, scaled to [0, 1] over genes, squared.

    The gene that sets a condition apart most has weight 1, the one that does least weight 0
    (Mejia et al. 2025, arXiv:2506.22641). An infinite score leaves weight 1 to the genes that
    have one and 0 to the others. Where all genes score alike none stands out: all weights are 1.

    Parameters
    ----------
    t_scores
        From :func:`compute_t_scores`, ``(C, G)``.

    Returns
    -------
    numpy.ndarray
        Weights in [0, 1], ``(C, G)``; for :func:`weighted_mse` and :func:`weighted_r2_delta`.

    Raises
    ------
    ValueError
        If the shape does not fit or a score is NaN.
    """
    size = np.abs(np.asarray(t_scores, dtype=np.float64))
    if size.ndim != 2 or 0 in size.shape:
        raise ValueError(f"t_scores has shape {size.shape}; expected conditions x genes.")
    if np.isnan(size).any():
        raise ValueError(f"t_scores holds {np.count_nonzero(np.isnan(size))} NaN.")
    is_infinite = np.isinf(size)
    has_infinite = is_infinite.any(axis=1, keepdims=True)
    size = np.where(has_infinite, is_infinite, size)
    low, high = size.min(axis=1, keepdims=True), size.max(axis=1, keepdims=True)
    span = high - low
    scaled = (size - low) / np.where(span > 0, span, 1.0)
    return np.square(np.where(span > 0, scaled, 1.0))

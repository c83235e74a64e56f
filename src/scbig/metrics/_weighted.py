"""Errors in which genes count by their weight for each condition."""

import numpy as np
from numpy.typing import ArrayLike

from scbig.metrics._means import check_means, check_pair

# Sums of squares below this share of what they are computed from are rounding errors.
_ROUNDING = 1e-24


def weighted_mse(real: ArrayLike, predicted: ArrayLike, weights: ArrayLike) -> np.ndarray:
    """Weighted mean squared error of mean expression over genes.

    With weights from :func:`get_gene_weights` a prediction must be right where the condition
    differs from other perturbations, and the mean of all conditions is no longer a good one
    (Mejia et al. 2025, arXiv:2506.22641).

    Parameters
    ----------
    real
        Mean expression of the real cells, ``(C, G)``, log1p-normalised.
    predicted
        Mean expression of the predicted cells, ``(C, G)``.
    weights
        Weights, not negative, ``(C, G)``; each row is divided by its sum.

    Returns
    -------
    numpy.ndarray
        Errors, ``(C,)``; lower is better.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, or a row of weights is negative somewhere
        or zero everywhere.
    """
    one, other = check_pair(real, predicted)
    return (_check_weights(weights, one.shape) * np.square(other - one)).sum(axis=1)


def weighted_r2_delta(
    real: ArrayLike, predicted: ArrayLike, control: ArrayLike, weights: ArrayLike
) -> np.ndarray:
    """Weighted coefficient of determination of the effect over genes.

    One minus the weighted squared error of the predicted effect over the weighted variance of
    the real one (Mejia et al. 2025, arXiv:2506.22641). A prediction of no change scores at most
    0. Where the real effect is the same for all weighted genes, the ratio is undefined and
    scored as scikit-learn does: 1.0 if the prediction is exact and 0.0 if not.

    Parameters
    ----------
    real, predicted, weights
        As in :func:`weighted_mse`.
    control
        Mean expression of the real control cells, ``(G,)`` or one row a condition, ``(C, G)``;
        the mean of the training conditions instead gives effects relative to that.

    Returns
    -------
    numpy.ndarray
        Scores of at most 1, ``(C,)``; higher is better.

    Raises
    ------
    ValueError
        As :func:`weighted_mse`.
    """
    means = check_means(real, predicted, control)
    share = _check_weights(weights, means.real.shape)
    delta = means.real_delta
    error = (share * np.square(means.predicted_delta - delta)).sum(axis=1)
    centred = delta - (share * delta).sum(axis=1, keepdims=True)
    variance = (share * np.square(centred)).sum(axis=1)
    floor = _ROUNDING * (share * np.square(means.real)).sum(axis=1)
    is_defined = variance > floor
    ratio = error / np.where(is_defined, variance, 1.0)
    return np.where(is_defined, 1.0 - ratio, (error <= floor).astype(np.float64))


def _check_weights(weights: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Check weights and scale each row to the sum 1."""
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"weights has shape {array.shape}; expected {shape}.")
    if not np.isfinite(array).all() or (array < 0).any():
        n_bad = np.count_nonzero(~np.isfinite(array) | (array < 0))
        raise ValueError(f"weights holds {n_bad} values that are negative or not finite.")
    total = array.sum(axis=1, keepdims=True)
    if (total == 0).any():
        raise ValueError(f"The weights of condition {int(np.argmin(total))} are all 0.")
    return array / total

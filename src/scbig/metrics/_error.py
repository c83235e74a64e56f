"""Mean errors of each condition, on expression and on effects."""

import numpy as np
from numpy.typing import ArrayLike

from scbig.metrics._means import check_means


def mse(real: ArrayLike, predicted: ArrayLike, control: ArrayLike) -> np.ndarray:
    """Mean squared error of mean expression over genes.

    Agrees with ``mse`` of cell-eval 0.8.2.

    Parameters
    ----------
    real
        Mean expression of the real cells, ``(C, G)``, log1p-normalised.
    predicted
        Mean expression of the predicted cells, ``(C, G)``.
    control
        Mean expression of the real control cells, ``(G,)`` or ``(C, G)``. Checked but not used:
        all metrics on means are called alike.

    Returns
    -------
    numpy.ndarray
        Errors, ``(C,)``; lower is better.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    means = check_means(real, predicted, control)
    return np.square(means.predicted - means.real).mean(axis=1)


def mae(real: ArrayLike, predicted: ArrayLike, control: ArrayLike) -> np.ndarray:
    """Mean absolute error of mean expression over genes.

    Agrees with ``mae`` of cell-eval 0.8.2.

    Parameters
    ----------
    real, predicted, control
        As in :func:`mse`.

    Returns
    -------
    numpy.ndarray
        Errors, ``(C,)``; lower is better.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    means = check_means(real, predicted, control)
    return np.abs(means.predicted - means.real).mean(axis=1)


def mse_delta(real: ArrayLike, predicted: ArrayLike, control: ArrayLike) -> np.ndarray:
    """Mean squared error of effects over genes.

    With the real controls on both sides this is :func:`mse` up to rounding. It agrees with
    ``mse_delta`` of cell-eval 0.8.2 when the predicted file carries the real controls.

    Parameters
    ----------
    real, predicted, control
        As in :func:`mse`; the control is subtracted from both.

    Returns
    -------
    numpy.ndarray
        Errors, ``(C,)``; lower is better.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    means = check_means(real, predicted, control)
    return np.square(means.predicted_delta - means.real_delta).mean(axis=1)


def mae_delta(real: ArrayLike, predicted: ArrayLike, control: ArrayLike) -> np.ndarray:
    """Mean absolute error of effects over genes.

    With the real controls on both sides this is :func:`mae` up to rounding. It agrees with
    ``mae_delta`` of cell-eval 0.8.2 when the predicted file carries the real controls.

    Parameters
    ----------
    real, predicted, control
        As in :func:`mse`; the control is subtracted from both.

    Returns
    -------
    numpy.ndarray
        Errors, ``(C,)``; lower is better.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    means = check_means(real, predicted, control)
    return np.abs(means.predicted_delta - means.real_delta).mean(axis=1)

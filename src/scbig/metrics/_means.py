"""The one check of condition means that all metrics on means share."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from scbig.metrics._rounding import subtract


class Means(NamedTuple):
    """Checked means, all float64.

    Parameters
    ----------
    real
        Mean expression of the real cells, ``(C, G)``.
    predicted
        Mean expression of the predicted cells, ``(C, G)``.
    control
        Mean expression of the real control cells, ``(G,)`` or ``(C, G)``.
    """

    real: np.ndarray
    predicted: np.ndarray
    control: np.ndarray

    @property
    def real_delta(self) -> np.ndarray:
        """Real effects, ``(C, G)``."""
        return subtract(self.real, self.control)

    @property
    def predicted_delta(self) -> np.ndarray:
        """Predicted effects, ``(C, G)``, against the *real* controls."""
        return subtract(self.predicted, self.control)


def check_means(
    real: ArrayLike, predicted: ArrayLike, control: ArrayLike, *, control_name: str = "control"
) -> Means:
    """Check shapes and values of condition means.

    Parameters
    ----------
    real
        Mean expression of the real cells, conditions x genes, ``(C, G)``.
    predicted
        Mean expression of the predicted cells in the same order, ``(C, G)``.
    control
        Mean expression of the real control cells, ``(G,)``, or one row a condition, ``(C, G)``.
    control_name
        What messages call ``control``.

    Returns
    -------
    Means
        The same numbers as float64.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    pair = check_pair(real, predicted)
    means = Means(*pair, np.asarray(control, dtype=np.float64))
    shape = means.real.shape
    if means.control.shape not in (shape, shape[1:]):
        raise ValueError(
            f"{control_name} has shape {means.control.shape}; expected {shape[1:]} or {shape}."
        )
    _check_finite(means.control, control_name)
    return means


def check_pair(real: ArrayLike, predicted: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Check shapes and values of real and predicted condition means.

    Parameters
    ----------
    real
        Mean expression of the real cells, conditions x genes, ``(C, G)``.
    predicted
        Mean expression of the predicted cells in the same order, ``(C, G)``.

    Returns
    -------
    tuple of numpy.ndarray
        The same numbers as float64.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    one, other = (np.asarray(array, dtype=np.float64) for array in (real, predicted))
    if one.ndim != 2 or 0 in one.shape:
        raise ValueError(
            f"real has shape {one.shape}; expected conditions x genes. "
            "For a single condition pass real[None, :]."
        )
    if other.shape != one.shape:
        raise ValueError(
            f"predicted has shape {other.shape} but real has {one.shape}: "
            "select the same conditions and genes in the same order."
        )
    _check_finite(one, "real")
    _check_finite(other, "predicted")
    return one, other


def _check_finite(array: np.ndarray, name: str) -> None:
    if not np.isfinite(array).all():
        n_bad = np.count_nonzero(~np.isfinite(array))
        raise ValueError(
            f"{name} holds {n_bad} values that are not finite. "
            "Drop conditions without cells before scoring."
        )

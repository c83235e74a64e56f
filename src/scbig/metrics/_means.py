"""The one check of condition means that all metrics on means share."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


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
        return self.real - self.control

    @property
    def predicted_delta(self) -> np.ndarray:
        """Predicted effects, ``(C, G)``, against the *real* controls."""
        return self.predicted - self.control


def check_means(real: ArrayLike, predicted: ArrayLike, control: ArrayLike) -> Means:
    """Check shapes and values of condition means.

    Parameters
    ----------
    real
        Mean expression of the real cells, conditions x genes, ``(C, G)``.
    predicted
        Mean expression of the predicted cells in the same order, ``(C, G)``.
    control
        Mean expression of the real control cells, ``(G,)``, or one row a condition, ``(C, G)``.

    Returns
    -------
    Means
        The same numbers as float64.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    means = Means(*(np.asarray(array, dtype=np.float64) for array in (real, predicted, control)))
    shape = means.real.shape
    if means.real.ndim != 2 or 0 in shape:
        raise ValueError(
            f"real has shape {shape}; expected conditions x genes. "
            "For a single condition pass real[None, :]."
        )
    if means.predicted.shape != shape:
        raise ValueError(
            f"predicted has shape {means.predicted.shape} but real has {shape}: "
            "select the same conditions and genes in the same order."
        )
    if means.control.shape not in (shape, shape[1:]):
        raise ValueError(
            f"control has shape {means.control.shape}; expected {shape[1:]} or {shape}."
        )
    for name, array in means._asdict().items():
        if not np.isfinite(array).all():
            n_bad = np.count_nonzero(~np.isfinite(array))
            raise ValueError(
                f"{name} holds {n_bad} values that are not finite. "
                "Drop conditions without cells before scoring."
            )
    return means

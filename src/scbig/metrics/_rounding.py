"""Where a difference ends and its rounding error begins."""

import numpy as np

# Differences below this share of what they are differences of are rounding errors.
ROUNDING = 1e-12


def subtract(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Subtract without rounding errors, which have signs, correlations and directions too.

    Parameters
    ----------
    one
        Minuend, float64.
    other
        Subtrahend of a shape that broadcasts.

    Returns
    -------
    numpy.ndarray
        The difference, exactly 0 where it is a rounding error.
    """
    difference = one - other
    difference[np.abs(difference) <= ROUNDING * (np.abs(one) + np.abs(other))] = 0.0
    return difference

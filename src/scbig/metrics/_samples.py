"""Cells of the real conditions, as one side has them: means, and the cells to compare."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scbig.data import Expression
from scbig.metrics._cells import PreparedCells


@dataclass(frozen=True)
class Sample:
    """What one side says of each of the real conditions and contexts.

    Attributes
    ----------
    mean
        Mean expression, ``(C, G)``.
    points
        The cells in principal components, ``(n, d)`` each; empty without them.
    expression, rows
        The same cells in all genes: a matrix, and their row numbers in it.
    problems
        Why there is nothing; empty text where there is something.
    """

    mean: np.ndarray
    points: Sequence[PreparedCells]
    expression: Expression
    rows: Sequence[np.ndarray]
    problems: Sequence[str]


def draw(rows: np.ndarray, n_most: int, seed: int, i: int) -> np.ndarray:
    """Draw at most so many cells of the i-th condition, whatever is drawn of the others.

    Parameters
    ----------
    rows
        Row numbers, in the order of the names of the cells.
    n_most
        Largest number to draw.
    seed
        Seed of all draws.
    i
        Number of the condition.

    Returns
    -------
    The drawn row numbers.
    """
    if len(rows) <= n_most:
        return rows
    return np.random.default_rng([seed, i]).choice(rows, n_most, replace=False)

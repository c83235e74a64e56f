"""Effects of one context, with the other contexts to fall back on."""

import numpy as np


def get_context_mean(values: np.ndarray, contexts: np.ndarray, context: int) -> np.ndarray:
    """Average the rows of one context, or all rows where it has none.

    Parameters
    ----------
    values
        One row a measurement, shape ``(n, n_genes)``, ``n`` at least 1.
    contexts
        Context of each row, shape ``(n,)``.
    context
        The wanted context.

    Returns
    -------
    The mean, shape ``(n_genes,)``.
    """
    is_here = contexts == context
    return values[is_here].mean(axis=0) if is_here.any() else values.mean(axis=0)

"""Effects of one context, with the other contexts to fall back on."""

import numpy as np

from scbig.data import Effects


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


def get_control(control_mean: np.ndarray, context: np.ndarray) -> np.ndarray:
    """Look up control expression, which contexts without control cells borrow from the others.

    Parameters
    ----------
    control_mean
        Mean control expression, shape ``(n_contexts, n_genes)``; NaN without control cells.
    context
        Context of each condition, shape ``(n,)``; contexts that are not numbered are unknown.

    Returns
    -------
    Control expression of each condition, shape ``(n, n_genes)``: that of its context, or the mean
    over contexts.
    """
    is_measured = ~np.isnan(control_mean).any(axis=1)
    is_known = (context >= 0) & (context < len(control_mean))
    row = np.where(is_known, context, 0)
    is_known &= is_measured[row]
    return np.where(is_known[:, None], control_mean[row], control_mean[is_measured].mean(axis=0))


def get_context_rows(effects: Effects, context: int) -> np.ndarray:
    """Find what is to be learned from in one context.

    Parameters
    ----------
    effects
        Effects of the training conditions.
    context
        The wanted context.

    Returns
    -------
    Mask of its own groups, and of the groups of other contexts whose condition it lacks, shape
    ``(n_groups,)``.
    """
    is_here = effects.context == context
    here = {effects.targets[i] for i in np.flatnonzero(is_here)}
    return is_here | np.array([group not in here for group in effects.targets], dtype=bool)


def compute_single_mean(effects: Effects, context: int) -> np.ndarray:
    """Average the effects of single targets: what a target does of which nothing is known.

    Parameters
    ----------
    effects
        Effects of the training conditions.
    context
        The wanted context; if it has no singles, those of all contexts count.

    Returns
    -------
    Mean single effect, shape ``(n_genes,)``. Without any single, each combination's effect is
    shared out evenly among its targets.
    """
    sizes = np.array([len(group) for group in effects.targets])
    rows = sizes == 1 if (sizes == 1).any() else sizes > 0
    delta = effects.delta[rows] / sizes[rows, None]
    return get_context_mean(delta, effects.context[rows], context)

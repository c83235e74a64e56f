"""Effects in contexts that no training condition was measured in."""

import numpy as np

from scbig.baselines._contexts import get_control
from scbig.data import Effects


def scale_falls(predicted: np.ndarray, context: np.ndarray, effects: Effects) -> np.ndarray:
    """Let expression fall no further than there is to fall.

    An effect that was measured in other contexts is an absolute change. Where the new context
    expresses a gene less than those did, a fall is scaled down with it; rises stay as they are.

    Parameters
    ----------
    predicted
        Effects that are expected by the other contexts, shape ``(n, n_genes)``.
    context
        Context of each of them, shape ``(n,)``.
    effects
        Effects of the training conditions.

    Returns
    -------
    Effects, shape ``(n, n_genes)``; as they were in contexts with a training condition.
    """
    is_new = ~np.isin(context, effects.context)
    here = get_control(effects.control_mean, context)
    elsewhere = get_control(effects.control_mean, effects.context).mean(axis=0)
    ratio = np.divide(here, elsewhere, out=np.ones_like(here), where=elsewhere > 0)
    is_less = is_new[:, None] & (predicted < 0) & (ratio < 1)
    return np.where(is_less, ratio * predicted, predicted)

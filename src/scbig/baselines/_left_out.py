"""Predictions of training conditions by regressions that lack one of their targets."""

from collections.abc import Sequence

import numpy as np

from scbig.baselines._denoised_regression import DenoisedRegression
from scbig.baselines._regression import EffectRegression


def leave_targets_out(
    regression: EffectRegression | DenoisedRegression, left_out: Sequence[str]
) -> np.ndarray:
    """Predict each training condition from the conditions without one of its targets.

    Parameters
    ----------
    regression
        Regression of all training conditions.
    left_out
        The target that is left out for each of them.

    Returns
    -------
    Effects, shape ``(n_groups, n_genes)``.
    """
    chosen = np.array(left_out)
    effect = np.empty(regression.effects.delta.shape)
    for target in np.unique(chosen).tolist():
        rows, values = regression.leave_target_out(target)
        is_wanted = chosen[rows] == target
        effect[rows[is_wanted]] = values[is_wanted]
    return effect

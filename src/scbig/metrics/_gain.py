"""Are predicted effects nearer to the real ones than others, by more than chance?"""

import numpy as np
from scipy.stats import ttest_1samp

from scbig.data import Effects
from scbig.metrics._means import pearson_delta

# A gain that chance alone would show this often is no gain.
SIGNIFICANCE = 0.05


def score_effects(predicted: np.ndarray, effects: Effects) -> np.ndarray:
    """``pearson_delta`` of each group as it is reported: no cell falls below zero.

    Parameters
    ----------
    predicted
        Predicted effects, shape ``(n_groups, n_genes)``.
    effects
        Their real effects.

    Returns
    -------
    Scores, shape ``(n_groups,)``; one for stopping, gating, calibration and the floors.
    """
    control = effects.get_control(effects.context)
    return pearson_delta(control + effects.delta, _clip(predicted, effects), control)


def is_gain(before: np.ndarray, after: np.ndarray, held_out: Effects) -> bool:
    """Whether predictions got better by more than chance, and nowhere worse.

    The Pearson delta has to rise by a one-sided paired t-test over the held-out groups, of which
    one or two can hardly show it, and the mean squared error must not rise: a network that is
    stopped at its best validation score looks a little better even where it has learned nothing.

    Parameters
    ----------
    before, after
        Effects that are predicted of the held-out groups, shape ``(n_groups, n_genes)``.
    held_out
        Their real effects.

    Returns
    -------
    Whether ``after`` is better.
    """
    if len(held_out) < 2 or np.array_equal(before, after):
        return False
    gains = score_effects(after, held_out) - score_effects(before, held_out)
    is_surer = ttest_1samp(gains, 0, alternative="greater").pvalue < SIGNIFICANCE
    return bool(is_surer and _get_error(after, held_out) <= _get_error(before, held_out))


def _get_error(predicted: np.ndarray, held_out: Effects) -> float:
    real = held_out.get_control(held_out.context) + held_out.delta
    return float(np.mean((_clip(predicted, held_out) - real) ** 2))


def _clip(predicted: np.ndarray, effects: Effects) -> np.ndarray:
    """Mean expression that is predicted; cells cannot fall below zero, whatever the effect."""
    return np.maximum(effects.get_control(effects.context) + predicted, 0)

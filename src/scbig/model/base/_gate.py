"""Whether what a network adds to a regression is worth keeping."""

import numpy as np
from scipy.stats import ttest_1samp

from scbig.data import Effects
from scbig.metrics import pearson_delta

# A gain that chance alone would show this often is no gain.
SIGNIFICANCE = 0.05


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


def score_effects(predicted: np.ndarray, held_out: Effects) -> np.ndarray:
    """``pearson_delta`` of each group for its predicted effect, shape ``(n_groups,)``."""
    control = held_out.control_mean[held_out.context]
    return pearson_delta(control + held_out.delta, _clip(predicted, held_out), control)


def _get_error(predicted: np.ndarray, held_out: Effects) -> float:
    real = held_out.control_mean[held_out.context] + held_out.delta
    return float(np.mean((_clip(predicted, held_out) - real) ** 2))


def _clip(predicted: np.ndarray, held_out: Effects) -> np.ndarray:
    """Mean expression that is predicted; cells cannot fall below zero, whatever the effect."""
    return np.maximum(held_out.control_mean[held_out.context] + predicted, 0)

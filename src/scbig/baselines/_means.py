"""Baselines that predict one effect for every perturbation."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from scbig.baselines._base import Baseline
from scbig.baselines._contexts import get_context_mean
from scbig.baselines._kernel import TargetKernel
from scbig.baselines._rule import Rule
from scbig.data import Effects, Targets


class NoChange(Baseline):
    """Predicts control cells: no perturbation does anything.

    Examples
    --------
    >>> import scbig
    >>> adata = scbig.data.simulate_screen(n_cells=1000, n_genes=200)
    >>> scbig.baselines.NoChange.setup_anndata(adata)
    >>> baseline = scbig.baselines.NoChange(adata)
    >>> baseline.train()
    >>> predicted = baseline.predict(perturbations=["GENE0001"])
    """

    default_key = "no_change"

    @staticmethod
    def _make_rule(effects: Effects, kernel: TargetKernel) -> Rule:
        return partial(predict_no_change, effects)


class TrainMean(Baseline):
    """Predicts the mean effect of the training conditions, each counting once.

    The mean is over the conditions of the same context, or over all of them where a context has
    none. What hits every perturbed cell alike, it knows; which gene was perturbed, it ignores.
    """

    default_key = "train_mean"

    @staticmethod
    def _make_rule(effects: Effects, kernel: TargetKernel) -> Rule:
        return partial(predict_train_mean, effects)


def predict_no_change(
    effects: Effects, targets: Sequence[Targets], context: np.ndarray
) -> np.ndarray:
    """Predict zeros, shape ``(n, n_genes)``."""
    return np.zeros((len(targets), effects.delta.shape[1]))


def predict_train_mean(
    effects: Effects, targets: Sequence[Targets], context: np.ndarray
) -> np.ndarray:
    """Predict the mean effect of each context, shape ``(n, n_genes)``."""
    names, code = np.unique(context, return_inverse=True)
    means = [get_context_mean(effects.delta, effects.context, name) for name in names]
    return np.reshape(means, (-1, effects.delta.shape[1]))[code]

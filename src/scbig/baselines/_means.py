"""Baselines that predict one effect for every perturbation."""

import numpy as np

from scbig.baselines._base import Baseline
from scbig.baselines._contexts import get_context_mean
from scbig.data import Targets


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

    def _predict_effect(self, targets: Targets, context: int) -> np.ndarray:
        return np.zeros(len(self._genes))


class TrainMean(Baseline):
    """Predicts the mean effect of the training conditions, each counting once.

    The mean is over the conditions of the same context, or over all of them where a context has
    none. What hits every perturbed cell alike, it knows; which gene was perturbed, it ignores.
    """

    default_key = "train_mean"

    def _predict_effect(self, targets: Targets, context: int) -> np.ndarray:
        return get_context_mean(self._effects.delta, self._effects.context, context)

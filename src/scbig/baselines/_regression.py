"""Gaussian-process regression of perturbation effects, in closed form.

With the identity part alone this is ridge regression on indicators of the perturbed genes,
with one intercept for each target; with embeddings it is kernel ridge regression. Solving for
all genes at once costs one factorisation of a ``(n_groups, n_groups)`` matrix, and leaving a
condition, or all conditions of a gene, out costs no refit (Rasmussen & Williams 2006, 5.4.2).
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from scipy import linalg

from scbig.baselines._kernel import TargetKernel
from scbig.data import Effects, Targets


class EffectRegression:
    """Regression of effects on perturbed targets.

    Parameters
    ----------
    effects
        Effects of the training conditions.
    kernel
        Covariance of conditions.
    """

    def __init__(self, effects: Effects, kernel: TargetKernel) -> None:
        self.effects = effects
        self.kernel = kernel

    @cached_property
    def _precision(self) -> np.ndarray:
        """Inverse of the noisy covariance of the training conditions."""
        factor = linalg.cho_factor(get_noisy_covariance(self.effects, self.kernel), lower=True)
        return linalg.cho_solve(factor, np.eye(len(self.effects)))

    def get_weights(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """How much each training condition counts in a prediction.

        Parameters
        ----------
        targets
            Target set of each condition, length ``n``.
        context
            Context of each condition, shape ``(n,)``.

        Returns
        -------
        Weights, shape ``(n, n_groups)``.
        """
        return self._covariance(targets, context) @ self._precision

    def get_left_out_weights(self) -> np.ndarray:
        """Weights that predict each training condition from all others."""
        weights = -self._precision / np.diag(self._precision)[:, None]
        np.fill_diagonal(weights, 0)
        return weights

    def get_target_left_out_weights(self, target: str) -> tuple[np.ndarray, np.ndarray]:
        """Weights that predict all conditions with a target from those without it.

        Parameters
        ----------
        target
            Name of the target.

        Returns
        -------
        Row numbers of the conditions with the target, and their weights, shape
        ``(n_rows, n_groups)``.
        """
        rows = np.flatnonzero([target in group for group in self.effects.targets])
        weights = -linalg.solve(
            self._precision[np.ix_(rows, rows)], self._precision[rows], assume_a="pos"
        )
        weights[:, rows] = 0
        return rows, weights

    def predict(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict the effects of conditions.

        Parameters
        ----------
        targets
            Target set of each condition, length ``n``.
        context
            Context of each condition, shape ``(n,)``.

        Returns
        -------
        Effects, shape ``(n, n_genes)``.
        """
        return self.get_weights(targets, context) @ self.effects.delta

    def leave_one_out(self) -> np.ndarray:
        """Predict each training condition from all others, shape ``(n_groups, n_genes)``."""
        return self.get_left_out_weights() @ self.effects.delta

    def leave_target_out(self, target: str) -> tuple[np.ndarray, np.ndarray]:
        """Predict all conditions with a target from those without it.

        Parameters
        ----------
        target
            Name of the target.

        Returns
        -------
        Row numbers of the conditions with the target, and their predicted effects.
        """
        rows, weights = self.get_target_left_out_weights(target)
        return rows, weights @ self.effects.delta

    def _covariance(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        return self.kernel(targets, context, self.effects.targets, self.effects.context)


def get_noisy_covariance(effects: Effects, kernel: TargetKernel) -> np.ndarray:
    """Covariance of measured effects: the kernel, and noise that falls with the cells."""
    covariance = kernel(effects.targets, effects.context, effects.targets, effects.context)
    # The mean of many cells is less noisy than the mean of a few.
    noise = kernel.settings.noise * effects.n_cells.mean() / effects.n_cells
    return covariance + np.diag(noise)

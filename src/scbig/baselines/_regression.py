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

    @cached_property
    def _weights(self) -> np.ndarray:
        return self._precision @ self.effects.delta

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
        return self._covariance(targets, context) @ self._weights

    def get_explained(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Share of the variance between targets that training explains, in [0, 1].

        One minus posterior over prior variance, where the prior leaves out what all targets
        share: near 1 for conditions that were measured well, near 0 for a target of which
        nothing but its being a target is known.

        Parameters
        ----------
        targets
            Target set of each condition, length ``n``.
        context
            Context of each condition, shape ``(n,)``.

        Returns
        -------
        Shares, shape ``(n,)``.
        """
        if not len(targets):
            return np.empty(0)
        cross = self._covariance(targets, context)
        prior = np.array(
            [
                self.kernel([group], context[i : i + 1], [group], context[i : i + 1])[0, 0]
                for i, group in enumerate(targets)
            ]
        )
        posterior = prior - np.einsum("ij,jk,ik->i", cross, self._precision, cross, optimize=True)
        n_targets = np.array([len(group) for group in targets])
        particular = prior - self.kernel.settings.mean * n_targets**2
        return np.clip(1 - posterior / np.maximum(particular, 1e-12), 0, 1)

    def leave_one_out(self) -> np.ndarray:
        """Predict each training condition from all others, shape ``(n_groups, n_genes)``."""
        return self.effects.delta - self._weights / np.diag(self._precision)[:, None]

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
        rows = np.flatnonzero([target in group for group in self.effects.targets])
        block = self._precision[np.ix_(rows, rows)]
        return rows, self.effects.delta[rows] - np.linalg.solve(block, self._weights[rows])

    def _covariance(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        return self.kernel(targets, context, self.effects.targets, self.effects.context)


def get_noisy_covariance(effects: Effects, kernel: TargetKernel) -> np.ndarray:
    """Covariance of measured effects: the kernel, and noise that falls with the cells."""
    covariance = kernel(effects.targets, effects.context, effects.targets, effects.context)
    # The mean of many cells is less noisy than the mean of a few.
    noise = kernel.settings.noise * effects.n_cells.mean() / effects.n_cells
    return covariance + np.diag(noise)

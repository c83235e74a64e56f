"""Gaussian-process regression of perturbation effects, in closed form.

With the identity part alone this is ridge regression on indicators of the perturbed genes,
with one intercept for each target; with embeddings it is kernel ridge regression. Solving for
all genes at once costs one factorisation of a ``(n_groups, n_groups)`` matrix, and leaving a
condition, or all conditions of a gene, out costs no refit (Rasmussen & Williams 2006, 5.4.2).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product

import numpy as np
from scipy import linalg

from scbig.baselines._kernel import KernelSettings, TargetKernel
from scbig.data import Effects, Targets

NOISES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
EMBEDDING_WEIGHTS = (0.0, 0.3, 1.0, 3.0)
CONTEXT_SHARES = (0.1, 0.4, 0.8)
MAX_GROUPS_TO_CHOOSE = 1000


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
        effects = self.effects
        covariance = self.kernel(
            effects.targets, effects.context, effects.targets, effects.context
        )
        # The mean of many cells is less noisy than the mean of a few.
        noise = self.kernel.settings.noise * effects.n_cells.mean() / effects.n_cells
        factor = linalg.cho_factor(covariance + np.diag(noise), lower=True)
        return linalg.cho_solve(factor, np.eye(len(effects)))

    @cached_property
    def _weights(self) -> np.ndarray:
        return self._precision @ self.effects.delta

    def predict(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict effects, shape ``(n, n_genes)``."""
        return self._covariance(targets, context) @ self._weights

    def get_explained(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Share of the variance between targets that training explains, in [0, 1].

        One minus posterior over prior variance, where the prior leaves out what all targets
        share: near 1 for conditions that were measured well, near 0 for a target of which
        nothing but its being a target is known.
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


def choose_kernel(
    train: Effects, validation: Effects | None, embeddings: tuple[Mapping[str, np.ndarray], ...]
) -> TargetKernel:
    """Choose the weights of a kernel on conditions that were not trained on.

    Parameters
    ----------
    train
        Effects of the training conditions.
    validation
        Effects of held-out conditions; ``None`` leaves each training condition out in turn.
    embeddings
        Unit vectors of targets, see :class:`TargetKernel`.

    Returns
    -------
    The kernel with the smallest mean squared error.
    """
    rows = np.linspace(0, len(train) - 1, min(len(train), MAX_GROUPS_TO_CHOOSE)).astype(int)
    train = train.subset(rows)
    contexts = CONTEXT_SHARES if len(train.control_mean) > 1 else (0.0,)
    grid = product(NOISES, product(EMBEDDING_WEIGHTS, repeat=len(embeddings)), contexts)
    kernels = [
        TargetKernel(embeddings, KernelSettings(noise=noise, embedding=weights, context=share))
        for noise, weights, share in grid
    ]
    return min(kernels, key=lambda kernel: _error(EffectRegression(train, kernel), validation))


def _error(model: EffectRegression, validation: Effects | None) -> float:
    if validation is None:
        return float(np.mean((model.leave_one_out() - model.effects.delta) ** 2))
    predicted = model.predict(validation.targets, validation.context)
    return float(np.mean((predicted - validation.delta) ** 2))

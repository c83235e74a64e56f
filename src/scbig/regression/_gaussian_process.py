"""What do other conditions say about a condition, and how much does each of them count?

Gaussian-process regression of perturbation effects, in closed form. With the identity part alone
this is ridge regression on indicators of the perturbed genes, with one intercept for each target;
with embeddings it is kernel ridge regression. Solving for all genes at once costs one
factorisation of a ``(n_groups, n_groups)`` matrix, and leaving a condition, or all conditions of
a gene, out costs no refit (Rasmussen & Williams 2006, 5.4.2).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from scipy import linalg

from scbig.data import Effects, Targets
from scbig.regression._kernel import TargetKernel, compute_column_evidence, get_noisy_covariance

# Further components of a large screen are noise.
MAX_COMPONENTS = 256


class KernelRegression:
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


class ComponentRegression:
    """One Gaussian process for each principal component of the effects.

    Components that many perturbations share stand out of the noise and are hardly shrunk; those
    that are noise are shrunk to nothing, which regression gene by gene cannot do. Each
    component takes the kernel under which it is most likely (empirical Bayes). Where every target
    is in one condition alone and has no close relative, signal and noise cannot be told apart, and
    most components are shrunk.

    Parameters
    ----------
    effects
        Effects of the training conditions.
    kernels
        Kernels to choose from.
    scale
        Standard deviation of the noise of each gene, shape ``(n_genes,)``; genes are divided by
        it, so that no component is about noisy genes.
    """

    def __init__(
        self, effects: Effects, kernels: Sequence[TargetKernel], scale: np.ndarray
    ) -> None:
        left, size, loadings = linalg.svd(effects.delta / scale, full_matrices=False)
        scores = (left * size)[:, :MAX_COMPONENTS]
        loadings = loadings[:MAX_COMPONENTS] * scale
        evidence = [compute_column_evidence(effects, kernel, scores) for kernel in kernels]
        best = np.argmax(evidence, axis=0)
        self._parts = [
            (
                KernelRegression(replace(effects, delta=scores[:, best == i]), kernel),
                loadings[best == i],
            )
            for i, kernel in enumerate(kernels)
            if (best == i).any()
        ]

    def predict(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict the effects of conditions, shape ``(n, n_genes)``."""
        return sum(part.predict(targets, context) @ loadings for part, loadings in self._parts)

    def leave_one_out(self) -> np.ndarray:
        """Predict each training condition from all others, shape ``(n_groups, n_genes)``."""
        return sum(part.leave_one_out() @ loadings for part, loadings in self._parts)

    def leave_target_out(self, target: str) -> np.ndarray:
        """Predict all conditions with a target from those without it, in their order."""
        return sum(part.leave_target_out(target)[1] @ loadings for part, loadings in self._parts)

"""Regression of effects that shrinks each principal component by its own noise."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import linalg

from scbig.baselines._evidence import compute_column_evidence
from scbig.baselines._kernel import TargetKernel
from scbig.baselines._regression import EffectRegression
from scbig.data import Effects, Targets

# Further components of a large screen are noise.
MAX_COMPONENTS = 256


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
                EffectRegression(replace(effects, delta=scores[:, best == i]), kernel),
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

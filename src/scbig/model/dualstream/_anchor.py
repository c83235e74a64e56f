"""The anchor of DualStreamMamba: a regression of effects on the perturbed targets."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from scbig.baselines import (
    Confidence,
    DenoisedRegression,
    Denoising,
    TargetKernel,
    leave_targets_out,
)
from scbig.data import Effects, Targets


class Anchor:
    """Regression of gene effects, made when it is first needed.

    Parameters
    ----------
    effects
        Gene effects of the training groups.
    kernel
        Covariance of conditions.
    genes
        Names of the genes, shape ``(G,)``.
    denoising
        Parts of the regression.
    """

    def __init__(
        self, effects: Effects, kernel: TargetKernel, genes: Sequence[str], denoising: Denoising
    ) -> None:
        self.effects = effects
        self.kernel = kernel
        self.genes = genes
        self.denoising = denoising

    @cached_property
    def _regression(self) -> DenoisedRegression:
        return DenoisedRegression(self.effects, self.kernel, self.genes, self.denoising)

    @cached_property
    def _confidence(self) -> Confidence:
        return Confidence(self._regression)

    def predict(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict gene effects, shape ``(n, G)``."""
        return self._regression.predict(targets, context)

    def get_confidence(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Expected ``pearson_delta`` of the gene effects, in [0, 1]."""
        return self._confidence.predict(targets, context)

    def leave_one_out(self) -> np.ndarray:
        """Predict each training group from all others, shape ``(n_groups, G)``."""
        return self._regression.leave_one_out()

    def leave_target_out(self, left_out: Sequence[str]) -> np.ndarray:
        """Predict each training group from the groups without one of its targets.

        Parameters
        ----------
        left_out
            The target that is left out for each training group.

        Returns
        -------
        Gene effects, shape ``(n_groups, G)``.
        """
        return leave_targets_out(self._regression, left_out)

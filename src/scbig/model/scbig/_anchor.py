"""The anchor of SCBIG: regressions of effects on genes and on latents."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from scbig.baselines import (
    Confidence,
    DenoisedRegression,
    Denoising,
    EffectRegression,
    TargetKernel,
    leave_targets_out,
)
from scbig.data import Effects, Targets


class Anchor:
    """Regression of gene effects and of latent effects on the perturbed targets.

    Parameters
    ----------
    effects
        Gene effects of the training groups.
    latent_delta
        Their latent effects, shape ``(n_groups, n_latent)``.
    kernel
        Covariance of conditions.
    genes
        Names of the genes, shape ``(G,)``.
    denoising
        Parts of the regression of genes.
    """

    def __init__(
        self,
        effects: Effects,
        latent_delta: np.ndarray,
        kernel: TargetKernel,
        genes: Sequence[str],
        denoising: Denoising,
    ) -> None:
        self.effects = effects
        self.latent_delta = latent_delta
        self.kernel = kernel
        self.genes = genes
        self.denoising = denoising

    @cached_property
    def _of_genes(self) -> DenoisedRegression:
        return DenoisedRegression(self.effects, self.kernel, self.genes, self.denoising)

    @cached_property
    def _confidence(self) -> Confidence:
        return Confidence(self._of_genes)

    @cached_property
    def _of_latents(self) -> EffectRegression:
        return EffectRegression(replace(self.effects, delta=self.latent_delta), self.kernel)

    def predict(
        self, targets: Sequence[Targets], context: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict gene effects ``(n, G)`` and latent effects ``(n, n_latent)``."""
        return (
            self._of_genes.predict(targets, context),
            self._of_latents.predict(targets, context),
        )

    def get_confidence(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Expected ``pearson_delta`` of the gene effects, in [0, 1]."""
        return self._confidence.predict(targets, context)

    def leave_one_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Predict each training group from all others."""
        return self._of_genes.leave_one_out(), self._of_latents.leave_one_out()

    def leave_target_out(self, left_out: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Predict each training group from the groups without one of its targets.

        Parameters
        ----------
        left_out
            The target that is left out for each training group.

        Returns
        -------
        Gene effects ``(n_groups, G)`` and latent effects ``(n_groups, n_latent)``.
        """
        return (
            leave_targets_out(self._of_genes, left_out),
            leave_targets_out(self._of_latents, left_out),
        )

    def without(self, effects: Effects) -> "Anchor":
        """Return the regression on the training groups that are not among other effects."""
        left_out = _get_keys(effects)
        kept = np.array([key not in left_out for key in _get_keys(self.effects)], dtype=bool)
        effects, latent_delta = self.effects.subset(kept), self.latent_delta[kept]
        return Anchor(effects, latent_delta, self.kernel, self.genes, self.denoising)

    def find(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Return the rows of training groups, given by targets and context."""
        position = _get_keys(self.effects)
        return np.array([position[key] for key in zip(targets, context.tolist(), strict=True)])


def join_effects(old: Effects, new: Effects) -> Effects:
    """Join the groups of an earlier screen with those of a new one.

    Parameters
    ----------
    old
        Effects in the earlier screen; the names of its contexts come first in ``new``.
    new
        Effects in the new screen.

    Returns
    -------
    All effects, the old ones first.
    """
    # A context without control cells in the new screen keeps its earlier mean.
    known = np.full_like(new.control_mean, np.nan)
    known[: len(old.control_mean)] = old.control_mean
    return Effects(
        targets=old.targets + new.targets,
        context=np.concatenate([old.context, new.context]),
        delta=np.vstack([old.delta, new.delta]),
        n_cells=np.concatenate([old.n_cells, new.n_cells]),
        control_mean=np.where(np.isnan(new.control_mean), known, new.control_mean),
        variance=np.vstack([old.variance, new.variance]),
    )


def _get_keys(effects: Effects) -> dict[tuple[Targets, int], int]:
    """Number the groups by targets and context."""
    keys = zip(effects.targets, effects.context.tolist(), strict=True)
    return {key: row for row, key in enumerate(keys)}

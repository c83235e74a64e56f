"""Regression of effects that knows the noise of cells and what genes share."""

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from scbig.baselines._component_regression import ComponentRegression
from scbig.baselines._kernel import TargetKernel
from scbig.baselines._new_context import scale_falls
from scbig.baselines._own_gene import fit_own_gene
from scbig.baselines._regression import EffectRegression
from scbig.baselines._saturation import compute_saturation
from scbig.data import Effects, Targets

# The regression gene by gene is hardly shrunk: what is noise in it shows by its standard error.
DETAILED = (0.5, 1.0)
# Noise and interactions to choose from for each component.
NOISES = (0.1, 0.3, 1.0, 3.0, 10.0)
INTERACTIONS = (0.0, 1.0)
# Standard errors at which half of a difference between the two regressions is believed.
HALF_BELIEVED = 4.0


@dataclass(frozen=True)
class Denoising:
    """The parts of :class:`DenoisedRegression`, to be left out for comparison.

    Parameters
    ----------
    use_components
        Share strength between genes; otherwise each gene is regressed by itself, with the noise
        and interactions of the kernel.
    use_own_gene
        Fit the effect of perturbations on their own gene apart.
    use_saturation
        Scale combinations of seen targets by how far such combinations fall short.
    """

    use_components: bool = True
    use_own_gene: bool = True
    use_saturation: bool = True


class DenoisedRegression:
    """Regression of effects on targets, partially denoised.

    Two regressions predict each condition. One shrinks each principal component of the effects
    by its own noise (:class:`ComponentRegression`), and loses what is particular to a gene. The
    other goes gene by gene (:class:`EffectRegression`) and keeps that, together with the noise.
    Where they differ by z standard errors, the share ``z**2 / (z**2 + 16)`` of the difference is
    believed, as the non-negative garrote would (Breiman 1995, doi:10.2307/1269730). The effect
    of a perturbation on its own gene is fitted apart (:class:`OwnGeneEffect`), and combinations
    of seen targets are scaled by how far such combinations fall short of it
    (:func:`compute_saturation`). In a context without training conditions, falls are scaled by
    how much less there is to fall (:func:`scale_falls`).

    Parameters
    ----------
    effects
        Effects of the training conditions.
    kernel
        Covariance of conditions; its noise and interactions are chosen anew.
    genes
        Names of the genes, as targets are named; none for features that are no genes.
    denoising
        What to leave out.

    Attributes
    ----------
    effects
        Effects of the training conditions.
    kernel
        How conditions are compared.
    """

    def __init__(
        self,
        effects: Effects,
        kernel: TargetKernel,
        genes: Sequence[str] = (),
        denoising: Denoising | None = None,
    ) -> None:
        denoising = denoising or Denoising()
        self.effects = effects
        self.kernel = kernel
        self._own = fit_own_gene(effects, genes if denoising.use_own_gene else ())
        own = self._own.predict(effects.targets, effects.context, effects.control_mean)
        rest = replace(effects, delta=effects.delta - own)
        use_components = denoising.use_components
        self._shared = _fit_components(rest, kernel) if use_components else None
        detailed = kernel.with_noise(*DETAILED) if use_components else kernel
        self._detailed = EffectRegression(rest, detailed)
        n_uses = Counter(target for group in effects.targets for target in group)
        self._seen = set(n_uses)
        # Left out, a condition takes targets with it that are in no other.
        self._repeated = {target for target, n in n_uses.items() if n > 1}
        self._saturation = np.ones(effects.delta.shape[1])
        if denoising.use_saturation:
            self._saturation = compute_saturation(effects, self.leave_one_out(), self._repeated)

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
        shared = None if self._shared is None else self._shared.predict(targets, context)
        weights = self._detailed.get_weights(targets, context)
        return self._finish(self._mix(weights, shared), targets, context, self._seen)

    def leave_one_out(self) -> np.ndarray:
        """Predict each training condition from all others, shape ``(n_groups, n_genes)``."""
        shared = None if self._shared is None else self._shared.leave_one_out()
        mixed = self._mix(self._detailed.get_left_out_weights(), shared)
        return self._finish(mixed, self.effects.targets, self.effects.context, self._repeated)

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
        shared = None if self._shared is None else self._shared.leave_target_out(target)
        rows, weights = self._detailed.get_target_left_out_weights(target)
        effects, seen = self.effects.subset(rows), self._seen - {target}
        mixed = self._mix(weights, shared)
        return rows, self._finish(mixed, effects.targets, effects.context, seen)

    def _mix(self, weights: np.ndarray, shared: np.ndarray | None) -> np.ndarray:
        """Believe differences of the detailed regression by their standard errors."""
        rest = self._detailed.effects
        detailed = weights @ rest.delta
        if shared is None:
            return detailed
        square = (detailed - shared) ** 2
        variance = (weights**2 @ (1 / rest.n_cells))[:, None] * rest.pooled_variance
        total = square + HALF_BELIEVED**2 * variance
        believed = np.divide(square, total, out=np.zeros_like(total), where=total > 0)
        return shared + believed * (detailed - shared)

    def _finish(
        self, mixed: np.ndarray, targets: Sequence[Targets], context: np.ndarray, seen: Set[str]
    ) -> np.ndarray:
        """Add the effect on own genes, scale falls in new contexts and seen combinations."""
        mixed = scale_falls(mixed, np.asarray(context), self.effects)
        own = self._own.predict(targets, context, self.effects.control_mean)
        is_known = np.array([len(group) > 1 and set(group) <= seen for group in targets])
        return np.where(is_known[:, None], self._saturation, 1.0) * (mixed + own)


def _fit_components(effects: Effects, kernel: TargetKernel) -> ComponentRegression:
    """Regress the components of effects that are scaled by their noise."""
    kernels = [kernel.with_noise(*pair) for pair in product(NOISES, INTERACTIONS)]
    variance = effects.pooled_variance * np.mean(1 / effects.n_cells)
    # Half of the scale is common, so that genes that hardly vary are not blown up. Without any
    # noise, as where each group is one cell, all genes count alike.
    return ComponentRegression(effects, kernels, np.sqrt(variance + (variance.mean() or 1.0)))

"""The anchor of SCBIG: one regression of effects on genes and on latents."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scbig.baselines import EffectRegression, TargetKernel
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
    """

    def __init__(self, effects: Effects, latent_delta: np.ndarray, kernel: TargetKernel) -> None:
        self.effects = effects
        self.latent_delta = latent_delta
        self.kernel = kernel
        # Genes and latents side by side share the factorisation.
        both = np.hstack([effects.delta, latent_delta])
        self._regression = EffectRegression(replace(effects, delta=both), kernel)

    def predict(
        self, targets: Sequence[Targets], context: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict gene effects ``(n, G)`` and latent effects ``(n, n_latent)``."""
        return self._split(self._regression.predict(targets, context))

    def get_confidence(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Share of the variance between targets that training explains, in [0, 1]."""
        return self._regression.get_explained(targets, context)

    def leave_one_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Predict each training group from all others."""
        return self._split(self._regression.leave_one_out())

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
        chosen = np.array(left_out)
        predicted = np.empty_like(self._regression.effects.delta, dtype=np.float64)
        for target in np.unique(chosen):
            rows, values = self._regression.leave_target_out(str(target))
            is_wanted = chosen[rows] == target
            predicted[rows[is_wanted]] = values[is_wanted]
        return self._split(predicted)

    def without(self, effects: Effects) -> "Anchor":
        """Return the regression on the training groups that are not among other effects."""
        left_out = _get_keys(effects)
        kept = np.array([key not in left_out for key in _get_keys(self.effects)], dtype=bool)
        return Anchor(self.effects.subset(kept), self.latent_delta[kept], self.kernel)

    def find(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Return the rows of training groups, given by targets and context."""
        position = _get_keys(self.effects)
        return np.array([position[key] for key in zip(targets, context.tolist(), strict=True)])

    def _split(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n_genes = self.effects.delta.shape[1]
        return values[:, :n_genes], values[:, n_genes:]


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
    )


def _get_keys(effects: Effects) -> dict[tuple[Targets, int], int]:
    """Number the groups by targets and context."""
    keys = zip(effects.targets, effects.context.tolist(), strict=True)
    return {key: row for row, key in enumerate(keys)}

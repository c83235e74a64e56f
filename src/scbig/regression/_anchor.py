"""What do training groups look like to a network that must not have seen them?

A network starts from the effects that a regression expects. In training these must come from
regressions without the group, or the network would learn to trust what it never gets later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from scbig.data import Effects, Targets
from scbig.regression._denoised import DenoisedRegression, Denoising, leave_targets_out
from scbig.regression._gaussian_process import KernelRegression
from scbig.regression._kernel import TargetKernel


class Anchor:
    """Regression of gene effects, and of further features, on the perturbed targets.

    The regressions are made when they are first needed.

    Parameters
    ----------
    effects
        Gene effects of the training groups.
    kernel
        Covariance of conditions.
    genes
        Names of the genes, shape ``(G,)``.
    denoising
        Parts of the regression of genes.
    features
        Further effects of the same groups, such as those on latents, shape
        ``(n_groups, n_features)``.
    """

    def __init__(
        self,
        effects: Effects,
        kernel: TargetKernel,
        genes: Sequence[str],
        denoising: Denoising,
        features: np.ndarray | None = None,
    ) -> None:
        self.effects = effects
        self.kernel = kernel
        self.genes = genes
        self.denoising = denoising
        self.features = features

    @cached_property
    def regression(self) -> DenoisedRegression:
        """Regression of gene effects."""
        return DenoisedRegression(self.effects, self.kernel, self.genes, self.denoising)

    @cached_property
    def _of_features(self) -> KernelRegression:
        if self.features is None:
            raise ValueError("This anchor has no further features: pass features= to Anchor.")
        return KernelRegression(replace(self.effects, delta=self.features), self.kernel)

    def predict(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict gene effects, shape ``(n, G)``."""
        return self.regression.predict(targets, context)

    def predict_features(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict the further features, shape ``(n, n_features)``."""
        return self._of_features.predict(targets, context)

    def leave_one_out(self) -> np.ndarray:
        """Predict each training group from all others, shape ``(n_groups, G)``."""
        return self.regression.leave_one_out()

    def leave_one_out_features(self) -> np.ndarray:
        """Predict the features of each group from all others, shape ``(n_groups, n_features)``."""
        return self._of_features.leave_one_out()

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
        return leave_targets_out(self.regression, left_out)

    def leave_target_out_features(self, left_out: Sequence[str]) -> np.ndarray:
        """Predict the features as :meth:`leave_target_out` does, ``(n_groups, n_features)``."""
        return leave_targets_out(self._of_features, left_out)


@dataclass(frozen=True, eq=False)
class UnseenAnchor:
    """What an anchor expects of its training groups, each as if it were unseen.

    Attributes
    ----------
    effect
        Gene effects, shape ``(n_groups, G)``.
    features
        Further features, shape ``(n_groups, n_features)``; ``None`` where the anchor has none.
    forgotten
        The target of each group that was left out, with all its conditions; ``None`` where only
        the group itself was.
    """

    effect: np.ndarray
    features: np.ndarray | None
    forgotten: tuple[str, ...] | None

    def take_last(self, n_groups: int) -> "UnseenAnchor":
        """Leave out what comes before the last groups."""
        features = None if self.features is None else self.features[-n_groups:]
        forgotten = None if self.forgotten is None else self.forgotten[-n_groups:]
        return UnseenAnchor(self.effect[-n_groups:], features, forgotten)


def anchor_as_unseen(
    anchor: Anchor, held_out: Sequence[Targets], rng: np.random.Generator
) -> list[UnseenAnchor]:
    """Anchor each training group as the held-out ones are.

    Where the held-out conditions combine targets that are seen in training, a group's anchor is
    fitted on all other groups; where they have an unseen target, on the groups without one of
    its targets, whose own vector is then to be left out too. Where both occur, or nothing is held
    out, each group is there in both ways.

    Parameters
    ----------
    anchor
        Regression of the training groups.
    held_out
        Held-out conditions.
    rng
        Draws the target that is left out.

    Returns
    -------
    One or two anchors of all training groups, in the order of ``anchor.effects``: left out by
    themselves first, left out with a target second.
    """
    seen = {target for group in anchor.effects.targets for target in group}
    kinds = {set(group) <= seen for group in held_out} or {True, False}
    has_features = anchor.features is not None
    unseen = []
    if True in kinds:
        features = anchor.leave_one_out_features() if has_features else None
        unseen.append(UnseenAnchor(anchor.leave_one_out(), features, None))
    if False in kinds:
        forgotten = tuple(str(rng.choice(sorted(group))) for group in anchor.effects.targets)
        features = anchor.leave_target_out_features(forgotten) if has_features else None
        unseen.append(UnseenAnchor(anchor.leave_target_out(forgotten), features, forgotten))
    return unseen

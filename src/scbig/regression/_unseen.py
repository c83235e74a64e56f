"""What does the regression say of conditions that it has not seen: anchors, and confidence?

A network starts from the effects that a regression expects. In training these must come from
regressions without the group, or the network would learn to trust what it never gets later. How
well such regressions predict is also what a prediction can be expected to score.
"""

import logging
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from sklearn.linear_model import Ridge

from scbig.data import Effects, Targets
from scbig.regression._denoised import DenoisedRegression, Denoising
from scbig.regression._gaussian_process import KernelRegression, TargetKernel

# More targets to leave out would take long and change nothing.
logger = logging.getLogger(__name__)

MAX_TARGETS = 200
# Weak: a dozen conditions outweigh it.
_PENALTY = 1.0

ScoreFunction = Callable[[np.ndarray, Effects], np.ndarray]


@dataclass(eq=False)
class Anchor:
    """Regression of gene effects, and of further features ``(n_groups, n_features)``, on targets.

    The features are effects of the same groups, such as those on latents. The regressions are
    made when they are first needed.
    """

    effects: Effects
    kernel: TargetKernel
    genes: Sequence[str]
    denoising: Denoising
    features: np.ndarray | None = None

    @cached_property
    def regression(self) -> DenoisedRegression:
        """Regression of gene effects."""
        return DenoisedRegression(self.effects, self.kernel, self.genes, self.denoising)

    @cached_property
    def feature_regression(self) -> KernelRegression:
        """Regression of the further features."""
        if self.features is None:
            raise ValueError("This anchor has no further features: pass features= to Anchor.")
        return KernelRegression(replace(self.effects, delta=self.features), self.kernel)

    def with_features(self, features: np.ndarray) -> "Anchor":
        """Regress further features with the same kernel; the regression of effects stays."""
        anchor = replace(self, features=features)
        if "regression" in self.__dict__:
            anchor.__dict__["regression"] = self.regression
        return anchor

    def predict(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict gene effects, shape ``(n, G)``."""
        return self.regression.predict(targets, context)

    def predict_features(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict the further features, shape ``(n, n_features)``."""
        return self.feature_regression.predict(targets, context)

    def leave_one_out(self) -> np.ndarray:
        """Predict each training group from all others, shape ``(n_groups, G)``."""
        return self.regression.leave_one_out()

    def leave_one_out_features(self) -> np.ndarray:
        """Predict the features of each group from all others, shape ``(n_groups, n_features)``."""
        return self.feature_regression.leave_one_out()

    def leave_target_out(self, left_out: Sequence[str]) -> np.ndarray:
        """Predict as :func:`leave_targets_out` does, shape ``(n_groups, G)``."""
        return leave_targets_out(self.regression, left_out)


@dataclass(frozen=True, eq=False)
class UnseenAnchor:
    """What an anchor expects of its training groups, each as if it were unseen."""

    effect: np.ndarray  # (n_groups, G)
    features: np.ndarray | None  # (n_groups, n_features)
    # The target of each group that was left out, with all its conditions; None where only the
    # group itself was.
    forgotten: tuple[str, ...] | None

    def take_last(self, n_groups: int) -> "UnseenAnchor":
        """Leave out what comes before the last groups."""
        features = None if self.features is None else self.features[-n_groups:]
        forgotten = None if self.forgotten is None else self.forgotten[-n_groups:]
        return UnseenAnchor(self.effect[-n_groups:], features, forgotten)


def anchor_as_unseen(
    anchor: Anchor, held_out: Sequence[Targets], rng: np.random.Generator
) -> list[UnseenAnchor]:
    """Anchor each training group as the held-out ones are; ``rng`` draws targets to leave out.

    Where the held-out conditions combine targets that are seen in training, a group's anchor is
    fitted on all other groups; where they have an unseen target, on the groups without one of
    its targets, whose own vector is then to be left out too. Where both occur, or nothing is held
    out, each group is there in both ways: left out by itself first, with a target second.
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
        features = (
            leave_targets_out(anchor.feature_regression, forgotten) if has_features else None
        )
        unseen.append(UnseenAnchor(anchor.leave_target_out(forgotten), features, forgotten))
    return unseen


def leave_targets_out(
    regression: KernelRegression | DenoisedRegression, left_out: Sequence[str]
) -> np.ndarray:
    """Predict each training condition from those without the target that is left out for it."""
    chosen = np.array(left_out)
    effect = np.empty(regression.effects.delta.shape)
    for target in np.unique(chosen).tolist():
        rows, values = regression.leave_target_out(target)
        is_wanted = chosen[rows] == target
        effect[rows[is_wanted]] = values[is_wanted]
    return effect


def leave_each_target_out(
    kernel: KernelRegression, regressions: Sequence[DenoisedRegression]
) -> list[np.ndarray]:
    """Predict training conditions from those without one of their targets, for each of these.

    Returns
    -------
    Row numbers, the weights of a kernel regression, and what each of the others predicts; of at
    most :data:`MAX_TARGETS` targets.
    """
    targets = sorted({target for group in kernel.effects.targets for target in group})
    parts = []
    for target in targets[:: -(-len(targets) // MAX_TARGETS)]:
        means = [regression.leave_target_out(target)[1] for regression in regressions]
        parts.append((*kernel.get_target_left_out_weights(target), *means))
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


class Confidence:
    """Expected score of predicted conditions, calibrated on the training conditions.

    Each training condition is predicted from all others, and once more for each of its targets
    from the conditions without that target. What these predictions score is regressed on what
    is known beforehand: how large the predicted effect is beside the noise, and how many of its
    targets are unseen. Of targets that no embedding has nothing is known, and nothing expected.

    Parameters
    ----------
    regression
        The regression to be trusted or not.
    weights
        Intercept, and weights of the size and of the number of unseen targets, shape ``(3,)``;
        see :meth:`calibrate`. NaN where there was nothing to calibrate on, and so is then all
        confidence.
    """

    def __init__(self, regression: DenoisedRegression, weights: np.ndarray) -> None:
        self.weights = weights
        self._regression = regression
        effects = regression.effects
        noise = effects.pooled_variance * np.mean(1 / effects.n_cells)
        self._noise = max(float(np.sqrt(noise.mean())), np.finfo(np.float32).tiny)
        self._targets = sorted({target for group in effects.targets for target in group})

    @classmethod
    def calibrate(cls, regression: DenoisedRegression, score: ScoreFunction) -> Self:
        """Calibrate on the training conditions of a regression.

        ``score`` compares predicted effects, shape ``(n, n_genes)``, with real ones, and returns
        one score for each group, shape ``(n,)``.

        Parameters
        ----------
        regression
            The regression to be trusted or not.
        score
            Scores predicted effects against real ones, one score a group.
        """
        confidence = cls(regression, np.full(3, np.nan))
        if len(set(regression.effects.targets)) < 2:
            logger.warning(
                "One condition was trained on: left out, nothing is there to predict it from, so "
                "that confidence cannot be told and is NaN."
            )
            return confidence
        features, scores = confidence._make_examples(score)
        scale = features.std(axis=0)
        # Where all examples are alike, rounding leaves a trace.
        scale[scale < 1e-9] = 1
        model = Ridge(alpha=_PENALTY).fit(features / scale, scores)
        confidence.weights = np.concatenate([[model.intercept_], model.coef_ / scale])
        return confidence

    def predict(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Expected score of n conditions with their contexts ``(n,)``: in [0, 1], ``(n,)``.

        Parameters
        ----------
        targets, context
            Conditions, each with its context, length ``n``.
        """
        if not len(targets):
            return np.empty(0)
        seen = set(self._targets)
        predicted = self._regression.predict(targets, context)
        features = self._describe(predicted, _count_unseen(targets, seen))
        expected = np.clip(self.weights[0] + features @ self.weights[1:], 0, 1)
        # Of targets that nothing is known of there is no example: all of them can be compared.
        kernel = self._regression.kernel
        n_unknown = [
            sum(not (t in seen or kernel.is_comparable(t)) for t in group) for group in targets
        ]
        return expected * (1 - np.array(n_unknown) / [max(len(group), 1) for group in targets])

    def _make_examples(self, score: ScoreFunction) -> tuple[np.ndarray, np.ndarray]:
        """Features and scores of predictions that have not seen their condition."""
        regression, effects = self._regression, self._regression.effects
        n_uses = {t: sum(t in group for group in effects.targets) for t in self._targets}
        # A target in no other condition is unseen when its condition is left out.
        n_unseen = [sum(n_uses[t] == 1 for t in group) for group in effects.targets]
        left_out = regression.leave_one_out()
        features = [self._describe(left_out, np.array(n_unseen))]
        scores = [score(left_out, effects)]
        for target in self._targets[:: -(-len(self._targets) // MAX_TARGETS)]:
            rows, predicted = regression.leave_target_out(target)
            left = effects.subset(rows)
            # Targets that are always with this one are unseen as well.
            seen = {other for group in effects.targets if target not in group for other in group}
            features.append(self._describe(predicted, _count_unseen(left.targets, seen)))
            scores.append(score(predicted, left))
        return np.concatenate(features), np.concatenate(scores)

    def _describe(self, predicted: np.ndarray, n_unseen: np.ndarray) -> np.ndarray:
        size = np.sqrt(np.mean(predicted**2, axis=1)) / self._noise
        return np.column_stack([np.log(np.maximum(size, 1e-3)), n_unseen])


def _count_unseen(targets: Sequence[Targets], seen: Set[str]) -> np.ndarray:
    return np.array([len(set(group) - seen) for group in targets])

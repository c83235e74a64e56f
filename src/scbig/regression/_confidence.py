"""How well can a regression be expected to predict a condition?"""

from collections.abc import Callable, Sequence, Set
from typing import Self

import numpy as np
from sklearn.linear_model import Ridge

from scbig.data import Effects, Targets
from scbig.regression._denoised import DenoisedRegression

# More targets to leave out would take long and change nothing.
MAX_TARGETS = 200
# Weak: a dozen conditions outweigh it.
_PENALTY = 1.0


ScoreFunction = Callable[[np.ndarray, Effects], np.ndarray]


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
        see :meth:`calibrate`.
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

        Parameters
        ----------
        regression
            The regression to be trusted or not.
        score
            Scores predicted effects, shape ``(n, n_genes)``, against real ones: one score for
            each group, shape ``(n,)``.

        Returns
        -------
        The calibrated confidence.
        """
        confidence = cls(regression, np.zeros(3))
        features, scores = confidence._make_examples(score)
        scale = features.std(axis=0)
        # Where all examples are alike, rounding leaves a trace.
        scale[scale < 1e-9] = 1
        model = Ridge(alpha=_PENALTY).fit(features / scale, scores)
        confidence.weights = np.concatenate([[model.intercept_], model.coef_ / scale])
        return confidence

    def predict(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Expected score of conditions, in [0, 1].

        Parameters
        ----------
        targets
            Target set of each condition, length ``n``.
        context
            Context of each condition, shape ``(n,)``.

        Returns
        -------
        Scores, shape ``(n,)``.
        """
        if not len(targets):
            return np.empty(0)
        seen = set(self._targets)
        predicted = self._regression.predict(targets, context)
        features = self._describe(predicted, _count_unseen(targets, seen))
        expected = np.clip(self.weights[0] + features @ self.weights[1:], 0, 1)
        return expected * self._get_known_shares(targets)

    def _get_known_shares(self, targets: Sequence[Targets]) -> np.ndarray:
        """Share of the targets of each condition that something is known of.

        No example is about the others: each target of the examples can be compared.
        """
        seen, kernel = set(self._targets), self._regression.kernel
        n_unknown = [
            sum(not (t in seen or kernel.is_comparable(t)) for t in group) for group in targets
        ]
        return 1 - np.array(n_unknown) / [max(len(group), 1) for group in targets]

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

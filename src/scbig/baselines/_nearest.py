"""The nearest-neighbour baseline: similar perturbations do similar things."""

from collections.abc import Sequence

import numpy as np

from scbig.baselines._contexts import get_context_mean
from scbig.baselines._embedding import EmbeddingBaseline
from scbig.baselines._kernel import KernelSettings, TargetKernel
from scbig.baselines._means import predict_train_mean
from scbig.baselines._rule import Embeddings, Rule
from scbig.data import Effects, Targets

# Embeddings are single precision; what differs by less is as near.
TIE = 1e-6


class NearestCondition(EmbeddingBaseline):
    """Predicts the effect of the training condition whose targets are most similar.

    Two targets are similar by one if they are the same, plus the cosine of their embeddings; two
    conditions by the sum over their targets, as a cosine. Conditions that are equally near are
    averaged. A condition contributes its effect in the same context, or the mean of its effects
    in other contexts. Where nothing is similar, the prediction is that of :class:`TrainMean`.
    The arguments are those of :class:`EmbeddingBaseline`.
    """

    default_key = "nearest_condition"

    @staticmethod
    def _choose_kernel(
        trained: Effects, held_out: Effects, embeddings: Embeddings
    ) -> TargetKernel:
        weights = (1.0,) * len(embeddings)
        return TargetKernel(embeddings, KernelSettings(mean=0.0, embedding=weights))

    @staticmethod
    def _make_rule(effects: Effects, kernel: TargetKernel) -> Rule:
        return NearestNeighbours(effects, kernel)


class NearestNeighbours:
    """Predicts the mean effect of the most similar training conditions.

    Parameters
    ----------
    effects
        Effects of the training conditions.
    kernel
        Similarity of conditions.
    """

    def __init__(self, effects: Effects, kernel: TargetKernel) -> None:
        self._effects = effects
        self._kernel = kernel
        self._conditions = list(dict.fromkeys(effects.targets))
        self._lengths = self._get_lengths(self._conditions)
        self._rows: dict[Targets, list[int]] = {group: [] for group in self._conditions}
        for row, group in enumerate(effects.targets):
            self._rows[group].append(row)

    def __call__(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict the effects of conditions, shape ``(n, n_genes)``."""
        predicted = predict_train_mean(self._effects, targets, context)
        similarity = self._compare(targets)
        for i, where in enumerate(context.tolist()):
            best = similarity[i].max()
            if best > TIE:
                near = np.flatnonzero(similarity[i] >= best - TIE).tolist()
                predicted[i] = np.mean([self._get_effect(j, where) for j in near], axis=0)
        return predicted

    def _get_effect(self, condition: int, context: int) -> np.ndarray:
        rows = self._rows[self._conditions[condition]]
        return get_context_mean(self._effects.delta[rows], self._effects.context[rows], context)

    def _compare(self, targets: Sequence[Targets]) -> np.ndarray:
        """Cosines of conditions with the training conditions, shape ``(n, n_conditions)``."""
        products = self._multiply(targets, self._conditions)
        return products / np.outer(self._get_lengths(targets), self._lengths)

    def _get_lengths(self, targets: Sequence[Targets]) -> np.ndarray:
        # Never zero: different targets may cancel in the embedding, but not in the identity.
        return np.sqrt([self._multiply([group], [group])[0, 0] for group in targets])

    def _multiply(self, rows: Sequence[Targets], columns: Sequence[Targets]) -> np.ndarray:
        # Similarity is a matter of targets; all contexts are one to the kernel.
        contexts = [np.zeros(len(groups), dtype=int) for groups in (rows, columns)]
        return self._kernel(rows, contexts[0], columns, contexts[1])

"""What do the simplest rules expect: no change, a mean, a sum, the nearest condition?

A rule predicts mean effects from those of the training conditions; each falls back on other
contexts where a context lacks what it needs.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from scbig.data import Effects, Targets
from scbig.regression._kernel import TargetKernel

# Embeddings are single precision; what differs by less is as near.
TIE = 1e-6


class Rule(Protocol):
    """Predicts the mean effects of conditions, shape ``(n, n_genes)``.

    ``targets`` has length ``n``; ``context``, of shape ``(n,)``, may hold numbers of contexts
    without training conditions.
    """

    def __call__(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict."""
        ...


def predict_no_change(
    effects: Effects, targets: Sequence[Targets], context: np.ndarray
) -> np.ndarray:
    """Predict zeros, shape ``(n, n_genes)``."""
    return np.zeros((len(targets), effects.delta.shape[1]))


def predict_train_mean(
    effects: Effects, targets: Sequence[Targets], context: np.ndarray
) -> np.ndarray:
    """Predict the mean effect of each context, shape ``(n, n_genes)``."""
    names, code = np.unique(context, return_inverse=True)
    means = [get_context_mean(effects.delta, effects.context, name) for name in names]
    return np.reshape(means, (-1, effects.delta.shape[1]))[code]


class SumOfSingles:
    """Predicts the sum of the effects that the targets of a condition have alone.

    A target that was perturbed alone contributes its effect in the same context, or the mean of
    its effects in other contexts; one that was not contributes the mean single effect.

    Parameters
    ----------
    effects
        Effects of the training conditions.
    """

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._unknown: dict[int, np.ndarray] = {}
        self._rows: dict[Targets, list[int]] = {}
        for row, group in enumerate(effects.targets):
            self._rows.setdefault(group, []).append(row)

    def __call__(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict the effects of conditions, shape ``(n, n_genes)``."""
        predicted = np.zeros((len(targets), self._effects.delta.shape[1]))
        for i, (group, where) in enumerate(zip(targets, context.tolist(), strict=True)):
            for target in group:
                predicted[i] += self._get_part(target, where)
        return predicted

    def _get_part(self, target: str, context: int) -> np.ndarray:
        """Effect of one target, shape ``(n_genes,)``."""
        effects, rows = self._effects, self._rows.get((target,))
        if rows is not None:
            return get_context_mean(effects.delta[rows], effects.context[rows], context)
        if context not in self._unknown:
            self._unknown[context] = compute_single_mean(effects, context)
        return self._unknown[context]


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


def get_context_mean(values: np.ndarray, contexts: np.ndarray, context: int) -> np.ndarray:
    """Average the rows of one context, or all rows where it has none.

    Parameters
    ----------
    values
        One row a measurement, shape ``(n, n_genes)``, ``n`` at least 1.
    contexts
        Context of each row, shape ``(n,)``.
    context
        The wanted context.

    Returns
    -------
    The mean, shape ``(n_genes,)``.
    """
    is_here = contexts == context
    return values[is_here].mean(axis=0) if is_here.any() else values.mean(axis=0)


def get_context_rows(effects: Effects, context: int) -> np.ndarray:
    """Find what is to be learned from in one context.

    Parameters
    ----------
    effects
        Effects of the training conditions.
    context
        The wanted context.

    Returns
    -------
    Mask of its own groups, and of the groups of other contexts whose condition it lacks, shape
    ``(n_groups,)``.
    """
    is_here = effects.context == context
    here = {effects.targets[i] for i in np.flatnonzero(is_here)}
    return is_here | np.array([group not in here for group in effects.targets], dtype=bool)


def compute_single_mean(effects: Effects, context: int) -> np.ndarray:
    """Average the effects of single targets: what a target does of which nothing is known.

    Parameters
    ----------
    effects
        Effects of the training conditions.
    context
        The wanted context; if it has no singles, those of all contexts count.

    Returns
    -------
    Mean single effect, shape ``(n_genes,)``. Without any single, each combination's effect is
    shared out evenly among its targets.
    """
    sizes = np.array([len(group) for group in effects.targets])
    rows = sizes == 1 if (sizes == 1).any() else sizes > 0
    delta = effects.delta[rows] / sizes[rows, None]
    return get_context_mean(delta, effects.context[rows], context)

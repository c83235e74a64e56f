"""What do the floors expect: no change, a mean, a sum, ridge regression, the nearest condition?

A rule predicts mean effects from those of the training conditions; each falls back on other
contexts where a context lacks what it needs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from types import MappingProxyType
from typing import Protocol

import numpy as np

from scbig.data import Effects, Targets
from scbig.regression._gaussian_process import (
    Embeddings,
    KernelRegression,
    KernelSettings,
    TargetKernel,
)

# Embeddings are single precision; what differs by less is as near.
TIE = 1e-6
NOISES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
EMBEDDING_WEIGHTS = (0.0, 0.3, 1.0, 3.0)
# Of these, the best on the validation conditions of the ten splits of norman2019_resampled.
DEFAULT_NOISE = 2.0
DEFAULT_WEIGHT = 0.3
MAX_GROUPS = 1000


class Rule(Protocol):
    """Predicts mean effects of conditions; contexts may be without training conditions."""

    def __call__(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict n conditions, given their ``context (n,)``; shape ``(n, n_genes)``."""
        ...


@dataclass(frozen=True)
class FloorRule:
    """How a floor compares conditions, and the rule that it makes; both are pure.

    Attributes
    ----------
    choose_kernel
        Chooses how conditions are compared, from effects of training conditions and of held-out
        ones, of which there may be none, and from embeddings of targets.
    make_rule
        Makes the rule from the effects of the training conditions, and from the kernel that
        ``choose_kernel`` chose.
    is_tuned
        Whether something is chosen on the held-out conditions.
    makes_cells
        Whether cells are to be made; otherwise control cells are predicted as they are.
    """

    choose_kernel: Callable[[Effects, Effects, Embeddings], TargetKernel]
    make_rule: Callable[[Effects, TargetKernel], Rule]
    is_tuned: bool = False
    makes_cells: bool = True


def predict_floors(
    trained: Effects,
    targets: Sequence[Targets],
    context: np.ndarray,
    embeddings: Embeddings,
    *,
    validation: Effects | None = None,
) -> dict[str, np.ndarray]:
    """Predict mean effects by each of the floors.

    Parameters
    ----------
    trained
        Effects of the training conditions.
    targets
        Target set of each wanted condition, length ``n``.
    context
        Context of each, shape ``(n,)``; it may be one without training conditions.
    embeddings
        Lookup tables from target to unit vector, such as
        ``(scbig.priors.UnitVectors(gene_embedding),)``; may be empty.
    validation
        Effects of the conditions that settings are chosen on; by default the settings are fixed.

    Returns
    -------
    Effects by key of the floor, each of shape ``(n, n_genes)``, in the order of
    :data:`FLOOR_RULES`.
    """
    held_out = trained.subset(np.empty(0, dtype=int)) if validation is None else validation
    predicted = {}
    for key, floor in FLOOR_RULES.items():
        kernel = floor.choose_kernel(trained, held_out, embeddings)
        predicted[key] = floor.make_rule(trained, kernel)(targets, context)
    return predicted


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


def predict_own_mean(
    effects: Effects, targets: Sequence[Targets], context: np.ndarray
) -> np.ndarray:
    """Predict each condition's own effect, else the mean effect, shape ``(n, n_genes)``."""
    predicted, rows = predict_train_mean(effects, targets, context), _find_rows(effects)
    for i, (group, where) in enumerate(zip(targets, context.tolist(), strict=True)):
        if own := rows.get(group):
            predicted[i] = get_context_mean(effects.delta[own], effects.context[own], where)
    return predicted


class SumOfSingles:
    """Predicts the sum of the effects that the targets of a condition have alone.

    A target that was perturbed alone contributes its effect in the same context, or the mean of
    its effects in other contexts; one that was not contributes the mean single effect.
    """

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._rows = _find_rows(effects)
        self._unknown: dict[int, np.ndarray] = {}

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
    """Predicts the mean effect of the training conditions that are most similar by a kernel."""

    def __init__(self, effects: Effects, kernel: TargetKernel) -> None:
        self._effects = effects
        self._kernel = kernel
        self._rows = _find_rows(effects)
        self._conditions = list(self._rows)
        self._lengths = self._get_lengths(self._conditions)

    def __call__(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict the effects of conditions, shape ``(n, n_genes)``."""
        predicted = predict_train_mean(self._effects, targets, context)
        products = self._multiply(targets, self._conditions)
        similarity = products / np.outer(self._get_lengths(targets), self._lengths)
        for i, where in enumerate(context.tolist()):
            best = similarity[i].max()
            if best > TIE:
                near = np.flatnonzero(similarity[i] >= best - TIE).tolist()
                predicted[i] = np.mean([self._get_effect(j, where) for j in near], axis=0)
        return predicted

    def _get_effect(self, condition: int, context: int) -> np.ndarray:
        rows = self._rows[self._conditions[condition]]
        return get_context_mean(self._effects.delta[rows], self._effects.context[rows], context)

    def _get_lengths(self, targets: Sequence[Targets]) -> np.ndarray:
        # Never zero: different targets may cancel in the embedding, but not in the identity.
        return np.sqrt([self._multiply([group], [group])[0, 0] for group in targets])

    def _multiply(self, rows: Sequence[Targets], columns: Sequence[Targets]) -> np.ndarray:
        # Similarity is a matter of targets; all contexts are one to the kernel.
        contexts = [np.zeros(len(groups), dtype=int) for groups in (rows, columns)]
        return self._kernel(rows, contexts[0], columns, contexts[1])


def _find_rows(effects: Effects) -> dict[Targets, list[int]]:
    """Row numbers of each condition, in the order in which the conditions come."""
    rows: dict[Targets, list[int]] = {}
    for row, group in enumerate(effects.targets):
        rows.setdefault(group, []).append(row)
    return rows


def get_context_mean(values: np.ndarray, contexts: np.ndarray, context: int) -> np.ndarray:
    """Average the rows of one context, or all rows where it has none; there is at least one."""
    is_here = contexts == context
    return values[is_here].mean(axis=0) if is_here.any() else values.mean(axis=0)


def compute_single_mean(effects: Effects, context: int) -> np.ndarray:
    """Average the effects of single targets: what a target does of which nothing is known.

    If the context has no singles, those of all contexts count. Without any single, each
    combination's effect is shared out evenly among its targets.
    """
    sizes = np.array([len(group) for group in effects.targets])
    rows = sizes == 1 if (sizes == 1).any() else sizes > 0
    delta = effects.delta[rows] / sizes[rows, None]
    return get_context_mean(delta, effects.context[rows], context)


class InterceptRegression:
    """Predicts ``n_targets`` times the mean single effect, and by regression what is left.

    Each context has a regression of its own. It learns from the groups of that context, and from
    those of other contexts whose conditions it lacks, each around the mean of its own context.
    The kernel is without what all targets share.
    """

    def __init__(self, effects: Effects, kernel: TargetKernel) -> None:
        self._effects = effects
        self._kernel = kernel
        self._means: dict[int, np.ndarray] = {}
        self._regressions: dict[int, KernelRegression] = {}

    def __call__(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict the effects of conditions, shape ``(n, n_genes)``."""
        predicted = np.empty((len(targets), self._effects.delta.shape[1]))
        for where in np.unique(context).tolist():
            rows = np.flatnonzero(context == where).tolist()
            groups = [targets[i] for i in rows]
            rest = self._get_regression(where).predict(groups, np.zeros(len(groups), dtype=int))
            predicted[rows] = self._get_shared(groups, [where] * len(groups)) + rest
        return predicted

    def _get_regression(self, context: int) -> KernelRegression:
        """Regression of what the mean single effect leaves, with all groups on one footing."""
        if context not in self._regressions:
            effects, is_here = self._effects, self._effects.context == context
            here = {effects.targets[i] for i in np.flatnonzero(is_here)}
            known = effects.subset(is_here | [group not in here for group in effects.targets])
            rest = known.delta - self._get_shared(known.targets, known.context.tolist())
            known = replace(known, delta=rest, context=np.zeros_like(known.context))
            self._regressions[context] = KernelRegression(known, self._kernel)
        return self._regressions[context]

    def _get_shared(self, targets: Sequence[Targets], contexts: Sequence[int]) -> np.ndarray:
        """``n_targets`` times the mean single effect, shape ``(n, n_genes)``."""
        for context in set(contexts) - self._means.keys():
            self._means[context] = compute_single_mean(self._effects, context)
        pairs = zip(targets, contexts, strict=True)
        return np.array([len(group) * self._means[context] for group, context in pairs])


def choose_on_validation(
    trained: Effects, held_out: Effects, embeddings: Embeddings
) -> TargetKernel:
    """Choose the ridge penalty and the weights of the embeddings, of which there may be none.

    The choice is by mean squared error. The penalty sets the size of the effects, to which a
    correlation is blind, and this is the error that the regression itself minimises. Without
    held-out conditions the kernel is one that is fair for some tens of cells a condition.
    """
    if not len(held_out):
        return _make_kernel(embeddings, (DEFAULT_WEIGHT,) * len(embeddings), DEFAULT_NOISE)
    rows = np.linspace(0, len(trained) - 1, min(len(trained), MAX_GROUPS)).astype(int)
    trained = trained.subset(rows)
    grid = product(product(EMBEDDING_WEIGHTS, repeat=len(embeddings)), NOISES)
    kernels = [_make_kernel(embeddings, weights, noise) for weights, noise in grid]

    def get_error(kernel: TargetKernel) -> float:
        rule = InterceptRegression(trained, kernel)
        return float(np.mean((rule(held_out.targets, held_out.context) - held_out.delta) ** 2))

    return min(kernels, key=get_error)


def _make_kernel(embeddings: Embeddings, weights: tuple[float, ...], noise: float) -> TargetKernel:
    # What all targets share is no part of the kernel: it is the intercept.
    return TargetKernel(embeddings, KernelSettings(noise=noise, mean=0.0, embedding=weights))


def _ignore(trained: Effects, held_out: Effects, embeddings: Embeddings) -> TargetKernel:
    """Conditions are not compared."""
    return TargetKernel((), KernelSettings())


def _use_indicators(trained: Effects, held_out: Effects, embeddings: Embeddings) -> TargetKernel:
    return choose_on_validation(trained, held_out, ())


def _use_cosines(trained: Effects, held_out: Effects, embeddings: Embeddings) -> TargetKernel:
    weights = (1.0,) * len(embeddings)
    return TargetKernel(embeddings, KernelSettings(mean=0.0, embedding=weights))


def _predict_no_change(effects: Effects, kernel: TargetKernel) -> Rule:
    return partial(predict_no_change, effects)


def _predict_train_mean(effects: Effects, kernel: TargetKernel) -> Rule:
    return partial(predict_train_mean, effects)


def _predict_own_mean(effects: Effects, kernel: TargetKernel) -> Rule:
    return partial(predict_own_mean, effects)


def _add_up(effects: Effects, kernel: TargetKernel) -> Rule:
    return SumOfSingles(effects)


#: The floors by their keys, in the order of every table.
FLOOR_RULES: Mapping[str, FloorRule] = MappingProxyType(
    {
        "no_change": FloorRule(_ignore, _predict_no_change, makes_cells=False),
        "train_mean": FloorRule(_ignore, _predict_train_mean),
        "additive": FloorRule(_ignore, _add_up),
        "ridge": FloorRule(_use_indicators, InterceptRegression, is_tuned=True),
        "kernel_ridge": FloorRule(choose_on_validation, InterceptRegression, is_tuned=True),
        "nearest_condition": FloorRule(_use_cosines, NearestNeighbours),
    }
)

#: The floor where other cells of the tested conditions are trained on.
OWN_MEAN = FloorRule(_ignore, _predict_own_mean)

"""What do the floors expect: the simple rules that stand beside every score?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np

from scbig.data import Effects, Targets
from scbig.regression._kernel import Embeddings, KernelSettings, TargetKernel
from scbig.regression._ridge import InterceptRegression, choose_on_validation
from scbig.regression._rules import (
    NearestNeighbours,
    Rule,
    SumOfSingles,
    predict_no_change,
    predict_train_mean,
)


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
    """

    choose_kernel: Callable[[Effects, Effects, Embeddings], TargetKernel]
    make_rule: Callable[[Effects, TargetKernel], Rule]
    is_tuned: bool = False


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
        Context of each wanted condition, shape ``(n,)``; it may be one without training
        conditions.
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


def _add_up(effects: Effects, kernel: TargetKernel) -> Rule:
    return SumOfSingles(effects)


#: The floors by their keys, in the order of every table.
FLOOR_RULES: Mapping[str, FloorRule] = MappingProxyType(
    {
        "no_change": FloorRule(_ignore, _predict_no_change),
        "train_mean": FloorRule(_ignore, _predict_train_mean),
        "additive": FloorRule(_ignore, _add_up),
        "ridge": FloorRule(_use_indicators, InterceptRegression, is_tuned=True),
        "kernel_ridge": FloorRule(choose_on_validation, InterceptRegression, is_tuned=True),
        "nearest_condition": FloorRule(_use_cosines, NearestNeighbours),
    }
)

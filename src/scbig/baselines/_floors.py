"""The floors: the baselines that stand beside every score."""

from collections.abc import Sequence

import numpy as np

from scbig.baselines._additive import Additive
from scbig.baselines._base import Baseline
from scbig.baselines._means import NoChange, TrainMean
from scbig.baselines._nearest import NearestCondition
from scbig.baselines._ridge import KernelRidge, RidgeIndicator
from scbig.baselines._rule import Embeddings
from scbig.data import Effects, Targets

#: The baselines that every table shows, in its order.
FLOORS: tuple[type[Baseline], ...] = (
    NoChange,
    TrainMean,
    Additive,
    RidgeIndicator,
    KernelRidge,
    NearestCondition,
)


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
    Effects by ``default_key`` of the floor, each of shape ``(n, n_genes)``, in the order of
    :data:`FLOORS`.
    """
    held_out = trained.subset(np.empty(0, dtype=int)) if validation is None else validation
    predicted = {}
    for floor in FLOORS:
        kernel = floor._choose_kernel(trained, held_out, embeddings)
        predicted[floor.default_key] = floor._make_rule(trained, kernel)(targets, context)
    return predicted

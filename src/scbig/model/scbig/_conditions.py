"""Perturbations as tensors for the condition encoder."""

from collections.abc import Sequence

import numpy as np
import torch

from scbig.data import Targets
from scbig.model.base import TargetEmbeddings
from scbig.model.scbig._components import ConditionInput


def make_condition_input(
    targets: Sequence[Targets],
    context: np.ndarray,
    anchor: np.ndarray,
    *,
    seen: Sequence[str],
    n_contexts: int,
    embeddings: TargetEmbeddings,
) -> ConditionInput:
    """Turn perturbations into tensors.

    Parameters
    ----------
    targets
        Target sets of B conditions.
    context
        Context of each condition, shape ``(B,)``; numbers from ``n_contexts`` on are unseen.
    anchor
        Expected latent effects, shape ``(B, n_latent)``.
    seen
        Targets with a learned vector, in their order.
    n_contexts
        Number of contexts with a learned vector.
    embeddings
        Embeddings of targets.

    Returns
    -------
    The condition input.
    """
    width = max((len(group) for group in targets), default=1)
    position = {name: i for i, name in enumerate(seen)}
    index = np.full((len(targets), width), -1, dtype=np.int64)
    mask = np.zeros((len(targets), width), dtype=bool)
    vectors = np.zeros((len(targets), width, embeddings.dim), dtype=np.float32)
    for i, group in enumerate(targets):
        for j, target in enumerate(group):
            index[i, j] = position.get(target, -1)
            vectors[i, j] = embeddings.get_vector(target)
            mask[i, j] = True
    context = np.where((context >= 0) & (context < n_contexts), context, -1)
    return ConditionInput(
        target=torch.from_numpy(np.maximum(index, 0)),
        is_seen=torch.from_numpy(index >= 0),
        embedding=torch.from_numpy(vectors),
        mask=torch.from_numpy(mask),
        context=torch.from_numpy(context.astype(np.int64)),
        anchor=torch.from_numpy(np.asarray(anchor, dtype=np.float32)),
    )

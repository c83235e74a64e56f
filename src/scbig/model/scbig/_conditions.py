"""Perturbations as tensors for the condition encoder."""

from collections.abc import Sequence

import numpy as np
import torch

from scbig.data import Targets
from scbig.model.base import (
    TargetEmbeddings,
    embed_targets,
    hide_unseen,
    index_targets,
    mask_targets,
)
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
    index = index_targets(targets, seen)
    return ConditionInput(
        target=torch.from_numpy(np.maximum(index, 0)),
        is_seen=torch.from_numpy(index >= 0),
        embedding=torch.from_numpy(embed_targets(targets, embeddings)),
        mask=torch.from_numpy(mask_targets(targets)),
        context=torch.from_numpy(hide_unseen(context, n_contexts)),
        anchor=torch.from_numpy(np.asarray(anchor, dtype=np.float32)),
    )

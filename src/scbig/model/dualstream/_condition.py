"""Perturbations as tensors."""

from collections.abc import Sequence
from typing import NamedTuple

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


class ConditionInput(NamedTuple):
    """Perturbations as tensors; T is the largest number of targets.

    Attributes
    ----------
    gene
        Number of each target among the measured genes, ``-1`` where it is not measured and at
        padding, shape ``(B, T)``.
    target
        Row of each target among those seen in training, ``-1`` where unseen, shape ``(B, T)``.
    embedding
        Embedding of each target, zeros where nothing is known, shape ``(B, T, D)``.
    mask
        True at targets, False at padding, shape ``(B, T)``.
    context
        Row of the context among those seen in training, ``-1`` where unseen, shape ``(B,)``.
    effect
        Effect that the anchor expects for each gene, shape ``(B, G)``.
    """

    gene: torch.Tensor
    target: torch.Tensor
    embedding: torch.Tensor
    mask: torch.Tensor
    context: torch.Tensor
    effect: torch.Tensor

    def select(self, rows: torch.Tensor) -> "ConditionInput":
        """Choose conditions by number."""
        return ConditionInput(*(part[rows] for part in self))

    def to(self, device: torch.device) -> "ConditionInput":
        """Move to a device."""
        return ConditionInput(*(part.to(device) for part in self))

    def forget(self, targets: Sequence[Targets], left_out: Sequence[str]) -> "ConditionInput":
        """Treat one target of each condition as one that was never seen.

        Parameters
        ----------
        targets
            Target set of each condition, in the order of the rows.
        left_out
            The target to forget, by row.

        Returns
        -------
        The conditions.
        """
        target = self.target.clone()
        for row, (group, name) in enumerate(zip(targets, left_out, strict=True)):
            target[row, group.index(name)] = -1
        return self._replace(target=target)


def make_condition_input(
    targets: Sequence[Targets],
    context: np.ndarray,
    effect: np.ndarray,
    *,
    genes: Sequence[str],
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
    effect
        Expected effects, shape ``(B, G)``.
    genes
        Names of the measured genes.
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
    return ConditionInput(
        gene=torch.from_numpy(index_targets(targets, genes)),
        target=torch.from_numpy(index_targets(targets, seen)),
        embedding=torch.from_numpy(embed_targets(targets, embeddings)),
        mask=torch.from_numpy(mask_targets(targets)),
        context=torch.from_numpy(hide_unseen(context, n_contexts)),
        effect=torch.from_numpy(np.asarray(effect, dtype=np.float32)),
    )

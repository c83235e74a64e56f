"""What a perturbation and its context are to the flow: tensors, and one vector made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from scbig.data import Targets
from scbig.model.scbig._config import SCBIGConfig
from scbig.nn import SeedPooling, SetPooling
from scbig.predictor import Vocabulary
from scbig.priors import mask_targets


class FlowCondition(NamedTuple):
    """Perturbations as the flow takes them; T is the largest number of targets."""

    target: torch.Tensor  # row among the targets seen in training, 0 where unseen, (B, T)
    is_seen: torch.Tensor  # whether it was seen in training, (B, T)
    embedding: torch.Tensor  # (B, T, d)
    mask: torch.Tensor  # true at targets, false at padding, (B, T)
    context: torch.Tensor  # row among the contexts seen in training, -1 where unseen, (B,)
    anchor: torch.Tensor  # latent effect that the regression expects, (B, n_latent)

    @classmethod
    def make(
        cls,
        vocabulary: Vocabulary,
        targets: Sequence[Targets],
        context: np.ndarray,
        anchor: np.ndarray,
    ) -> FlowCondition:
        """Turn B conditions with their latent anchors ``(B, n_latent)`` into tensors."""
        index = vocabulary.index_targets(targets)
        return cls(
            target=torch.from_numpy(np.maximum(index, 0)),
            is_seen=torch.from_numpy(index >= 0),
            embedding=torch.from_numpy(vocabulary.embeddings.get_vectors(targets)),
            mask=torch.from_numpy(mask_targets(targets)),
            context=torch.from_numpy(vocabulary.index_contexts(context)),
            anchor=torch.from_numpy(np.asarray(anchor, dtype=np.float32)),
        )

    def select(self, rows: torch.Tensor, device: torch.device) -> FlowCondition:
        """Choose conditions by number, and move them to a device."""
        return FlowCondition(*(part[rows].to(device) for part in self))

    def forget(self, targets: Sequence[Targets], left_out: Sequence[str]) -> FlowCondition:
        """Treat one target of each condition as one that was never seen."""
        is_seen = self.is_seen.clone()
        for row, (group, target) in enumerate(zip(targets, left_out, strict=True)):
            is_seen[row, group.index(target)] = False
        return self._replace(is_seen=is_seen)


class ConditionEncoder(nn.Module):
    """Set of targets, context and anchor (where there is one), as one vector.

    The set is pooled by attention, so the order of targets does not matter. A target is its
    embedding as it is, or projected, plus a vector of its own where it was seen in training.
    """

    def __init__(
        self, n_targets: int, n_contexts: int, n_embedding: int, config: SCBIGConfig
    ) -> None:
        super().__init__()
        dim = config.n_condition
        self.own: nn.Embedding | None = None
        self.pool: SeedPooling | SetPooling
        if config.pooling == "seed":
            self.pool = SeedPooling(n_embedding, dim)
        else:
            self.own = _make_table(n_targets, dim)
            self.project = nn.Linear(n_embedding, dim)
            self.pool = SetPooling(dim, config.n_heads)
        self.context = _make_table(n_contexts, dim)
        self.anchor = nn.Linear(config.n_latent, dim) if config.use_anchor else None
        self.dropout = nn.Dropout(config.condition_dropout)

    def extend(self, n_targets: int, n_contexts: int) -> None:
        """Make room for further targets and contexts, which start without a vector."""
        if self.own is not None:
            self.own = _extend(self.own, n_targets)
        self.context = _extend(self.context, n_contexts)

    def forward(self, condition: FlowCondition) -> torch.Tensor:
        """Return condition vectors ``(B, n_condition)``."""
        members = condition.embedding
        if self.own is not None:
            own = self.own(condition.target) * condition.is_seen.unsqueeze(-1)
            members = own + self.project(members)
        is_known = (condition.context >= 0).unsqueeze(-1)
        context = self.context(condition.context.clamp(min=0)) * is_known
        vector = self.pool(members, condition.mask) + context
        if self.anchor is not None:
            vector = vector + self.anchor(condition.anchor)
        return self.dropout(vector)


def _make_table(n_rows: int, dim: int) -> nn.Embedding:
    table = nn.Embedding(n_rows, dim)
    nn.init.zeros_(table.weight)
    return table


@torch.no_grad()
def _extend(table: nn.Embedding, n_rows: int) -> nn.Embedding:
    weight = table.weight.new_zeros(n_rows, table.embedding_dim)
    weight[: len(table.weight)] = table.weight
    # From given weights: a new table would be drawn from the user's random state.
    return nn.Embedding.from_pretrained(weight, freeze=False)

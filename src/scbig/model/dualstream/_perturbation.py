"""What the networks hear of a perturbation: its targets as tensors, a message to each token."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from scbig.data import Targets
from scbig.model.dualstream._config import DualStreamConfig
from scbig.nn import MLP
from scbig.predictor import Vocabulary, index_targets, mask_targets


class StreamCondition(NamedTuple):
    """B perturbations as tensors; T is the largest number of targets."""

    gene: torch.Tensor  # number among the measured genes, -1 if none and at padding, (B, T)
    target: torch.Tensor  # row among the targets seen in training, -1 where unseen, (B, T)
    embedding: torch.Tensor  # zeros where nothing is known, (B, T, D)
    mask: torch.Tensor  # True at targets, False at padding, (B, T)
    context: torch.Tensor  # row among the contexts seen in training, -1 where unseen, (B,)
    effect: torch.Tensor  # what the anchor expects for each gene, (B, G)

    @classmethod
    def make(
        cls,
        vocabulary: Vocabulary,
        targets: Sequence[Targets],
        context: np.ndarray,
        effect: np.ndarray,
    ) -> "StreamCondition":
        """Turn B conditions with their expected effects ``(B, G)`` into tensors."""
        return cls(
            gene=torch.from_numpy(index_targets(targets, vocabulary.genes)),
            target=torch.from_numpy(vocabulary.index_targets(targets)),
            embedding=torch.from_numpy(vocabulary.embeddings.get_vectors(targets)),
            mask=torch.from_numpy(mask_targets(targets)),
            context=torch.from_numpy(vocabulary.index_contexts(context)),
            effect=torch.from_numpy(np.asarray(effect, dtype=np.float32)),
        )

    def select(self, rows: torch.Tensor) -> "StreamCondition":
        """Choose conditions by number."""
        return StreamCondition(*(part[rows] for part in self))

    def to(self, device: torch.device) -> "StreamCondition":
        """Move to a device."""
        return StreamCondition(*(part.to(device) for part in self))

    def forget(self, targets: Sequence[Targets], left_out: Sequence[str]) -> "StreamCondition":
        """Treat one target of each condition (row) as one that was never seen."""
        target = self.target.clone()
        for row, (group, name) in enumerate(zip(targets, left_out, strict=True)):
            target[row, group.index(name)] = -1
        return self._replace(target=target)


class StreamSizes(NamedTuple):
    """What the sizes of the networks follow from, beside their settings."""

    n_tables: int  # unit vectors that an embedding is made of
    n_targets: int  # seen in training, as are the contexts
    n_contexts: int


class PerturbationEncoder(nn.Module):
    """Message of a set of targets to each token; the order of the targets does not matter.

    A target's message is its embedding, projected, plus a vector of its own where it was seen in
    training. Each token hears it by its similarity to the target, and the token that holds the
    target itself is marked. Each pair of targets adds a message to all tokens.
    """

    place: torch.Tensor  # mean embedding of the genes of each token, (L, D)

    def __init__(self, place: torch.Tensor, sizes: StreamSizes, config: DualStreamConfig) -> None:
        super().__init__()
        width = config.n_hidden
        self.register_buffer("place", place, persistent=False)
        self.n_tables = sizes.n_tables
        self.project = nn.Linear(place.shape[1], width)
        self.own = nn.Parameter(torch.zeros(sizes.n_targets, width))
        self.context = nn.Parameter(torch.zeros(sizes.n_contexts, width))
        self.here = nn.Parameter(torch.randn(width))
        self.pair = MLP((width, width, width)) if config.use_pairs else None

    def extend(self, n_targets: int, n_contexts: int) -> None:
        """Make room for further targets and contexts, which start without a vector."""
        self.own = _extend(self.own, n_targets)
        self.context = _extend(self.context, n_contexts)

    def forward(self, condition: StreamCondition, token: torch.Tensor) -> torch.Tensor:
        """Messages ``(B, L, n_hidden)`` of B conditions, given the token of each gene ``(G,)``."""
        message = self.project(condition.embedding) + _look_up(self.own, condition.target)
        message = message * condition.mask.unsqueeze(-1)
        # (B, L, T): from 0 for the opposite of the target to 1 for the target itself
        heard = (1 + self.place @ condition.embedding.mT / self.n_tables) / 2
        tokens = heard @ message + self._mark(condition, token).unsqueeze(-1) * self.here
        everywhere = _look_up(self.context, condition.context)
        if self.pair is not None:
            everywhere = everywhere + _sum_pairs(self.pair, message, condition.mask)
        return tokens + everywhere.unsqueeze(1)

    def _mark(self, condition: StreamCondition, token: torch.Tensor) -> torch.Tensor:
        """Count the targets that each token holds, shape ``(B, L)``."""
        counts = condition.effect.new_zeros(len(condition.gene), len(self.place))
        is_here = (condition.gene >= 0).to(counts)
        return counts.scatter_add(1, token[condition.gene.clamp(min=0)], is_here)


def _sum_pairs(pair: nn.Module, message: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Sum of the messages of all pairs of targets, shape ``(B, n_hidden)``."""
    n_targets = mask.shape[1]
    first, second = torch.triu_indices(n_targets, n_targets, 1, device=mask.device)
    is_pair = (mask[:, first] & mask[:, second]).unsqueeze(-1)
    return (pair(message[:, first] * message[:, second]) * is_pair).sum(1)


def _look_up(table: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Rows of a table; zeros for row -1."""
    if not len(table):
        return table.new_zeros(*row.shape, table.shape[1])
    return table[row.clamp(min=0)] * (row >= 0).unsqueeze(-1)


def _extend(table: nn.Parameter, n_rows: int) -> nn.Parameter:
    grown = table.new_zeros(n_rows, table.shape[1])
    grown[: len(table)] = table.detach()
    return nn.Parameter(grown)

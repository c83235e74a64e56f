"""What reads genes and perturbations: messages of targets to tokens, and two streams of these."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from scbig.data import Targets
from scbig.model.dualstream._config import DualStreamConfig
from scbig.nn import (
    MLP,
    GeneReadout,
    MambaBlock,
    Posterior,
    extend_rows,
    sum_pairs,
    take_rows,
)
from scbig.predictor import Vocabulary
from scbig.priors import index_targets, mask_targets


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
        self.own = extend_rows(self.own, n_targets)
        self.context = extend_rows(self.context, n_contexts)

    def forward(self, condition: StreamCondition, token: torch.Tensor) -> torch.Tensor:
        """Messages ``(B, L, n_hidden)`` of B conditions, given the token of each gene ``(G,)``."""
        message = self.project(condition.embedding) + take_rows(self.own, condition.target)
        message = message * condition.mask.unsqueeze(-1)
        # (B, L, T): from 0 for the opposite of the target to 1 for the target itself
        heard = (1 + self.place @ condition.embedding.mT / self.n_tables) / 2
        tokens = heard @ message + self._mark(condition, token).unsqueeze(-1) * self.here
        everywhere = take_rows(self.context, condition.context)
        if self.pair is not None:
            everywhere = everywhere + sum_pairs(self.pair, message, condition.mask)
        return tokens + everywhere.unsqueeze(1)

    def _mark(self, condition: StreamCondition, token: torch.Tensor) -> torch.Tensor:
        """Count the targets that each token holds, shape ``(B, L)``."""
        counts = condition.effect.new_zeros(len(condition.gene), len(self.place))
        is_here = (condition.gene >= 0).to(counts)
        return counts.scatter_add(1, token[condition.gene.clamp(min=0)], is_here)


class BiologicalStream(nn.Module):
    """Tokens of genes that hear of the perturbation."""

    place: torch.Tensor  # mean embedding of the genes of each token, (L, D)

    def __init__(self, place: torch.Tensor, n_channels: int, config: DualStreamConfig) -> None:
        super().__init__()
        self.register_buffer("place", place, persistent=False)
        self.project = nn.Linear(place.shape[1], config.n_hidden)
        self.content = MLP((n_channels, config.n_hidden, config.n_hidden))
        self.blocks = make_blocks(config)

    def forward(self, channels: torch.Tensor, message: torch.Tensor) -> torch.Tensor:
        """Map channels ``(B, L, n_channels)`` and messages to tokens ``(B, L, n_hidden)``."""
        return self.blocks(self.embed(channels, message))

    def embed(self, channels: torch.Tensor, message: torch.Tensor) -> torch.Tensor:
        """Return the tokens that enter the first block, shape ``(B, L, n_hidden)``."""
        return self.project(self.place) + self.content(channels) + message


class StatisticalStream(nn.Module):
    """Variational autoencoder of a control cell, whose latent becomes tokens."""

    place: torch.Tensor  # mean embedding of the genes of each token, (L, D)
    statistics: torch.Tensor  # mean, deviation and dropout rate of its genes, (L, 3 P)

    def __init__(
        self, place: torch.Tensor, statistics: torch.Tensor, config: DualStreamConfig
    ) -> None:
        super().__init__()
        width, n_statistics = config.n_hidden, statistics.shape[1]
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("statistics", statistics, persistent=False)
        self.project = nn.Linear(place.shape[1], width)
        self.describe = nn.Linear(n_statistics, width)
        self.read = nn.Linear(n_statistics // 3, width)
        self.encode_token = MLP((width, width, width))
        self.encode_cell = nn.Linear(width, 2 * config.n_latent)
        self.latent = nn.Linear(config.n_latent, width)
        self.blocks = make_blocks(config)

    def encode(self, x: torch.Tensor) -> Posterior:
        """Encode standardised patches ``(B, L, P)`` of control cells."""
        tokens = self.encode_token(self.read(x) + self._embed_tokens())
        mean, log_variance = self.encode_cell(tokens.mean(1)).chunk(2, dim=-1)
        # Far outside of this the divergence overflows before it has pulled back.
        return Posterior(mean, log_variance.clamp(-10, 10))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn latents ``(B, n_latent)`` into tokens ``(B, L, n_hidden)``."""
        return self.blocks(self._embed_tokens() + self.latent(z).unsqueeze(1))

    def _embed_tokens(self) -> torch.Tensor:
        return self.project(self.place) + self.describe(self.statistics)


class CellReader(nn.Module):
    """Reads in the tokens of both streams how a cell differs from others; nothing at the start."""

    def __init__(self, vectors: torch.Tensor, config: DualStreamConfig) -> None:
        super().__init__()
        width = config.n_hidden
        self.content = MLP((vectors.shape[1], width, width))
        self.block = make_blocks(replace(config, n_blocks=1))
        self.readout = GeneReadout(vectors, width)

    def forward(self, tokens: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Map tokens ``(B, L, n_hidden)`` and standardised patches to patches ``(B, L, P)``."""
        return self.readout(self.block(tokens + self.content(x)))


def make_blocks(config: DualStreamConfig) -> nn.Sequential:
    """Make the blocks of a stream."""
    names = ("kind", "n_states", "expand", "n_conv", "use_checkpoint")
    settings = {name: getattr(config, name) for name in names}
    blocks = (MambaBlock(config.n_hidden, **settings) for _ in range(config.n_blocks))
    return nn.Sequential(*blocks)

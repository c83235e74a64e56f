"""The networks of SCBIG: gene-cluster-aware encoder and decoder, and condition encoder."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import nn

from scbig.data import Targets
from scbig.model.scbig._config import SCBIGConfig
from scbig.nn import (
    AttentionMaps,
    InducedBlock,
    ProgramLinear,
    ProgramUnlinear,
    SetPooling,
)
from scbig.predictor import Vocabulary, mask_targets


class ProgramSemantics(nn.Module):
    """What is known of each program beyond its expression: the mean embedding of its genes.

    Parameters
    ----------
    embedding
        Mean gene embedding of each program, shape ``(K, d)``.
    n_hidden
        Width of a token.
    """

    embedding: torch.Tensor

    def __init__(self, embedding: torch.Tensor, n_hidden: int) -> None:
        super().__init__()
        self.register_buffer("embedding", embedding)
        self.project = nn.Linear(embedding.shape[1], n_hidden)
        self.norm = nn.LayerNorm(n_hidden)

    def forward(self) -> torch.Tensor:
        """Return one token a program, shape ``(K, n_hidden)``."""
        return self.norm(self.project(self.embedding))


class ProgramEncoder(nn.Module):
    """Gene-cluster-aware encoder (arXiv 2602.04901): programs are tokens, their mean the cell.

    Parameters
    ----------
    labels
        Program of each gene, shape ``(G,)``.
    semantics
        Semantic token of each program.
    config
        Sizes.
    """

    def __init__(
        self, labels: torch.Tensor, semantics: ProgramSemantics, config: SCBIGConfig
    ) -> None:
        super().__init__()
        self.expression = ProgramLinear(labels, config.n_hidden)
        self.semantics = semantics
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = _make_blocks(config)
        self.latent = nn.Linear(config.n_hidden, config.n_latent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode centred expression ``(B, G)`` into latents ``(B, n_latent)``."""
        tokens = self._tokens(x)
        for block in self.blocks:
            tokens = block(tokens)
        return self.latent(tokens.mean(1))

    def attend(self, x: torch.Tensor) -> list[AttentionMaps]:
        """Return the attention weights of each block for centred expression ``(B, G)``."""
        tokens, maps = self._tokens(x), []
        for block in cast(Iterable[InducedBlock], self.blocks):
            tokens, weights = block.attend(tokens)
            maps.append(weights)
        return maps

    def _tokens(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.expression(x) + self.semantics())


class ProgramDecoder(nn.Module):
    """Decoder that mirrors :class:`ProgramEncoder`, whose arguments it takes."""

    def __init__(
        self, labels: torch.Tensor, semantics: ProgramSemantics, config: SCBIGConfig
    ) -> None:
        super().__init__()
        self.latent = nn.Linear(config.n_latent, config.n_hidden)
        self.semantics = semantics
        self.blocks = _make_blocks(config)
        self.expression = ProgramUnlinear(labels, config.n_hidden)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Decode latents ``(B, n_latent)`` into centred expression ``(B, G)``."""
        tokens = self.latent(z).unsqueeze(1) + self.semantics()
        for block in self.blocks:
            tokens = block(tokens)
        return self.expression(tokens)


def _make_blocks(config: SCBIGConfig) -> nn.ModuleList:
    return nn.ModuleList(
        InducedBlock(config.n_hidden, config.n_heads, config.n_inducing, config.dropout)
        for _ in range(config.n_layers)
    )


class LinearEncoder(nn.Module):
    """Principal components in place of the encoder, to compare it with; ``components (n, G)``."""

    components: torch.Tensor

    def __init__(self, n_genes: int, n_latent: int) -> None:
        super().__init__()
        self.register_buffer("components", torch.zeros(n_latent, n_genes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode centred expression ``(B, G)`` into latents ``(B, n_latent)``."""
        return x @ self.components.T


class LinearDecoder(nn.Module):
    """Rebuilds expression from the principal components of an encoder."""

    def __init__(self, encoder: LinearEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Decode latents ``(B, n_latent)`` into centred expression ``(B, G)``."""
        return z @ self.encoder.components


class FlowCondition(NamedTuple):
    """Perturbations as the flow takes them; T is the largest number of targets.

    Attributes
    ----------
    target
        Row of each target among those seen in training, 0 where unseen, shape ``(B, T)``.
    is_seen
        Whether it was seen in training, shape ``(B, T)``.
    embedding
        Embedding of each target, shape ``(B, T, d)``.
    mask
        True at targets, False at padding, shape ``(B, T)``.
    context
        Row of the context among those seen in training, ``-1`` where unseen, shape ``(B,)``.
    anchor
        Latent effect that the regression expects, shape ``(B, n_latent)``.
    """

    target: torch.Tensor
    is_seen: torch.Tensor
    embedding: torch.Tensor
    mask: torch.Tensor
    context: torch.Tensor
    anchor: torch.Tensor

    @classmethod
    def make(
        cls,
        vocabulary: Vocabulary,
        targets: Sequence[Targets],
        context: np.ndarray,
        anchor: np.ndarray,
    ) -> "FlowCondition":
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

    def select(self, rows: torch.Tensor, device: torch.device) -> "FlowCondition":
        """Choose conditions by number, and move them to a device."""
        return FlowCondition(*(part[rows].to(device) for part in self))

    def forget(self, targets: Sequence[Targets], left_out: Sequence[str]) -> "FlowCondition":
        """Treat one target of each condition as one that was never seen."""
        is_seen = self.is_seen.clone()
        for row, (group, target) in enumerate(zip(targets, left_out, strict=True)):
            is_seen[row, group.index(target)] = False
        return self._replace(is_seen=is_seen)


class ConditionEncoder(nn.Module):
    """Set of targets, context and anchor (where there is one), as one vector.

    A target is its embedding, projected, plus a vector of its own where it was seen in
    training. The set is pooled by attention, so the order of targets does not matter.

    Parameters
    ----------
    n_targets, n_contexts
        Numbers of targets and contexts seen in training.
    n_embedding
        Width of the target embeddings.
    config
        Sizes.
    """

    def __init__(
        self, n_targets: int, n_contexts: int, n_embedding: int, config: SCBIGConfig
    ) -> None:
        super().__init__()
        dim = config.n_condition
        self.own = nn.Embedding(n_targets, dim)
        self.project = nn.Linear(n_embedding, dim)
        self.pool = SetPooling(dim, config.n_heads)
        self.context = nn.Embedding(n_contexts, dim)
        self.anchor = nn.Linear(config.n_latent, dim) if config.use_anchor else None
        nn.init.zeros_(self.own.weight)
        nn.init.zeros_(self.context.weight)

    def extend(self, n_targets: int, n_contexts: int) -> None:
        """Make room for further targets and contexts, which start without a vector."""
        self.own = _extend(self.own, n_targets)
        self.context = _extend(self.context, n_contexts)

    def forward(self, condition: FlowCondition) -> torch.Tensor:
        """Return condition vectors ``(B, n_condition)``."""
        own = self.own(condition.target) * condition.is_seen.unsqueeze(-1)
        pooled = self.pool(own + self.project(condition.embedding), condition.mask)
        is_known = (condition.context >= 0).unsqueeze(-1)
        context = self.context(condition.context.clamp(min=0)) * is_known
        vector = pooled + context
        return vector if self.anchor is None else vector + self.anchor(condition.anchor)


@torch.no_grad()
def _extend(table: nn.Embedding, n_rows: int) -> nn.Embedding:
    weight = table.weight.new_zeros(n_rows, table.embedding_dim)
    weight[: len(table.weight)] = table.weight
    # From given weights: a new table would be drawn from the user's random state.
    return nn.Embedding.from_pretrained(weight, freeze=False)

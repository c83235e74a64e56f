"""What is read of loci, and the readers that make a vector of each."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from scbig.nn._dna import DNATower
from scbig.nn._locus import LocusAttention

_TINY = 1e-6


class LocusInput(NamedTuple):
    """What is read of n loci: bases, tokens or the number of a gene, side by side."""

    values: torch.Tensor
    is_target: torch.Tensor
    is_there: torch.Tensor

    def take(self, rows: torch.Tensor) -> "LocusInput":
        """Choose loci by their rows."""
        return LocusInput(*(part[rows] for part in self))

    def to(self, device: torch.device) -> "LocusInput":
        """Move to a device."""
        return LocusInput(*(part.to(device) for part in self))


class LocusCondition(NamedTuple):
    """B conditions, each a set of loci in a context."""

    given: LocusInput  # what is read of all loci
    members: torch.Tensor  # rows of the loci of each condition, (B, S)
    is_member: torch.Tensor  # False at padding, (B, S)
    context: torch.Tensor  # (B,); -1 for an unknown context

    @classmethod
    def make(
        cls, given: LocusInput, rows: Sequence[Sequence[int]], context: np.ndarray
    ) -> "LocusCondition":
        """Put the rows of the loci of each condition side by side."""
        width = max([1, *map(len, rows)])
        members = np.zeros((len(rows), width), dtype=np.int64)
        is_member = np.zeros((len(rows), width), dtype=bool)
        for row, loci in enumerate(rows):
            members[row, : len(loci)] = loci
            is_member[row, : len(loci)] = True
        return cls(given, *map(torch.from_numpy, (members, is_member, context)))

    def select(self, rows: torch.Tensor) -> "LocusCondition":
        """Choose conditions by number."""
        return LocusCondition(self.given, *(part[rows] for part in self[1:]))

    def compact(self) -> "LocusCondition":
        """Keep the loci that the conditions have, each once."""
        rows, position = torch.unique(self.members[self.is_member], return_inverse=True)
        members = torch.zeros_like(self.members)
        members[self.is_member] = position
        return self._replace(given=self.given.take(rows), members=members)

    def to(self, device: torch.device) -> "LocusCondition":
        """Move to a device."""
        return LocusCondition(self.given.to(device), *(part.to(device) for part in self[1:]))

    def hide(self) -> "LocusCondition":
        """Take the loci from the conditions, which become unknown ones."""
        return self._replace(is_member=torch.zeros_like(self.is_member))


class ReaderSizes(NamedTuple):
    """Sizes of the readers."""

    dim: int  # width of a locus
    n_heads: int
    n_readings: int = 0  # times that the perturbed bases read the window by cross-attention
    n_convolutions: int = 0  # of the tower over bases, as the blocks of attention
    n_blocks: int = 1
    dropout: float = 0.0


def make_reader(kind: str, n_genes: int, n_features: int, sizes: ReaderSizes) -> nn.Module:
    """Make an untrained reader of DNA, of tokens with so many features, or of so many genes."""
    if kind == "dna":
        return DNAReader(sizes)
    return GeneReader(n_genes, sizes.dim) if kind == "gene" else TokenReader(n_features, sizes)


class DNAReader(nn.Module):
    """Reads bases: a tower over them, of which the perturbed tokens are averaged.

    The tower's own attention lets the perturbed tokens read the window. With `n_readings` what
    cross-attention reads of it is added, from zero at the start.

    Parameters
    ----------
    sizes
        Sizes of the tower, and of the attention.
    """

    def __init__(self, sizes: ReaderSizes) -> None:
        super().__init__()
        self.tower = DNATower(
            sizes.dim,
            n_convolutions=sizes.n_convolutions,
            n_blocks=sizes.n_blocks,
            n_heads=sizes.n_heads,
            dropout=sizes.dropout,
        )
        self.norm = nn.LayerNorm(sizes.dim)
        self.reading = _make_attention(sizes.dim, sizes) if sizes.n_readings else None
        if self.reading is not None:
            for parameter in self.reading.output[1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, given: LocusInput) -> torch.Tensor:
        """Embed loci, shape `(n, dim)`."""
        tokens, is_target = self.tower(given.values, given.is_target)
        chosen = is_target | ~is_target.any(1, keepdim=True)
        weight = chosen / chosen.sum(1, keepdim=True)
        vector = self.norm((tokens * weight.unsqueeze(-1)).sum(1))
        return vector if self.reading is None else vector + self.reading(tokens, is_target)


class TokenReader(nn.Module):
    """Reads the tokens of a frozen encoder, by cross-attention.

    Parameters
    ----------
    n_input
        Features of a token.
    sizes
        Sizes of the attention.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, n_input: int, sizes: ReaderSizes) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_input))
        self.register_buffer("std", torch.ones(n_input))
        self.reading = _make_attention(n_input, sizes)

    @torch.no_grad()
    def set_scale(self, given: LocusInput) -> None:
        """Standardise the features of tokens by those of some loci."""
        tokens = given.values[given.is_there]
        self.mean.copy_(tokens.mean(0))
        spread = tokens.std(0, correction=0)
        # A feature that does not vary says nothing, and is not blown up where it does.
        self.std.copy_(torch.where(spread > _TINY, spread, torch.ones_like(spread)))

    def forward(self, given: LocusInput) -> torch.Tensor:
        """Embed loci, shape `(n, dim)`."""
        tokens = (given.values - self.mean) / self.std
        return self.reading(tokens, given.is_target, given.is_there)


class GeneReader(nn.Module):
    """Reads the number of a gene: one learned vector each; unseen genes are at the mean.

    Parameters
    ----------
    n_genes, dim
        Number of genes, and width of the result.
    """

    def __init__(self, n_genes: int, dim: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(dim))
        # From zero, and without a gradient for genes that are not trained on: these stay there.
        self.change = nn.Embedding(n_genes + 1, dim)
        nn.init.zeros_(self.change.weight)

    def forward(self, given: LocusInput) -> torch.Tensor:
        """Embed loci, shape `(n, dim)`."""
        return self.mean + self.change(given.values.squeeze(1))


def _make_attention(n_input: int, sizes: ReaderSizes) -> LocusAttention:
    return LocusAttention(
        n_input,
        sizes.dim,
        dim=sizes.dim,
        n_heads=sizes.n_heads,
        n_blocks=max(sizes.n_readings, 1),
        dropout=sizes.dropout,
    )

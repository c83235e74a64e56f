"""The networks that turn what is read of a locus into one vector."""

from typing import NamedTuple

import torch
from torch import nn

from scbig.model.strand._config import STRANDConfig
from scbig.nn import DNATower, LocusAttention

_TINY = 1e-6


class LocusInput(NamedTuple):
    """What is read of some loci, see :class:`~scbig.model.strand._loci.LocusTable`."""

    values: torch.Tensor
    is_target: torch.Tensor
    is_there: torch.Tensor

    def take(self, rows: torch.Tensor) -> "LocusInput":
        """Choose loci by their rows."""
        return LocusInput(*(part[rows] for part in self))

    def to(self, device: torch.device) -> "LocusInput":
        """Move to a device."""
        return LocusInput(*(part.to(device) for part in self))


class DNAReader(nn.Module):
    """The built-in encoder: a tower over the bases, of which the perturbed tokens are averaged.

    The tower's own attention lets the perturbed tokens read the window. With ``n_readings`` what
    cross-attention reads of it is added, from zero at the start.

    Parameters
    ----------
    config
        Sizes.
    """

    def __init__(self, config: STRANDConfig) -> None:
        super().__init__()
        self.tower = DNATower(
            config.dim,
            n_convolutions=config.n_convolutions,
            n_blocks=config.n_blocks,
            n_heads=config.n_heads,
            dropout=config.dropout,
        )
        self.norm = nn.LayerNorm(config.dim)
        self.reading = _make_reading(config.dim, config) if config.n_readings else None
        if self.reading is not None:
            for parameter in self.reading.output[1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, given: LocusInput) -> torch.Tensor:
        """Embed loci, shape ``(B, dim)``."""
        tokens, is_target = self.tower(given.values, given.is_target)
        chosen = is_target | ~is_target.any(1, keepdim=True)
        weight = chosen / chosen.sum(1, keepdim=True)
        vector = self.norm((tokens * weight.unsqueeze(-1)).sum(1))
        return vector if self.reading is None else vector + self.reading(tokens, is_target)


class TokenReader(nn.Module):
    """Cross-attention over the tokens of a frozen encoder.

    Parameters
    ----------
    n_input
        Width of a token.
    config
        Sizes.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, n_input: int, config: STRANDConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_input))
        self.register_buffer("std", torch.ones(n_input))
        self.reading = _make_reading(n_input, config)

    @torch.no_grad()
    def set_scale(self, given: LocusInput) -> None:
        """Standardise the features of tokens by those of some loci."""
        tokens = given.values[given.is_there]
        self.mean.copy_(tokens.mean(0))
        spread = tokens.std(0, correction=0)
        # A feature that does not vary says nothing, and is not blown up where it does.
        self.std.copy_(torch.where(spread > _TINY, spread, torch.ones_like(spread)))

    def forward(self, given: LocusInput) -> torch.Tensor:
        """Embed loci, shape ``(B, dim)``."""
        tokens = (given.values - self.mean) / self.std
        return self.reading(tokens, given.is_target, given.is_there)


class GeneReader(nn.Module):
    """The gene-name twin: one learned vector a gene; unseen genes are at the mean.

    Parameters
    ----------
    n_genes
        Number of genes.
    dim
        Width of a vector.
    """

    def __init__(self, n_genes: int, dim: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(dim))
        # From zero, and without a gradient for genes that are not trained on: these stay there.
        self.change = nn.Embedding(n_genes + 1, dim)
        nn.init.zeros_(self.change.weight)

    def forward(self, given: LocusInput) -> torch.Tensor:
        """Embed loci, shape ``(B, dim)``."""
        return self.mean + self.change(given.values.squeeze(1))


def _make_reading(n_input: int, config: STRANDConfig) -> LocusAttention:
    return LocusAttention(
        n_input,
        config.dim,
        dim=config.dim,
        n_heads=config.n_heads,
        n_blocks=max(config.n_readings, 1),
        dropout=config.dropout,
    )


def make_reader(kind: str, n_genes: int, n_features: int, config: STRANDConfig) -> nn.Module:
    """Make an untrained reader of DNA, of tokens with so many features, or of so many genes."""
    if kind == "dna":
        return DNAReader(config)
    return GeneReader(n_genes, config.dim) if kind == "gene" else TokenReader(n_features, config)

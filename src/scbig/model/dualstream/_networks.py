"""What reads the genes: patches of neighbours as tokens, two streams of them, and a readout."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from scbig.model.dualstream._config import DualStreamConfig
from scbig.nn import MLP, MambaBlock


class GenePatches(nn.Module):
    """Cuts values of genes into patches of neighbours in the gene order, and joins them again."""

    order: torch.Tensor  # gene numbers in their order, (G,)
    slot: torch.Tensor  # place of each gene in the order, (G,)

    def __init__(self, order: torch.Tensor, n_genes_per_token: int) -> None:
        super().__init__()
        self.size = n_genes_per_token  # P; the last patch is filled up with zeros
        self.register_buffer("order", order)
        self.register_buffer("slot", torch.argsort(order))

    @property
    def n_tokens(self) -> int:
        """Number of patches, L."""
        return -(-len(self.order) // self.size)

    @property
    def token(self) -> torch.Tensor:
        """Patch of each gene, shape ``(G,)``."""
        return torch.div(self.slot, self.size, rounding_mode="floor")

    def cut(self, x: torch.Tensor) -> torch.Tensor:
        """Cut ``(..., G)`` into ``(..., L, P)``."""
        x = F.pad(x[..., self.order], (0, -len(self.order) % self.size))
        return x.unflatten(-1, (self.n_tokens, self.size))

    def join(self, patches: torch.Tensor) -> torch.Tensor:
        """Put ``(..., L, P)`` together to ``(..., G)``, in the order of the screen."""
        return patches.flatten(-2)[..., self.slot]


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


class Posterior(NamedTuple):
    """What a control cell says of its latent, both of shape ``(B, n_latent)``."""

    mean: torch.Tensor
    log_variance: torch.Tensor

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        """Draw latents, given standard normal noise."""
        return self.mean + noise * (self.log_variance / 2).exp()


def divergence_loss(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence from the standard normal (Kingma and Welling 2014).

    Of posteriors ``(B, n_latent)``: the sum over the latent, and the mean over the batch.
    """
    each = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * each.sum(-1).mean()


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


class GatedFusion(nn.Module):
    """Mix two streams of tokens ``(B, L, n_hidden)``, token by token and channel by channel."""

    def __init__(self, n_hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * n_hidden, n_hidden)

    def forward(self, statistical: torch.Tensor, biological: torch.Tensor) -> torch.Tensor:
        """Move from the biological towards the statistical stream, as far as the gate opens."""
        gate = torch.cat([statistical, biological], dim=-1)
        return torch.lerp(biological, statistical, torch.sigmoid(self.gate(gate)))


class GeneReadout(nn.Module):
    """Read one number a gene from the tokens.

    The weights of a gene are made from its embedding and its slot in the token, so that genes
    that are alike are read alike. They start at zero.
    """

    vectors: torch.Tensor  # embedding of the genes of each token, (L, P, D)

    def __init__(self, vectors: torch.Tensor, n_hidden: int) -> None:
        super().__init__()
        n_slots, n_features = vectors.shape[1:]
        self.register_buffer("vectors", vectors, persistent=False)
        self.norm = nn.RMSNorm(n_hidden, eps=1e-5)
        self.project = nn.Linear(n_features, n_hidden, bias=False)
        self.slot = nn.Parameter(torch.zeros(n_slots, n_hidden))
        self.bias = nn.Parameter(torch.zeros(n_slots))
        nn.init.zeros_(self.project.weight)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens ``(B, L, n_hidden)`` to patches ``(B, L, P)``."""
        weights = self.project(self.vectors) + self.slot
        return torch.einsum("lpd,bld->blp", weights, self.norm(tokens)) + self.bias


def make_blocks(config: DualStreamConfig) -> nn.Sequential:
    """Make the blocks of a stream."""
    names = ("kind", "n_states", "expand", "n_conv", "use_checkpoint")
    settings = {name: getattr(config, name) for name in names}
    blocks = (MambaBlock(config.n_hidden, **settings) for _ in range(config.n_blocks))
    return nn.Sequential(*blocks)

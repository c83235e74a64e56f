"""Genes as tokens: patches, a gate and a readout; and the learned vectors of what they hear."""

import torch
import torch.nn.functional as F
from torch import nn


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


def take_rows(table: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Rows of a table ``(n, d)`` by number, shape ``(..., d)``; zeros for row -1."""
    if not len(table):
        return table.new_zeros(*row.shape, table.shape[1])
    return table[row.clamp(min=0)] * (row >= 0).unsqueeze(-1)


def extend_rows(table: torch.Tensor, n_rows: int) -> nn.Parameter:
    """Make room for further rows, which start at zero."""
    grown = table.new_zeros(n_rows, table.shape[1])
    grown[: len(table)] = table.detach()
    return nn.Parameter(grown)


def sum_pairs(pair: nn.Module, message: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Sum what a network says of the products of all pairs, shape ``(B, d)``.

    Given sets of vectors ``(B, T, d)``, of which the mask ``(B, T)`` says what is no padding.
    """
    n_targets = mask.shape[1]
    first, second = torch.triu_indices(n_targets, n_targets, 1, device=mask.device)
    is_pair = (mask[:, first] & mask[:, second]).unsqueeze(-1)
    return (pair(message[:, first] * message[:, second]) * is_pair).sum(1)

"""Genes in their order, cut into tokens."""

import torch
import torch.nn.functional as F
from torch import nn


class GenePatches(nn.Module):
    """Cuts values of genes into patches of neighbours in the gene order, and joins them again.

    Parameters
    ----------
    order
        Gene numbers in their order, shape ``(G,)``.
    n_genes_per_token
        Genes of a patch, P. The last patch is filled up with zeros.
    """

    order: torch.Tensor
    slot: torch.Tensor

    def __init__(self, order: torch.Tensor, n_genes_per_token: int) -> None:
        super().__init__()
        self.size = n_genes_per_token
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

"""Pooling of a set into one vector."""

import torch
from torch import nn

from scbig.nn._attention import Attention


class SetPooling(nn.Module):
    """A learned seed attends over a set (arXiv 1810.00825).

    The order of the members and the padding do not matter. An empty set holds one learned
    token in their stead, so all empty sets have the same, well-defined vector.

    Parameters
    ----------
    dim
        Width of the members and of the result.
    n_heads
        Number of attention heads; divides `dim`.
    """

    def __init__(self, dim: int, n_heads: int = 4) -> None:
        super().__init__()
        self.seed = nn.Parameter(torch.randn(1, 1, dim) / dim**0.5)
        self.empty = nn.Parameter(torch.randn(1, 1, dim) / dim**0.5)
        self.attention = Attention(dim, n_heads)
        self.norm = nn.LayerNorm(dim)

    def forward(self, members: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool.

        Parameters
        ----------
        members
            Shape `(B, T, dim)`; what stands at padding is not read.
        mask
            True at members, False at padding, shape `(B, T)`.

        Returns
        -------
        Shape `(B, dim)`.
        """
        # A row without any True would be NaN: the learned token is visible exactly there.
        is_empty = ~mask.any(1, keepdim=True)
        visible = torch.cat([is_empty, mask], dim=1)
        members = members.masked_fill(~mask.unsqueeze(-1), 0.0)
        context = torch.cat([self.empty.expand(len(members), -1, -1), members], dim=1)
        pooled = self.attention(self.seed, context, visible)
        return self.norm(self.seed + pooled).squeeze(1)

"""From the loci that are perturbed in one cell to one vector."""

import torch
from torch import nn

from scbig.nn._attention import Attention


class LocusSet(nn.Module):
    """The loci of a cell: their sum, and what attention adds to it.

    The sum attends over the loci and the result is added to it, from zero at the start: an
    untrained set is additive and a single locus is itself. Order and padding do not matter.
    An empty set, a perturbation without a known locus, is one learned vector.

    Parameters
    ----------
    dim
        Width of a locus and of the result.
    n_heads
        Number of attention heads; divides `dim`.
    """

    def __init__(self, dim: int, n_heads: int = 4) -> None:
        super().__init__()
        self.unknown = nn.Parameter(torch.randn(1, 1, dim) / dim**0.5)
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, n_heads)
        nn.init.zeros_(self.attention.output.weight)
        nn.init.zeros_(self.attention.output.bias)

    def forward(self, loci: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Join the loci of each cell.

        Parameters
        ----------
        loci
            Shape `(B, S, dim)`; what stands at padding is not read.
        mask
            True at loci, False at padding, shape `(B, S)`. A vector of zeros is a locus like
            any other.

        Returns
        -------
        Shape `(B, dim)`.
        """
        is_empty = ~mask.any(1, keepdim=True)
        visible = torch.cat([is_empty, mask], dim=1)
        members = torch.cat([self.unknown.expand(len(loci), -1, -1), loci], dim=1)
        members = members.masked_fill(~visible.unsqueeze(-1), 0.0)
        total = members.sum(1, keepdim=True)
        change = self.attention(self.norm(total), self.norm(members), visible)
        return (total + change).squeeze(1)

"""Sets of vectors as one vector each: by attention of a learned seed, ours and as published."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from scbig.nn._tokens import Attention


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


class SeedPooling(nn.Module):
    """A learned seed attends over a set, as published for conditions (arXiv 2602.04901).

    Members are turned into keys and values directly, and the result leaves through a linear
    map: there is no residual and no normalisation. Scores are divided by the root of the whole
    width, not of a head's. An empty set has the vector of one member of zeros.

    Parameters
    ----------
    n_member
        Width of the members.
    n_out
        Width of the result.
    n_seed, width
        Widths of the seed, and of queries, keys and values.
    n_heads
        Number of attention heads; divides `width`.

    Raises
    ------
    ValueError
        When `n_heads` does not divide `width`.
    """

    def __init__(
        self, n_member: int, n_out: int, *, n_seed: int = 64, width: int = 64, n_heads: int = 8
    ) -> None:
        super().__init__()
        if n_heads < 1 or width % n_heads:
            raise ValueError(f"width {width} cannot be cut into {n_heads} heads; pass a divisor.")
        self.n_heads = n_heads
        self.seed = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, n_seed)))
        self.query = nn.Linear(n_seed, width)
        self.key = nn.Linear(n_member, width)
        self.value = nn.Linear(n_member, width)
        self.output = nn.Linear(width, n_out)

    def forward(self, members: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool.

        Parameters
        ----------
        members
            Shape `(B, T, n_member)`; what stands at padding is not read.
        mask
            True at members, False at padding, shape `(B, T)`.

        Returns
        -------
        Shape `(B, n_out)`.
        """
        return self.output(self.attend(members, mask))

    def attend(self, members: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return what the heads read, side by side.

        Parameters
        ----------
        members, mask
            As for :meth:`forward`.

        Returns
        -------
        Shape `(B, width)`.
        """
        # A member of zeros stands before all others, and is seen where there are none.
        members = F.pad(members.masked_fill(~mask.unsqueeze(-1), 0.0), (0, 0, 1, 0))
        visible = torch.cat([~mask.any(1, keepdim=True), mask], dim=1)
        query, key, value = self.query(self.seed), self.key(members), self.value(members)
        scores = self._split(query * key / math.sqrt(query.shape[-1])).sum(-1)
        weights = scores.masked_fill(~visible.unsqueeze(-1), -math.inf).softmax(1)
        return (weights.unsqueeze(-1) * self._split(value)).sum(1).flatten(1)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """Cut (B, T, width) into (B, T, n_heads, width / n_heads)."""
        return x.unflatten(-1, (self.n_heads, -1))

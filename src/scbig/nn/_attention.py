"""Multi-head attention, and the pooling of a set by it."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    """Multi-head attention of queries to a context of the same width.

    Queries of batch size 1 serve the whole batch and are projected once.

    Parameters
    ----------
    dim
        Width of queries, context and output.
    n_heads
        Number of heads; divides `dim`.

    Raises
    ------
    ValueError
        When `n_heads` does not divide `dim`.
    """

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        if n_heads < 1 or dim % n_heads:
            raise ValueError(f"dim {dim} cannot be cut into {n_heads} heads; pass a divisor.")
        self.n_heads = n_heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(
        self,
        queries: torch.Tensor,
        context: torch.Tensor,
        mask: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend.

        Parameters
        ----------
        queries
            Shape `(B, Q, dim)` or `(1, Q, dim)`.
        context
            Shape `(B, T, dim)`.
        mask
            True where the context may be looked at, shape `(B, T)`; all by default. Every
            row needs one True.
        bias
            Added to the scores before the softmax, shape `(B, n_heads, T)`; none by default.

        Returns
        -------
        Shape `(B, Q, dim)`.
        """
        query, key, value = self._project(queries, context)
        visible = None if mask is None else mask[:, None, None, :]
        if bias is not None:
            visible = _add_bias(bias.unsqueeze(2), visible)
        heads = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        return self._merge(heads)

    def attend(
        self, queries: torch.Tensor, context: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend, and return the weights too.

        Parameters
        ----------
        queries
            Shape `(B, Q, dim)` or `(1, Q, dim)`.
        context
            Shape `(B, T, dim)`.
        mask
            True where the context may be looked at, shape `(B, T)`; all by default.

        Returns
        -------
        What :meth:`forward` returns, and the weights averaged over heads, shape
        `(B, Q, T)`; each row adds up to one.
        """
        query, key, value = self._project(queries, context)
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], -math.inf)
        weights = scores.softmax(-1)
        return self._merge(weights @ value), weights.mean(1)

    def _project(
        self, queries: torch.Tensor, context: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        key, value = self.key_value(context).chunk(2, dim=-1)
        query = self.query(queries).expand(len(context), -1, -1)
        return self._split(query), self._split(key), self._split(value)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """Cut (B, T, dim) into (B, n_heads, T, dim / n_heads)."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def _merge(self, heads: torch.Tensor) -> torch.Tensor:
        return self.output(heads.transpose(1, 2).flatten(-2))


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


def _add_bias(bias: torch.Tensor, visible: torch.Tensor | None) -> torch.Tensor:
    return bias if visible is None else bias.masked_fill(~visible, -math.inf)

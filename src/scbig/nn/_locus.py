"""From the tokens of a DNA window to one vector of the locus."""

import torch
from torch import nn

from scbig.nn._attention import Attention
from scbig.nn._distance import DistanceBias
from scbig.nn._mlp import MLP


class LocusAttention(nn.Module):
    """A perturbed place reads the DNA around it (arXiv 2602.10156).

    The mean of the perturbed tokens, passed through an MLP, is the query. It attends to all
    tokens of the window in `n_blocks` steps, each added to it, with a learned bias by the
    distance from the perturbed tokens. Reading a window from its other end changes nothing.

    Tokens are projected first and normalised then: normalising first would erase the values
    of a table with a few features, and all of one with a single feature. Give the features
    with about unit variance.

    A locus without any token holds one learned token in their stead.

    Parameters
    ----------
    n_input
        Width of a token.
    n_output
        Width of the result.
    dim
        Width inside.
    n_heads
        Number of attention heads; divides `dim`.
    n_blocks
        Number of times that the query reads the window.
    dropout
        Probability of dropping a unit of a step's output before it is added.

    Raises
    ------
    ValueError
        When `n_heads` does not divide `dim` or `n_blocks` is below 1.
    """

    def __init__(
        self,
        n_input: int,
        n_output: int,
        *,
        dim: int = 256,
        n_heads: int = 4,
        n_blocks: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if n_blocks < 1:
            raise ValueError(f"n_blocks is {n_blocks}; pass 1 or more.")
        self.project = nn.Sequential(nn.Linear(n_input, dim), nn.LayerNorm(dim))
        self.missing = nn.Parameter(torch.randn(1, 1, dim))
        self.query = MLP((dim, dim, dim), activation=nn.GELU)
        self.blocks = nn.ModuleList(_ReadingBlock(dim, n_heads, dropout) for _ in range(n_blocks))
        self.output = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, n_output))

    def forward(
        self,
        tokens: torch.Tensor,
        is_target: torch.Tensor,
        is_token: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Embed loci.

        Parameters
        ----------
        tokens
            Tokens along the windows, shape `(B, T, n_input)`; what stands at padding is not
            read. Embed each locus once and index the result by cell.
        is_target
            True at tokens that hold perturbed bases, shape `(B, T)`. A row without any counts
            as perturbed everywhere.
        is_token
            True at tokens, False at padding, shape `(B, T)`; all True by default.

        Returns
        -------
        Shape `(B, n_output)`.
        """
        if is_token is None:
            is_token = torch.ones_like(is_target)
        tokens = self.project(tokens.masked_fill(~is_token.unsqueeze(-1), 0.0))
        # A row without any token would be NaN: the learned one is visible exactly there.
        is_missing = ~is_token.any(1, keepdim=True)
        visible = torch.cat([is_missing, is_token], dim=1)
        tokens = torch.cat([self.missing.expand(len(tokens), -1, -1), tokens], dim=1)
        target = visible & nn.functional.pad(is_target, (1, 0), value=True)
        target = torch.where(target.any(1, keepdim=True), target, visible)
        query = self.query(_average(tokens, target)).unsqueeze(1)
        for block in self.blocks:
            query = block(query, tokens, visible, target)
        return self.output(query.squeeze(1))


class _ReadingBlock(nn.Module):
    """Attention of the query to the window and a feed-forward layer, both residual."""

    def __init__(self, dim: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(dim, n_heads)
        self.nearness = DistanceBias(n_heads)
        self.feed_forward = MLP((dim, 2 * dim, dim), activation=nn.GELU)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        query: torch.Tensor,
        tokens: torch.Tensor,
        visible: torch.Tensor,
        target: torch.Tensor,
    ) -> torch.Tensor:
        read = self.attention(self.norms[0](query), tokens, visible, self.nearness(target))
        query = query + self.dropout(read)
        return query + self.dropout(self.feed_forward(self.norms[1](query)))


def _average(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Average the tokens (B, T, dim) where the mask (B, T) is True."""
    weight = mask.to(tokens.dtype)
    weight = weight / weight.sum(1, keepdim=True)
    return (weight.unsqueeze(1) @ tokens).squeeze(1)

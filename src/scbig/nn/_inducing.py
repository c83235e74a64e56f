"""Attention between tokens by way of a few inducing points."""

from typing import NamedTuple

import torch
from torch import nn

from scbig.nn._attention import Attention
from scbig.nn._mlp import MLP


class AttentionMaps(NamedTuple):
    """Attention weights of one block, averaged over heads; the rows add up to one.

    Attributes
    ----------
    points_to_tokens
        What the inducing points read from the tokens, shape `(B, M, K)`.
    points_to_points
        What the inducing points read from each other, shape `(B, M, M)`.
    tokens_to_points
        What the tokens read from the inducing points, shape `(B, K, M)`.
    """

    points_to_tokens: torch.Tensor
    points_to_points: torch.Tensor
    tokens_to_points: torch.Tensor


class InducedBlock(nn.Module):
    """One block of the gene-cluster-aware encoder (arXiv 2602.04901).

    M learned points attend to the K tokens, then to each other; the tokens attend to the
    points; a feed-forward layer of width `2 * dim` follows. Each of the four steps is
    added to its input and normalised. The cost grows with K M + M^2 in place of K^2. The
    points follow the set attention of arXiv 1810.00825.

    Parameters
    ----------
    dim
        Width of a token.
    n_heads
        Number of attention heads; divides `dim`.
    n_inducing
        Number M of inducing points.
    dropout
        Probability of dropping a unit of a step's output before it is added. The weights
        of attention are not dropped, which keeps the fused kernel.
    """

    def __init__(
        self, dim: int, n_heads: int = 4, n_inducing: int = 8, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.randn(1, n_inducing, dim) / dim**0.5)
        self.gather = Attention(dim, n_heads)
        self.mix = Attention(dim, n_heads)
        self.scatter = Attention(dim, n_heads)
        self.feed_forward = MLP((dim, 2 * dim, dim), activation=nn.GELU)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens `(B, K, dim)` to tokens of the same shape."""
        points = self._add(0, self.points, self.gather(self.points, tokens))
        points = self._add(1, points, self.mix(points, points))
        tokens = self._add(2, tokens, self.scatter(tokens, points))
        return self._add(3, tokens, self.feed_forward(tokens))

    def attend(self, tokens: torch.Tensor) -> tuple[torch.Tensor, AttentionMaps]:
        """Do what :meth:`forward` does, and return the attention weights too.

        Parameters
        ----------
        tokens
            Shape `(B, K, dim)`.

        Returns
        -------
        The tokens, shape `(B, K, dim)`, and the weights of the three attention steps.
        """
        read, points_to_tokens = self.gather.attend(self.points, tokens)
        points = self._add(0, self.points, read)
        read, points_to_points = self.mix.attend(points, points)
        points = self._add(1, points, read)
        read, tokens_to_points = self.scatter.attend(tokens, points)
        tokens = self._add(2, tokens, read)
        maps = AttentionMaps(points_to_tokens, points_to_points, tokens_to_points)
        return self._add(3, tokens, self.feed_forward(tokens)), maps

    def _add(self, step: int, x: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        return self.norms[step](x + self.dropout(change))

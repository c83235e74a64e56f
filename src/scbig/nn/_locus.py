"""From the tokens of DNA windows to a vector of each locus, and of the loci of a cell."""

import torch
from torch import nn

from scbig.nn._dynamics import MLP
from scbig.nn._tokens import Attention

_N_BUCKETS = 20


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
        self.blocks = nn.ModuleList(_QueryBlock(dim, n_heads, dropout) for _ in range(n_blocks))
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


class DistanceBias(nn.Module):
    """Learned bias of attention scores by the distance from marked positions.

    The distance falls into buckets that double in width: 0, 1, 2 to 3, 4 to 7 and so on.
    It has no sign, so that a window read from its other end has the same bias. The heads
    start with different slopes, as in arXiv 2108.12409, over the logarithm of the distance:
    the first sees the whole window alike, the last one what is near.

    Parameters
    ----------
    n_heads
        Number of attention heads.
    """

    borders: torch.Tensor

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.register_buffer("borders", 2 ** torch.arange(_N_BUCKETS - 1), persistent=False)
        slopes = torch.linspace(0.0, 1.0, n_heads)
        self.bias = nn.Parameter(-slopes[:, None] * torch.arange(_N_BUCKETS))

    def forward(self, is_marked: torch.Tensor) -> torch.Tensor:
        """Compute the bias.

        Parameters
        ----------
        is_marked
            Positions to measure from, shape `(B, T)`; one or more in each row.

        Returns
        -------
        Shape `(B, n_heads, T)`.
        """
        bucket = torch.bucketize(compute_distance(is_marked), self.borders, right=True)
        return self.bias[:, bucket].transpose(0, 1)


def compute_distance(is_marked: torch.Tensor) -> torch.Tensor:
    """Count the positions to the nearest marked one.

    Parameters
    ----------
    is_marked
        Shape `(B, T)`, bool.

    Returns
    -------
    Whole numbers, 0 at marked positions, shape `(B, T)`; `2 T` in rows without any.
    """
    n = is_marked.shape[1]
    position = torch.arange(n, device=is_marked.device).expand_as(is_marked)
    # Where no mark comes before or after, one beyond the end stands for it, 2 T away or more.
    last = torch.where(is_marked, position, -2 * n).cummax(1).values
    following = torch.where(is_marked, position, 3 * n).flip(1).cummin(1).values.flip(1)
    return torch.minimum(position - last, following - position).clamp(max=2 * n)


class _QueryBlock(nn.Module):
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

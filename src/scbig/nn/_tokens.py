"""Layers on tokens: attention, and genes to program tokens and back."""

import math
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from scbig.nn._dynamics import MLP

# Of every normalisation beside programs, as published.
NORM_EPS = 1e-6
# Standard deviation of the inducing points that are started as published.
_POINT_STD = 0.02
# Of a standard normal that is cut off at two standard deviations.
_TRUNCATED_STD = 0.87962566


class Attention(nn.Module):
    """Multi-head attention of queries to a context of the same width.

    Queries of batch size 1 serve the whole batch and are projected once.

    Parameters
    ----------
    dim
        Width of queries, context and output.
    n_heads
        Number of heads; divides `dim`.
    dropout
        Probability of dropping a weight of attention.

    Raises
    ------
    ValueError
        When `n_heads` does not divide `dim`.
    """

    def __init__(self, dim: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if n_heads < 1 or dim % n_heads:
            raise ValueError(f"dim {dim} cannot be cut into {n_heads} heads; pass a divisor.")
        self.n_heads = n_heads
        self.dropout = dropout
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
        dropout = self.dropout if self.training else 0.0
        heads = F.scaled_dot_product_attention(
            query, key, value, attn_mask=visible, dropout_p=dropout
        )
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
        kept = F.dropout(weights, self.dropout, self.training)
        return self._merge(kept @ value), weights.mean(1)

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


def _add_bias(bias: torch.Tensor, visible: torch.Tensor | None) -> torch.Tensor:
    return bias if visible is None else bias.masked_fill(~visible, -math.inf)


def make_program_index(labels: torch.Tensor) -> torch.Tensor:
    """List the genes of each program.

    Parameters
    ----------
    labels
        Program of each gene, integers from 0 to K - 1, shape `(G,)`.

    Returns
    -------
    Positions of the genes, shape `(K, S)` with S the size of the largest program: in
    rising order, -1 at padding.

    Raises
    ------
    ValueError
        When `labels` is not a vector of integers from 0, or a program has no genes.
    """
    if labels.ndim != 1 or not len(labels) or labels.is_floating_point():
        raise ValueError(
            f"labels has shape {tuple(labels.shape)} and type {labels.dtype}; "
            "pass one integer a gene."
        )
    if int(labels.min()) < 0:
        raise ValueError(f"labels holds {int(labels.min())}; number programs from 0.")
    sizes = labels.bincount()
    empty = (sizes == 0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"Programs {empty} have no genes; renumber the others with "
            "np.unique(labels, return_inverse=True)[1]."
        )
    order = labels.argsort(stable=True)
    rank = (
        torch.arange(len(labels), device=labels.device) - (sizes.cumsum(0) - sizes)[labels[order]]
    )
    index = labels.new_full((len(sizes), int(sizes.max())), -1, dtype=torch.int64)
    index[labels[order], rank] = order
    return index


class _ProgramWeights(nn.Module):
    """One weight vector a gene, kept in the order of the genes and used program by program.

    Buffers: `index` (K * S,) gene in each slot, `is_padding` (K * S, 1), `slot` (G,) the
    slot of each gene.
    """

    index: torch.Tensor
    is_padding: torch.Tensor
    slot: torch.Tensor
    bias: nn.Parameter

    def __init__(self, labels: torch.Tensor, dim: int) -> None:
        super().__init__()
        index = make_program_index(labels)
        self.n_programs, self.n_slots = index.shape
        flat = index.flatten()
        slots = (flat >= 0).nonzero().flatten()
        # Padding reads gene 0; its weight is zero, so what it reads has no effect.
        self.register_buffer("index", flat.clamp(min=0))
        self.register_buffer("is_padding", (flat < 0).unsqueeze(-1))
        self.register_buffer("slot", slots[flat[slots].argsort()])
        self.weight = nn.Parameter(torch.empty(len(labels), dim))

    @property
    def n_inputs(self) -> torch.Tensor:
        """Number of genes in the program of each gene, shape (G, 1)."""
        sizes = (~self.is_padding).view(self.n_programs, -1).sum(1)
        return sizes[self.slot // self.n_slots].unsqueeze(-1)

    def _weight_by_program(self) -> torch.Tensor:
        """Weights of shape (K, S, dim), zero at padding."""
        weight = self.weight.index_select(0, self.index).masked_fill(self.is_padding, 0.0)
        return weight.view(self.n_programs, self.n_slots, -1)


class ProgramLinear(_ProgramWeights):
    """Block-diagonal linear map from genes to one token a program.

    `token[k] = sum over genes g of program k of x[g] * weight[g] + bias[k]`. Programs may
    differ in size, and genes stay in their own order.

    Parameters
    ----------
    labels
        Program of each gene, integers from 0 to K - 1, shape `(G,)`.
    dim
        Width of a token.
    """

    def __init__(self, labels: torch.Tensor, dim: int) -> None:
        super().__init__(labels, dim)
        self.bias = nn.Parameter(torch.zeros(self.n_programs, dim))
        # As in torch.nn.Linear, with the size of the gene's program as the number of inputs.
        with torch.no_grad():
            self.weight.uniform_(-1.0, 1.0).mul_(self.n_inputs.to(self.weight).rsqrt())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map genes `(B, G)` to tokens `(B, K, dim)`."""
        by_program = x.index_select(1, self.index).view(len(x), self.n_programs, self.n_slots)
        tokens = torch.bmm(by_program.transpose(0, 1), self._weight_by_program())
        return tokens.transpose(0, 1) + self.bias


class ProgramUnlinear(_ProgramWeights):
    """Linear map from the token of each program to the genes of that program.

    `x[g] = token[program of g] . weight[g] + bias[g]`, in the original order of the genes.

    Parameters
    ----------
    labels
        Program of each gene, integers from 0 to K - 1, shape `(G,)`.
    dim
        Width of a token.
    """

    def __init__(self, labels: torch.Tensor, dim: int) -> None:
        super().__init__(labels, dim)
        self.bias = nn.Parameter(torch.zeros(len(labels)))
        nn.init.uniform_(self.weight, -(dim**-0.5), dim**-0.5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens `(B, K, dim)` to genes `(B, G)`."""
        weight = self._weight_by_program().transpose(1, 2)
        by_program = torch.bmm(tokens.transpose(0, 1), weight).transpose(0, 1)
        return by_program.reshape(len(tokens), -1).index_select(1, self.slot) + self.bias


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
        Probability of dropping a weight of attention, and a unit inside and after the
        feed-forward layer.
    """

    def __init__(
        self, dim: int, n_heads: int = 4, n_inducing: int = 8, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.randn(1, n_inducing, dim) / dim**0.5)
        self.gather = Attention(dim, n_heads, dropout)
        self.mix = Attention(dim, n_heads, dropout)
        self.scatter = Attention(dim, n_heads, dropout)
        gelu = partial(nn.GELU, approximate="tanh")
        self.feed_forward = MLP((dim, 2 * dim, dim), activation=gelu, dropout=dropout)
        # The authors' library has this epsilon, and this GELU.
        self.norms = nn.ModuleList(nn.LayerNorm(dim, eps=NORM_EPS) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens `(B, K, dim)` to tokens of the same shape."""
        points = self._add(0, self.points, self.gather(self.points, tokens))
        points = self._add(1, points, self.mix(points, points))
        tokens = self._add(2, tokens, self.scatter(tokens, points))
        return self._add(3, tokens, self.dropout(self.feed_forward(tokens)))

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
        return self._add(3, tokens, self.dropout(self.feed_forward(tokens))), maps

    def _add(self, step: int, x: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        return self.norms[step](x + change)


@torch.no_grad()
def init_lecun_normal(module: nn.Module) -> None:
    """Start the weights of a module as those of arXiv 2602.04901 start.

    Linear maps, those of programs among them, have truncated normal weights of variance one
    over the number of inputs, and no bias; inducing points have a standard deviation of 0.02.
    What starts at zero stays at zero.

    Parameters
    ----------
    module
        Changed in place.
    """
    for part in module.modules():
        if isinstance(part, InducedBlock):
            part.points.normal_(std=_POINT_STD)
        elif isinstance(part, ProgramLinear):
            _draw_lecun(part, part.n_inputs)
        elif isinstance(part, nn.Linear | ProgramUnlinear):
            _draw_lecun(part, torch.tensor(part.weight.shape[1]))


def _draw_lecun(part: nn.Linear | _ProgramWeights, n_inputs: torch.Tensor) -> None:
    part.bias.zero_()
    if part.weight.any():
        std = 1 / _TRUNCATED_STD
        nn.init.trunc_normal_(part.weight, std=std, a=-2 * std, b=2 * std)
        part.weight.mul_(n_inputs.to(part.weight).clamp(min=1).rsqrt())

"""State-space blocks over tokens in a fixed order, and the mixers of Mamba and Mamba-2 inside."""

import math
from collections.abc import Iterable
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from scbig.nn._s6 import s6_kernel, s6_scan
from scbig.nn._ssd import ssd_kernel, ssd_scan

_EPS = 1e-5
_N_SOURCES_AT_ONCE = 64
_WIDTH_PER_RANK = 16
_SHORTEST, _LONGEST, _FLOOR = 1e-3, 1e-1, 1e-4  # time steps at the start
_SLOWEST, _FASTEST = 1.0, 16.0  # rates of decay at the start


class MambaBlock(nn.Module):
    """Add to each token what a state-space model reads from the others, at linear cost.

    `tokens + mix(RMSNorm(tokens))`, where `mix` is the mixer of Mamba-2 (arXiv 2405.21060) or
    of Mamba (arXiv 2312.00752). It knows the order of the tokens. A second mixer with weights
    of its own reads them backwards; the two are added.

    Parameters
    ----------
    dim
        Width of a token.
    kind
        `"ssd"` for :class:`SSDMixer`, `"s6"` for :class:`S6Mixer`, which gives every channel
        several decays and is slower.
    n_states
        States a channel.
    expand
        Channels a unit of width: `expand * dim` in all.
    n_conv
        Length of the convolution before the scan.
    is_bidirectional
        Read the tokens backwards too. Otherwise each sees only those before it.
    use_checkpoint
        Forget what is inside the block and compute it again for the gradient: less memory
        for about a third more time.

    Raises
    ------
    ValueError
        When `kind` is unknown.
    """

    def __init__(
        self,
        dim: int,
        *,
        kind: Literal["ssd", "s6"] = "ssd",
        n_states: int = 16,
        expand: int = 2,
        n_conv: int = 4,
        is_bidirectional: bool = True,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        if kind not in _MIXERS:
            raise ValueError(f"kind is {kind!r}; choose from {', '.join(_MIXERS)}.")
        self.norm = nn.RMSNorm(dim, eps=_EPS)
        self.mixers = nn.ModuleList(
            _MIXERS[kind](dim, n_states=n_states, expand=expand, n_conv=n_conv)
            for _ in range(1 + is_bidirectional)
        )
        self.use_checkpoint = use_checkpoint

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens `(B, L, dim)` to tokens of the same shape."""
        if self.use_checkpoint and torch.is_grad_enabled():
            change = checkpoint(self._mix, tokens, use_reentrant=False, preserve_rng_state=False)
            return tokens + cast(torch.Tensor, change)
        return tokens + self._mix(tokens)

    @torch.no_grad()
    def compute_influence(
        self, tokens: torch.Tensor, sources: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Tell how strongly the scans read each source at each position.

        Parameters
        ----------
        tokens
            Shape `(B, L, dim)`.
        sources
            Positions to look at, integers from 0 of shape `(S,)`; all by default.

        Returns
        -------
        Mean over heads (`"ssd"`) or channels (`"s6"`) of the absolute weight in the kernel of
        the scan, added up over the two directions, shape `(B, L, S)`. A bidirectional block
        reads the diagonal twice; convolutions and skip connections are left out.
        """
        if sources is None:
            sources = torch.arange(tokens.shape[1], device=tokens.device)
        normal = self.norm(tokens)
        pieces = sources.split(_N_SOURCES_AT_ONCE)
        return torch.cat([self._weigh(normal, piece) for piece in pieces], dim=-1)

    def _mix(self, tokens: torch.Tensor) -> torch.Tensor:
        forward, *backward = self.mixers
        normal = self.norm(tokens)
        change = forward(normal)
        for mixer in backward:
            change = change + mixer(normal.flip(1)).flip(1)
        return change

    def _weigh(self, normal: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
        forward, *backward = cast(list[SSDMixer | S6Mixer], list(self.mixers))
        weight = forward.compute_kernel(normal, sources).abs().mean(1)
        for mixer in backward:
            kernel = mixer.compute_kernel(normal.flip(1), normal.shape[1] - 1 - sources)
            weight = weight + kernel.abs().mean(1).flip(1)
        return weight


class SSDMixer(nn.Module):
    """Mix a sequence forward in time with one decay a head (Mamba-2, arXiv 2405.21060).

    One projection gives the gate z, the input x, what to write B and to read C, and the time
    step dt. x, B and C pass a short causal convolution, x, dt, B and C the scan; the output is
    `W RMSNorm(y * SiLU(z))`.

    Parameters
    ----------
    dim
        Width of a token.
    n_states
        States a channel.
    expand
        Channels a unit of width: `expand * dim` in all.
    n_conv
        Length of the convolution.
    head_dim
        Channels a head; all of them where there are fewer. It divides `expand * dim`.

    Raises
    ------
    ValueError
        When `head_dim` does not divide `expand * dim`.
    """

    def __init__(
        self,
        dim: int,
        *,
        n_states: int = 16,
        expand: int = 2,
        n_conv: int = 4,
        head_dim: int = 64,
    ) -> None:
        super().__init__()
        n_channels = expand * dim
        self.head_dim = min(head_dim, n_channels)
        if self.head_dim < 1 or n_channels % self.head_dim:
            raise ValueError(
                f"{n_channels} channels (expand {expand} times dim {dim}) cannot be cut into "
                f"heads of {head_dim}; pass a head_dim that divides them."
            )
        n_heads = n_channels // self.head_dim
        n_mixed = n_channels + 2 * n_states
        self.widths = (n_channels, n_mixed, n_heads)
        self.mixed_widths = (n_channels, n_states, n_states)
        self.project_in = nn.Linear(dim, sum(self.widths), bias=False)
        self.conv = CausalConv(n_mixed, n_conv)
        self.step_bias = nn.Parameter(make_step_bias(n_heads))
        self.log_rate = nn.Parameter(make_head_log_rates(n_heads))
        self.skip = nn.Parameter(torch.ones(n_heads))
        self.norm = nn.RMSNorm(n_channels, eps=_EPS)
        self.project_out = nn.Linear(n_channels, dim, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens `(B, L, dim)` to the same shape; each sees those before it."""
        gate, x, step, b, c = self._select(tokens)
        x = x.unflatten(-1, (-1, self.head_dim))
        y = ssd_scan(x, step, -self.log_rate.exp(), b, c)
        y = torch.addcmul(y, x, self.skip.unsqueeze(-1))
        return self.project_out(self.norm(y.flatten(-2) * F.silu(gate)))

    def compute_kernel(
        self, tokens: torch.Tensor, sources: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Write the scan over these tokens as a matrix for each head.

        Parameters
        ----------
        tokens
            Shape `(B, L, dim)`.
        sources
            Positions to look at, integers of shape `(S,)`; all by default.

        Returns
        -------
        Weight of the input at each source in the output at each position, shape
        `(B, H, L, S)`, without the skip connection.
        """
        _, _, step, b, c = self._select(tokens)
        return ssd_kernel(step, -self.log_rate.exp(), b, c, sources)

    def _select(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Gate, input, time step, and what to write and to read, all from the tokens."""
        gate, mixed, step = self.project_in(tokens).split(self.widths, dim=-1)
        x, b, c = self.conv(mixed).split(self.mixed_widths, dim=-1)
        return gate, x, F.softplus(step + self.step_bias), b, c


class S6Mixer(nn.Module):
    """Mix a sequence forward in time by the selective scan (Mamba, arXiv 2312.00752).

    One projection gives the input x and the gate z. x passes a short causal convolution and
    then selects its own time step (through `dim / 16` dimensions), what to write and what to
    read; the output is `W (y * SiLU(z))`.

    Parameters
    ----------
    dim
        Width of a token.
    n_states
        States a channel.
    expand
        Channels a unit of width: `expand * dim` in all.
    n_conv
        Length of the convolution.
    """

    def __init__(self, dim: int, *, n_states: int = 16, expand: int = 2, n_conv: int = 4) -> None:
        super().__init__()
        n_channels = expand * dim
        rank = math.ceil(dim / _WIDTH_PER_RANK)
        self.widths = (rank, n_states, n_states)
        self.project_in = nn.Linear(dim, 2 * n_channels, bias=False)
        self.conv = CausalConv(n_channels, n_conv)
        self.project_scan = nn.Linear(n_channels, sum(self.widths), bias=False)
        self.project_step = nn.Linear(rank, n_channels, bias=False)
        nn.init.uniform_(self.project_step.weight, -(rank**-0.5), rank**-0.5)
        self.step_bias = nn.Parameter(make_step_bias(n_channels))
        self.log_rate = nn.Parameter(make_state_log_rates(n_channels, n_states))
        self.skip = nn.Parameter(torch.ones(n_channels))
        self.project_out = nn.Linear(n_channels, dim, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens `(B, L, dim)` to the same shape; each sees those before it."""
        gate, x, step, b, c = self._select(tokens)
        y = s6_scan(x, step, -self.log_rate.exp(), b, c) + self.skip * x
        return self.project_out(y * F.silu(gate))

    def compute_kernel(
        self, tokens: torch.Tensor, sources: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Write the scan over these tokens as a matrix for each channel.

        Parameters
        ----------
        tokens
            Shape `(B, L, dim)`.
        sources
            Positions to look at, integers of shape `(S,)`; all by default.

        Returns
        -------
        Weight of the input at each source in the output at each position, shape
        `(B, expand * dim, L, S)`, without the skip connection.
        """
        _, _, step, b, c = self._select(tokens)
        return s6_kernel(step, -self.log_rate.exp(), b, c, sources)

    def _select(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Gate, input, time step, and what to write and to read, all from the tokens."""
        x, gate = self.project_in(tokens).chunk(2, dim=-1)
        x = self.conv(x)
        step, b, c = self.project_scan(x).split(self.widths, dim=-1)
        # The bias is added apart: it stays in float32 under mixed precision.
        return gate, x, F.softplus(self.project_step(step) + self.step_bias), b, c


_MIXERS = {"ssd": SSDMixer, "s6": S6Mixer}


def compute_block_influence(blocks: nn.Sequential, tokens: torch.Tensor) -> torch.Tensor:
    """Mean weight over Mamba blocks of each source (last) at each position, `(B, L, L)`.

    Given the tokens `(B, L, dim)` that enter the first block.
    """
    total = tokens.new_zeros(len(tokens), tokens.shape[1], tokens.shape[1])
    for block in cast(Iterable[MambaBlock], blocks):
        total += block.compute_influence(tokens)
        tokens = block(tokens)
    return total / len(blocks)


class CausalConv(nn.Conv1d):
    """Depthwise convolution with SiLU: each position sees itself and those just before it.

    Parameters
    ----------
    n_channels
        Number of channels, each with a filter of its own.
    n_taps
        Length of a filter.
    """

    def __init__(self, n_channels: int, n_taps: int) -> None:
        super().__init__(n_channels, n_channels, n_taps, groups=n_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(B, L, n_channels)` to the same shape."""
        if not x.shape[1]:
            return x  # shorter than a filter, which conv2d refuses
        before = F.pad(x, (0, 0, self.kernel_size[0] - 1, 0))
        # As an image of width 1 the channels stay last in memory: twice as fast as conv1d.
        image = before.unsqueeze(2).permute(0, 3, 1, 2)
        y = F.conv2d(image, self.weight.unsqueeze(-1), self.bias, groups=self.groups)
        return F.silu(y.permute(0, 2, 3, 1).squeeze(2))


def make_step_bias(n: int) -> torch.Tensor:
    """Draw n biases whose softplus is a time step, log-uniform from 0.001 to 0.1."""
    step = torch.empty(n).uniform_(math.log(_SHORTEST), math.log(_LONGEST)).exp()
    step = step.clamp(min=_FLOOR)
    # Inverse of softplus, log(exp(step) - 1), for small steps.
    return step + torch.log(-torch.expm1(-step))


def make_head_log_rates(n_heads: int) -> torch.Tensor:
    """Draw the log of the rate of decay of each head, uniform from 1 to 16."""
    return torch.empty(n_heads).uniform_(_SLOWEST, _FASTEST).log()


def make_state_log_rates(n_channels: int, n_states: int) -> torch.Tensor:
    """Make the log of the rates 1, 2, ..., n_states of every channel."""
    return torch.arange(1.0, n_states + 1).log().repeat(n_channels, 1)

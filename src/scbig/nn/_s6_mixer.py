"""The mixer of Mamba: a gated selective scan."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from scbig.nn._causal_conv import CausalConv
from scbig.nn._s6 import s6_kernel, s6_scan
from scbig.nn._time_step import make_state_log_rates, make_step_bias

_WIDTH_PER_RANK = 16


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

"""The mixer of Mamba-2: gated state-space duality."""

import torch
import torch.nn.functional as F
from torch import nn

from scbig.nn._causal_conv import CausalConv
from scbig.nn._ssd import ssd_kernel, ssd_scan
from scbig.nn._time_step import make_head_log_rates, make_step_bias

_EPS = 1e-5


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

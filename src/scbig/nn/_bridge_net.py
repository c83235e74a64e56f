"""The network of a diffusion bridge between cells."""

import torch
from torch import nn

from scbig.nn._mlp import MLP
from scbig.nn._time import FourierTime

_N_TIME_FEATURES = 32


class BridgeNet(nn.Module):
    """What is left to go at a point of a bridge, given its source, the time and a condition.

    A residual MLP on the point and its source. Time and condition scale, shift and gate each
    block (adaptive layer normalisation, arXiv 2212.09748). The last layer starts at zero: an
    untrained bridge says that every point has arrived.

    Parameters
    ----------
    n_latent
        Width of a point.
    n_cond
        Width of the condition.
    width
        Width inside.
    n_blocks
        Number of blocks.
    dropout
        Probability of dropping a hidden unit.
    """

    def __init__(
        self,
        n_latent: int,
        n_cond: int,
        *,
        width: int = 256,
        n_blocks: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.time = nn.Sequential(
            FourierTime(_N_TIME_FEATURES), MLP((_N_TIME_FEATURES, width, width))
        )
        self.condition = nn.Linear(n_cond, width)
        self.start = nn.Linear(2 * n_latent, width)
        self.blocks = nn.ModuleList(_Block(width, dropout) for _ in range(n_blocks))
        self.norm = nn.LayerNorm(width)
        self.end = nn.Linear(width, n_latent)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)

    def forward(
        self, t: torch.Tensor, x: torch.Tensor, source: torch.Tensor, condition: torch.Tensor
    ) -> torch.Tensor:
        """Compute the residual.

        Parameters
        ----------
        t
            Times in [0, 1], a scalar or of a shape that broadcasts to `(...)`.
        x
            Points, shape `(..., n_latent)`.
        source
            Where their bridges begin, of the same shape.
        condition
            Shape that broadcasts to `(..., n_cond)`.

        Returns
        -------
        Shape `(..., n_latent)`; see :meth:`scbig.flow.Bridge.estimate_target`.
        """
        leading = (*x.shape[:-1], -1)
        signal = nn.functional.silu(
            self.time(t).expand(leading) + self.condition(condition).expand(leading)
        )
        hidden = self.start(torch.cat([x, source], dim=-1))
        for block in self.blocks:
            hidden = block(hidden, signal)
        return self.end(self.norm(hidden))


class _Block(nn.Module):
    """Feed-forward layer whose normalised input is scaled and shifted, and output gated."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(width, 3 * width)
        self.feed_forward = MLP((width, width, width), dropout=dropout)

    def forward(self, x: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        scale, shift, gate = self.modulate(signal).chunk(3, dim=-1)
        return x + gate * self.feed_forward(self.norm(x) * (1 + scale) + shift)

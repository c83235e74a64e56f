"""How cells move: the velocity of a flow, what is left of a bridge, a change that is added.

Both networks are made of :class:`MLP` and of features of time, which stand below them.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

_N_TIME_FEATURES = 32
_TINY = 1e-6
# Largest angle of :class:`GeometricTime`, in radians.
_FASTEST = 10_000.0


class VelocityNet(nn.Module):
    """Velocity of a latent point, given the time and a condition.

    Time and point each pass an MLP; joined with the condition they pass a third. Shape of
    the network as in arXiv 2602.04901, which uses `hidden=(1024, 1024)`.

    Parameters
    ----------
    n_latent
        Width of a latent point.
    n_cond
        Width of the condition.
    hidden
        Widths of the hidden layers of each MLP.
    dropout
        Probability of dropping a hidden unit of point and join; the time has no dropout.
    time
        Features of the time; a :class:`FourierTime` of 32 by default.
    zero_last
        Start with a velocity of zero everywhere, so that an anchor added to it is the
        whole velocity before training.

    Raises
    ------
    ValueError
        When `hidden` is empty.
    """

    def __init__(
        self,
        n_latent: int,
        n_cond: int,
        hidden: Sequence[int] = (256, 256),
        dropout: float = 0.0,
        zero_last: bool = True,
        time: "FourierTime | GeometricTime | None" = None,
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("hidden is empty; pass at least one width, such as (256, 256).")
        time = FourierTime(_N_TIME_FEATURES) if time is None else time
        self.time = nn.Sequential(time, MLP((time.dim, *hidden)))
        self.latent = nn.Sequential(
            MLP((n_latent, *hidden), dropout=dropout), nn.SiLU(), nn.Dropout(dropout)
        )
        self.velocity = MLP(
            (2 * hidden[-1] + n_cond, *hidden, n_latent), dropout=dropout, zero_last=zero_last
        )

    def forward(self, t: torch.Tensor, z: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Compute the velocity.

        Parameters
        ----------
        t
            Times in [0, 1], a scalar or of a shape that broadcasts to `(...)`.
        z
            Latent points, shape `(..., n_latent)`.
        condition
            Shape that broadcasts to `(..., n_cond)`.

        Returns
        -------
        Velocities, shape `(..., n_latent)`.
        """
        leading = z.shape[:-1]
        # A scalar time passes its MLP once and is then spread over the points.
        time = self.time(t).expand(*leading, -1)
        joined = torch.cat([time, self.latent(z), condition.expand(*leading, -1)], dim=-1)
        return self.velocity(joined)


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
        self.blocks = nn.ModuleList(_ModulatedBlock(width, dropout) for _ in range(n_blocks))
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


class MLP(nn.Sequential):
    """Linear layers with an activation and dropout between them, none after the last.

    Parameters
    ----------
    widths
        Width of the input, of each hidden layer and of the output; two or more.
    activation
        Makes the activation, :class:`torch.nn.SiLU` by default.
    dropout
        Probability of dropping a hidden unit.
    zero_last
        Start the last layer at zero, so that the untrained network returns zeros.

    Raises
    ------
    ValueError
        When `widths` has fewer than two entries.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: Callable[[], nn.Module] = nn.SiLU,
        dropout: float = 0.0,
        zero_last: bool = False,
    ) -> None:
        if len(widths) < 2:
            raise ValueError(f"widths is {tuple(widths)}; pass (n_in, ..., n_out).")
        *inner, last = pairwise(widths)
        layers: list[nn.Module] = []
        for n_in, n_out in inner:
            layers += [nn.Linear(n_in, n_out), activation()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
        output = nn.Linear(*last)
        if zero_last:
            nn.init.zeros_(output.weight)
            nn.init.zeros_(output.bias)
        super().__init__(*layers, output)


class FourierTime(nn.Module):
    """Sines and cosines of a time in [0, 1].

    The frequencies are multiples of pi. Multiples of 2 pi would give the two ends of the
    path, 0 and 1, the same features.

    Parameters
    ----------
    dim
        Number of features, even: `dim / 2` sines, then `dim / 2` cosines.

    Raises
    ------
    ValueError
        When `dim` is not a positive even number.
    """

    frequencies: torch.Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = _check_even(dim)
        frequencies = math.pi * torch.arange(1, dim // 2 + 1, dtype=torch.float32)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """Map times `(...)` to features `(..., dim)`."""
        angle = t.unsqueeze(-1) * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class GeometricTime(nn.Module):
    """Cosines and sines of a time in [0, 1], at frequencies from 10,000 down in equal ratios.

    The time features of arXiv 2602.04901, which has 1,024 of them. Angles are large: single
    precision holds the features to about 1e-3.

    Parameters
    ----------
    dim
        Number of features, even: `dim / 2` cosines, then `dim / 2` sines.

    Raises
    ------
    ValueError
        When `dim` is not a positive even number.
    """

    frequencies: torch.Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = _check_even(dim)
        exponents = torch.arange(dim // 2, dtype=torch.float64) / (dim // 2)
        frequencies = (_FASTEST**-exponents).float()
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """Map times `(...)` to features `(..., dim)`."""
        angle = _FASTEST * t.unsqueeze(-1) * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


def _check_even(dim: int) -> int:
    if dim < 2 or dim % 2:
        raise ValueError(f"dim is {dim}; pass a positive even number.")
    return dim


def add_change(x: torch.Tensor, change: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Add a change of expression to cells.

    A rise is added. A fall scales the cell down by its share of the mean, so that zeros stay
    zeros and the mean over cells falls by the whole change; clipping sums at zero would lose
    a part of it.

    Parameters
    ----------
    x
        Non-negative cells, shape ``(..., G)``.
    change
        Change of each gene, broadcastable to ``x``.
    mean
        Mean over cells that the change refers to, broadcastable to ``x``.

    Returns
    -------
    Non-negative cells, of the shape of ``x``.
    """
    scale = (1 + change.clamp(max=0) / mean.clamp(min=_TINY)).clamp(min=0)
    return x * scale + change.clamp(min=0)


class _ModulatedBlock(nn.Module):
    """Feed-forward layer whose normalised input is scaled and shifted, and output gated."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(width, 3 * width)
        self.feed_forward = MLP((width, width, width), dropout=dropout)

    def forward(self, x: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        scale, shift, gate = self.modulate(signal).chunk(3, dim=-1)
        return x + gate * self.feed_forward(self.norm(x) * (1 + scale) + shift)

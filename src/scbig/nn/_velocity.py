"""The velocity network of conditional flow matching."""

from collections.abc import Sequence

import torch
from torch import nn

from scbig.nn._mlp import MLP
from scbig.nn._time import FourierTime

_N_TIME_FEATURES = 32


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
        Probability of dropping a hidden unit.
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
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("hidden is empty; pass at least one width, such as (256, 256).")
        self.time = nn.Sequential(
            FourierTime(_N_TIME_FEATURES), MLP((_N_TIME_FEATURES, *hidden), dropout=dropout)
        )
        self.latent = MLP((n_latent, *hidden), dropout=dropout)
        self.activation = nn.SiLU()
        self.velocity = MLP(
            (2 * hidden[-1] + n_cond, *hidden, n_latent), dropout=dropout, zero_last=zero_last
        )

    @property
    def is_zero(self) -> bool:
        """Whether the velocity is zero everywhere, as before training with `zero_last`."""
        return not any(weight.any() for weight in self.velocity[-1].parameters())

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
        time = self.activation(self.time(t)).expand(*leading, -1)
        latent = self.activation(self.latent(z))
        joined = torch.cat([time, latent, condition.expand(*leading, -1)], dim=-1)
        return self.velocity(joined)

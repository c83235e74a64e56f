"""Paths from a source point to a target point."""

from dataclasses import dataclass
from typing import NamedTuple

import torch


class PathSample(NamedTuple):
    """A point of a path and the velocity to regress on, each of shape `(..., d)`."""

    x_t: torch.Tensor
    u_t: torch.Tensor


@dataclass(frozen=True)
class LinearPath:
    """The straight path with constant noise (arXiv 2302.00482).

    `x_t = (1 - t) x0 + t x1 + sigma * noise` with `u_t = x1 - x0`.

    Parameters
    ----------
    sigma
        Standard deviation of the noise, in units of the points; 0 for none.

    Raises
    ------
    ValueError
        When `sigma` is negative.
    """

    sigma: float = 0.0

    def __post_init__(self) -> None:
        if self.sigma < 0:
            raise ValueError(f"sigma is {self.sigma}; pass 0 (no noise) or more.")

    def sample(
        self,
        x0: torch.Tensor,
        x1: torch.Tensor,
        t: torch.Tensor,
        generator: torch.Generator | None = None,
    ) -> PathSample:
        """Draw a point at time `t`.

        Parameters
        ----------
        x0
            Source points, shape `(..., d)`.
        x1
            Target points, shape `(..., d)`.
        t
            Times in [0, 1], shape `(...)` or a scalar.
        generator
            Source of the noise, on the device of `x0`.

        Returns
        -------
        The point and its target velocity.
        """
        u_t = x1 - x0
        x_t = x0 + t.unsqueeze(-1) * u_t
        if self.sigma > 0:
            noise = torch.randn(x_t.shape, generator=generator, dtype=x_t.dtype, device=x_t.device)
            x_t = x_t + self.sigma * noise
        return PathSample(x_t, u_t)

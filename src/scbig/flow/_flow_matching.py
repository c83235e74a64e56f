"""Flow matching: straight paths to learn a velocity on, and following it from time 0 to 1."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torchdiffeq import odeint

Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
FixedMethod = Literal["euler", "midpoint", "heun"]
AdaptiveMethod = Literal["dopri5", "dopri8", "bosh3", "adaptive_heun"]
_FIXED = MappingProxyType({"euler": "euler", "midpoint": "midpoint", "heun": "heun2"})
# torchdiffeq 0.2.5 has no tsit5; dopri5 is its solver of the same order.
_ADAPTIVE = ("dopri5", "dopri8", "bosh3", "adaptive_heun")


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


def integrate(
    velocity: Velocity, x0: torch.Tensor, *, method: FixedMethod = "heun", n_steps: int = 20
) -> torch.Tensor:
    """Carry points from time 0 to time 1 in equal steps.

    Differentiable with respect to `x0` and to whatever `velocity` closes over.

    Parameters
    ----------
    velocity
        `velocity(t, x)` with a scalar time and points `(..., d)` gives `(..., d)`.
    x0
        Points at time 0, shape `(..., d)`.
    method
        `"euler"` (order 1, one evaluation a step), `"midpoint"` or `"heun"` (order 2, two).
    n_steps
        Number of steps.

    Returns
    -------
    Points at time 1, shape `(..., d)`.

    Raises
    ------
    ValueError
        When the method is unknown or `n_steps` is below 1.
    """
    if method not in _FIXED:
        raise ValueError(f"Unknown method {method!r}; choose one of {', '.join(_FIXED)}.")
    if n_steps < 1:
        raise ValueError(f"n_steps is {n_steps}; pass 1 or more.")
    # The grid itself, not a step size: rounding of 1 / n_steps could add a step.
    grid = torch.linspace(0.0, 1.0, n_steps + 1, dtype=x0.dtype, device=x0.device)
    options = {"grid_constructor": lambda func, y0, t: grid}
    return odeint(velocity, x0, grid[[0, -1]], method=_FIXED[method], options=options)[-1]


def integrate_adaptive(
    velocity: Velocity,
    x0: torch.Tensor,
    *,
    method: AdaptiveMethod = "dopri5",
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> torch.Tensor:
    """Carry points from time 0 to time 1 in steps chosen by the error.

    One step size serves the whole batch, so a point's result depends, within the
    tolerance, on the points beside it.

    Parameters
    ----------
    velocity
        `velocity(t, x)` with a scalar time and points `(..., d)` gives `(..., d)`.
    x0
        Points at time 0, shape `(..., d)`.
    method
        `"dopri5"`, `"dopri8"`, `"bosh3"` or `"adaptive_heun"`.
    rtol
        Relative tolerance.
    atol
        Absolute tolerance, in units of the points.

    Returns
    -------
    Points at time 1, shape `(..., d)`.

    Raises
    ------
    ValueError
        When the method is unknown.
    """
    if method not in _ADAPTIVE:
        raise ValueError(f"Unknown method {method!r}; choose one of {', '.join(_ADAPTIVE)}.")
    times = torch.tensor([0.0, 1.0], dtype=x0.dtype, device=x0.device)
    # The last step lands on time 1. Left alone the solver steps past it, where a velocity
    # was never trained, and interpolates back with an error above the tolerance.
    options = {"step_t": times[-1:]}
    return odeint(velocity, x0, times, method=method, rtol=rtol, atol=atol, options=options)[-1]

"""The diffusion bridge from control cells to perturbed cells, and what a network learns on it."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import torch

from scbig.flow._bridge_schedule import BridgeSchedule, make_bridge_schedule
from scbig.flow._flow_matching import Velocity

LossWeight = Literal["residual", "target"]


class BridgeSample(NamedTuple):
    """A point of a bridge and what the network learns there.

    Attributes
    ----------
    x_t
        The point, shape `(..., d)`.
    residual
        What to regress on: `(x_t - target) / sigma`, shape `(..., d)`.
    sigma
        Root of the variance gathered since the target, shape `(..., 1)`.
    """

    x_t: torch.Tensor
    residual: torch.Tensor
    sigma: torch.Tensor


@dataclass(frozen=True)
class Bridge:
    """Control-anchored diffusion bridge (arXiv 2602.10156, after arXiv 2302.05872).

    Between a target (a perturbed cell, step 0) and a source (a control cell, step N) runs a
    Brownian bridge. A network looks at a point, says where its target lies, and the sampler
    walks there from the source. Time runs against :class:`LinearPath`: it is `n / N`, 1 at
    the source and 0 at the target.

    Parameters
    ----------
    schedule
        Noise of the steps; by default that of :func:`make_bridge_schedule`.
    use_noise
        False leaves out the noise of training and that of sampling: the deterministic,
        optimal-transport variant. A network that was trained with noise and samples
        without it keeps the mean (if it is linear) and loses the spread.
    """

    schedule: BridgeSchedule = field(default_factory=make_bridge_schedule)
    use_noise: bool = True

    def draw_steps(
        self, shape: tuple[int, ...], generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Draw steps to train on, evenly from 1 to N.

        Parameters
        ----------
        shape
            How many to draw: the leading shape of the points.
        generator
            Source of the steps; they lie on its device.

        Returns
        -------
        Whole numbers of that shape. Step 0, where nothing is left to learn, is never drawn.
        """
        device = None if generator is None else generator.device
        high = self.schedule.n_grid + 1
        return torch.randint(1, high, shape, generator=generator, device=device)

    def get_time(self, step: torch.Tensor | int, like: torch.Tensor) -> torch.Tensor:
        """Compute the time of a step, which the network takes.

        Parameters
        ----------
        step
            Steps, shape `(...)` or one number.
        like
            Tensor whose type and device the times take.

        Returns
        -------
        Times in [0, 1], shape `(...)`.
        """
        return torch.as_tensor(step, dtype=like.dtype, device=like.device) / self.schedule.n_grid

    def sample(
        self,
        source: torch.Tensor,
        target: torch.Tensor,
        step: torch.Tensor,
        generator: torch.Generator | None = None,
    ) -> BridgeSample:
        """Draw a point of the bridge between given ends.

        Parameters
        ----------
        source
            Control points, shape `(..., d)`.
        target
            The perturbed points paired with them, shape `(..., d)`.
        step
            Steps from 0 to N, shape `(...)` or a scalar.
        generator
            Source of the noise, on the device of `source`.

        Returns
        -------
        The point and its training target. At step N the point is the source, at step 0 the
        target, bit by bit.
        """
        table = self.schedule
        share, std, sigma = (
            _look_up(values, step, source) for values in (table.share, table.std, table.sigma)
        )
        total = table.from_target + table.from_source
        drift = _look_up(table.sigma / total, step, source)
        spread = _look_up((table.from_source / total).sqrt(), step, source)
        noise = self._draw_noise(source, generator)
        x_t = torch.lerp(target, source, share) + std * noise
        # Equal to (x_t - target) / sigma, which would lose digits where sigma is small.
        residual = drift * (source - target) + spread * noise
        return BridgeSample(x_t, residual, sigma)

    def estimate_target(
        self, x_t: torch.Tensor, residual: torch.Tensor, step: torch.Tensor | int
    ) -> torch.Tensor:
        """Turn what the network says into the target that it sees.

        Parameters
        ----------
        x_t
            Points of the bridge, shape `(..., d)`.
        residual
            Output of the network there, shape `(..., d)`. Zero means that the point has
            arrived, so a network whose last layer starts at zero starts with no effect.
        step
            Steps, shape `(...)` or one number.

        Returns
        -------
        Estimated targets, shape `(..., d)`.
        """
        return x_t - _look_up(self.schedule.sigma, step, x_t) * residual

    def move(
        self,
        x_t: torch.Tensor,
        target: torch.Tensor,
        steps: tuple[int, int],
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Walk from one step to an earlier one, given where the target lies.

        Parameters
        ----------
        x_t
            Points at the first step, shape `(..., d)`.
        target
            Their (estimated) targets, shape `(..., d)`.
        steps
            The step to leave and the smaller one to reach.
        generator
            Source of the noise, on the device of `x_t`.

        Returns
        -------
        Points at the second step, shape `(..., d)`; at step 0 the targets themselves.

        Raises
        ------
        ValueError
            When the steps do not fall or leave the schedule.
        """
        start, end = steps
        if not 0 <= end < start <= self.schedule.n_grid:
            raise ValueError(
                f"steps is {steps}; pass two falling numbers from {self.schedule.n_grid} to 0."
            )
        before, after = self.schedule.from_target[[start, end]].tolist()
        keep = after / before
        # Not as a sum of two products: equal ends must stay equal bit by bit.
        mean = torch.lerp(target, x_t, keep)
        if end == 0:
            return mean
        return mean + (keep * (before - after)) ** 0.5 * self._draw_noise(x_t, generator)

    def carry(
        self,
        network: Velocity,
        source: torch.Tensor,
        *,
        n_steps: int = 20,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Carry control points to their perturbed counterparts.

        Differentiable with respect to `source` and to whatever `network` closes over.

        Parameters
        ----------
        network
            `network(t, x)` with a scalar time and points `(..., d)` gives the residual
            `(..., d)`.
        source
            Control points, shape `(..., d)`.
        n_steps
            Number of moves, 1 to N. One move returns the network's estimate at the source.
        generator
            Source of the noise, on the device of `source`.

        Returns
        -------
        Perturbed points, shape `(..., d)`.
        """
        x = source
        for steps in pairwise(self.schedule.get_grid(n_steps)):
            residual = network(self.get_time(steps[0], x), x)
            x = self.move(x, self.estimate_target(x, residual, steps[0]), steps, generator)
        return x

    def _draw_noise(self, like: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        if not self.use_noise:
            return torch.zeros_like(like)
        return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def compute_bridge_loss(
    predicted: torch.Tensor, sample: BridgeSample, *, weight: LossWeight = "residual"
) -> torch.Tensor:
    """Compute the squared error of a network on a bridge.

    Parameters
    ----------
    predicted
        Output of the network at `sample.x_t`, shape `(..., d)`.
    sample
        The point and its training target.
    weight
        `"residual"` weighs all steps alike, as the source does; near the target it asks for
        noise as much as for the effect. `"target"` is the error of the estimated target, that
        is `sigma` squared times as much, and favours steps near the source.

    Returns
    -------
    The mean over all numbers, a scalar.

    Raises
    ------
    ValueError
        When the weight is unknown.
    """
    if weight not in get_args(LossWeight):
        known = ", ".join(get_args(LossWeight))
        raise ValueError(f"Unknown weight {weight!r}; choose one of {known}.")
    error = predicted - sample.residual
    if weight == "target":
        error = error * sample.sigma
    return error.square().mean()


def _look_up(values: torch.Tensor, step: torch.Tensor | int, like: torch.Tensor) -> torch.Tensor:
    """Give the table's values at steps `(...)` as `(..., 1)`, in the type of other numbers."""
    # First the type, then the device: some devices know no float64.
    table = values.to(like.dtype).to(like.device)
    return table[torch.as_tensor(step, device=like.device)].unsqueeze(-1)

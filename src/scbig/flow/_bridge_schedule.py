"""How much noise a bridge has gathered at each of its steps."""

from dataclasses import dataclass
from functools import cached_property

import torch

# Divided by the usual 1000 steps this is the 1e-4 of the source. Divided by the number of
# steps that is asked for, it keeps the noise of the whole bridge whatever that number is.
_BETA_MIN = 0.1


@dataclass(frozen=True, eq=False)
class BridgeSchedule:
    """Variances that a bridge gathers from either of its ends.

    Step 0 is the target and step N the source. The tables are float64 on the CPU, so that
    differences of neighbouring steps stay exact.

    Parameters
    ----------
    betas
        Variance gathered between the steps n - 1 and n, positive, shape `(N,)`.

    Raises
    ------
    ValueError
        When `betas` is not one row of positive finite numbers.
    """

    betas: torch.Tensor

    def __post_init__(self) -> None:
        if self.betas.ndim != 1 or not len(self.betas):
            raise ValueError(f"betas has shape {tuple(self.betas.shape)}; pass (N,) with N > 0.")
        if not bool((torch.isfinite(self.betas) & (self.betas > 0)).all()):
            raise ValueError("betas holds values that are not positive and finite; mend them.")

    @property
    def n_grid(self) -> int:
        """Number N of steps between source and target."""
        return len(self.betas)

    @cached_property
    def from_target(self) -> torch.Tensor:
        """Variance gathered between the target and each step, shape `(N + 1,)`, first 0."""
        betas = self.betas.detach().to("cpu", torch.float64)
        return torch.cat([betas.new_zeros(1), betas.cumsum(0)])

    @cached_property
    def from_source(self) -> torch.Tensor:
        """Variance gathered between each step and the source, shape `(N + 1,)`, last 0."""
        betas = self.betas.detach().to("cpu", torch.float64)
        return torch.cat([betas.flip(0).cumsum(0).flip(0), betas.new_zeros(1)])

    @cached_property
    def sigma(self) -> torch.Tensor:
        """Unit of the training target: root of `from_target`, shape `(N + 1,)`."""
        return self.from_target.sqrt()

    @cached_property
    def share(self) -> torch.Tensor:
        """Share of the source in the mean of each step, shape `(N + 1,)`, from 0 to 1."""
        return self.from_target / (self.from_target + self.from_source)

    @cached_property
    def std(self) -> torch.Tensor:
        """Standard deviation of each step between fixed ends, shape `(N + 1,)`."""
        return (self.share * self.from_source).sqrt()

    def get_grid(self, n_steps: int) -> list[int]:
        """Choose the steps that sampling visits.

        Parameters
        ----------
        n_steps
            Number of moves from the source to the target, 1 to N.

        Returns
        -------
        `n_steps + 1` evenly spaced steps, falling from N to 0.

        Raises
        ------
        ValueError
            When `n_steps` is below 1 or above N.
        """
        if not 1 <= n_steps <= self.n_grid:
            raise ValueError(f"n_steps is {n_steps}; pass 1 to {self.n_grid}.")
        # Whole division: rounding halves to even could visit a step twice.
        return [self.n_grid * left // n_steps for left in range(n_steps, -1, -1)]


def make_bridge_schedule(
    n_grid: int = 1000, *, beta_max: float = 0.3, scale: float = 1.0
) -> BridgeSchedule:
    """Make the schedule of the image-to-image bridge (arXiv 2302.05872).

    The square roots of the betas rise evenly; the first half of the rise is kept and
    mirrored, so that the noise is the same seen from either end.

    Parameters
    ----------
    n_grid
        Number N of steps, 2 or more.
    beta_max
        N times the beta that the whole rise would end in.
    scale
        Standard deviation of the points to be bridged. At 1 the standard deviation between
        fixed ends is at most 0.19, which is next to nothing for points of another scale.

    Returns
    -------
    The schedule.

    Raises
    ------
    ValueError
        When `n_grid` is below 2, or `beta_max` or `scale` is not positive.
    """
    if n_grid < 2:
        raise ValueError(f"n_grid is {n_grid}; pass 2 or more.")
    for name, value in {"beta_max": beta_max, "scale": scale}.items():
        if value <= 0:
            raise ValueError(f"{name} is {value}; pass a positive number.")
    rise = torch.linspace(_BETA_MIN**0.5, beta_max**0.5, n_grid, dtype=torch.float64)
    to_end = torch.arange(n_grid)
    mirrored = rise[torch.minimum(to_end, to_end.flip(0))]
    return BridgeSchedule(mirrored.square() * scale**2 / n_grid)

"""What a network learns on a bridge."""

from typing import Literal, NamedTuple, get_args

import torch

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

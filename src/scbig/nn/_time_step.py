"""The start of a state-space block's time steps and rates of decay."""

import math

import torch

_SHORTEST, _LONGEST, _FLOOR = 1e-3, 1e-1, 1e-4
_SLOWEST, _FASTEST = 1.0, 16.0


def make_step_bias(n: int) -> torch.Tensor:
    """Draw n biases whose softplus is a time step, log-uniform from 0.001 to 0.1."""
    step = torch.empty(n).uniform_(math.log(_SHORTEST), math.log(_LONGEST)).exp()
    step = step.clamp(min=_FLOOR)
    # Inverse of softplus, log(exp(step) - 1), for small steps.
    return step + torch.log(-torch.expm1(-step))


def make_head_log_rates(n_heads: int) -> torch.Tensor:
    """Draw the log of the rate of decay of each head, uniform from 1 to 16."""
    return torch.empty(n_heads).uniform_(_SLOWEST, _FASTEST).log()


def make_state_log_rates(n_channels: int, n_states: int) -> torch.Tensor:
    """Make the log of the rates 1, 2, ..., n_states of every channel."""
    return torch.arange(1.0, n_states + 1).log().repeat(n_channels, 1)

"""The first-order linear recurrence, with a gradient that is a recurrence too."""

from typing import cast

import torch
from torch.autograd.function import FunctionCtx


class _LinearScan(torch.autograd.Function):
    """`h_t = decay_t h_{t-1} + x_t` along the first axis, from `h_{-1} = start`.

    Autograd records one node for the whole recurrence. Indexing a tracked tensor at every
    step instead would make the backward pass quadratic in the length.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, decay: torch.Tensor, x: torch.Tensor, start: torch.Tensor
    ) -> torch.Tensor:
        states = x.clone(memory_format=torch.contiguous_format)
        previous = start
        for state, factor in zip(states.unbind(0), decay.unbind(0), strict=True):
            previous = state.addcmul_(factor, previous)
        ctx.save_for_backward(decay, states, start)
        return states

    @staticmethod
    def backward(
        ctx: FunctionCtx, grad: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        decay, states, start = ctx.saved_tensors  # type: ignore[attr-defined]
        # What flows into h_t: its own gradient, and that of h_{t+1} times decay_{t+1}.
        next_decay = torch.cat([decay[1:], torch.zeros_like(decay[:1])])
        flow = linear_scan(next_decay.flip(0), grad.flip(0), torch.zeros_like(start)).flip(0)
        before = torch.cat([start.unsqueeze(0), states[:-1]])
        return flow * before, flow, flow[0] * decay[0]


def linear_scan(decay: torch.Tensor, x: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Compute `h_t = decay_t h_{t-1} + x_t`.

    Parameters
    ----------
    decay, x
        Shape `(T, ...)`, T at least 1.
    start
        State before the first step, shape `(...)`.

    Returns
    -------
    All T states, shape `(T, ...)`. They can be differentiated twice.
    """
    return cast(torch.Tensor, _LinearScan.apply(decay, x, start))

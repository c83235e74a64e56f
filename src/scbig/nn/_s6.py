"""The selective scan with a decay of its own for every channel and state.

It runs chunk by chunk, with the memory of one chunk; inside a chunk it is a first-order linear
recurrence, whose gradient is a recurrence too.
"""

from typing import cast

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from scbig.nn._scan_backend import fused_s6, in_full_precision, is_fused


@in_full_precision
def s6_scan(
    x: torch.Tensor,
    dt: torch.Tensor,
    rate: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    *,
    n_chunk: int = 64,
) -> torch.Tensor:
    """Scan a sequence with input-dependent parameters (Mamba, arXiv 2312.00752).

    State n of channel e: `h_t = exp(rate[e, n] dt_t) h_{t-1} + dt_t b_t[n] x_t`; output:
    `y_t = sum over n of c_t[n] h_t`. The sequence runs in chunks; the states of a chunk are
    forgotten after it and computed again for the gradient, so that memory holds one chunk.

    Parameters
    ----------
    x
        Input, shape `(B, L, E)`.
    dt
        Positive time steps, shape `(B, L, E)`.
    rate
        Negative rates of decay, shape `(E, N)`.
    b, c
        What is written to and read from the N states, shape `(B, L, N)`.
    n_chunk
        Length of a chunk. It moves time and memory, not the result.

    Returns
    -------
    Shape `(B, L, E)`, in float32 at least.

    Raises
    ------
    ValueError
        When `n_chunk` is below 1.
    """
    if n_chunk < 1:
        raise ValueError(f"n_chunk is {n_chunk}; pass a chunk of 1 position or more.")
    if not x.numel():
        return x.clone()
    if is_fused("s6", x, rate.shape[-1]):
        return fused_s6(x, dt, rate, b, c)
    # The position leads, so that one step is one contiguous block.
    leading = (tensor.transpose(0, 1).contiguous() for tensor in (x, dt, b, c))
    return cast(torch.Tensor, ChunkedScan.apply(n_chunk, rate, *leading)).transpose(0, 1)


@in_full_precision
def s6_kernel(
    dt: torch.Tensor,
    rate: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    sources: torch.Tensor | None = None,
) -> torch.Tensor:
    """Write the scan of :func:`s6_scan` as a matrix: `y_t = sum over s of M[t, s] x_s`.

    `M[t, s] = sum over n of c_t[n] exp(rate[n] (dt_{s+1} + ... + dt_t)) dt_s b_s[n]` for
    `s <= t`, else 0.

    Parameters
    ----------
    dt
        Positive time steps, shape `(B, L, E)`.
    rate
        Negative rates of decay, shape `(E, N)`.
    b, c
        What is written to and read from the states, shape `(B, L, N)`.
    sources
        Positions s to return, integers of shape `(S,)`; all by default, which takes memory
        for L^2 numbers a channel.

    Returns
    -------
    Shape `(B, E, L, S)`.
    """
    at = torch.arange(dt.shape[1], device=dt.device) if sources is None else sources
    past = dt.cumsum(1).transpose(1, 2)
    elapsed = past.unsqueeze(-1) - past[:, :, at].unsqueeze(-2)
    is_later = torch.arange(dt.shape[1], device=dt.device).unsqueeze(-1) < at
    # Masked before exp, where the time between s and t would be negative.
    elapsed = elapsed.masked_fill(is_later, 0.0)
    kernel = torch.zeros_like(elapsed)
    for n in range(rate.shape[-1]):  # one state at a time: all would take N times the memory
        read = c[:, :, n, None] * b[:, at, n].unsqueeze(1)
        kernel = kernel + read.unsqueeze(1) * (rate[:, n, None, None] * elapsed).exp()
    kernel = kernel * dt[:, at].transpose(1, 2).unsqueeze(-2)
    return kernel.masked_fill(is_later, 0.0)


class ChunkedScan(torch.autograd.Function):
    """Scan x and dt `(L, B, E)`, b and c `(L, B, N)` with rates `(E, N)`.

    Only the state at the start of each chunk is kept; the others are computed again for the
    gradient. Results are written into whole tensors: small ones, kept between the large
    buffers of a chunk, would keep the freed buffers from being used again.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, n_chunk: int, rate: torch.Tensor, *inputs: torch.Tensor
    ) -> torch.Tensor:
        x = inputs[0]
        y = torch.empty_like(x)
        starts = x.new_zeros(1 + -(-len(x) // n_chunk), *x.shape[1:], rate.shape[-1])
        chunks = zip(*(tensor.split(n_chunk) for tensor in (y, *inputs)), strict=True)
        for i, (output, *chunk) in enumerate(chunks):
            part, state = _scan_chunk(starts[i], rate, *chunk)
            output.copy_(part)
            starts[i + 1] = state
        ctx.save_for_backward(starts, rate, *inputs)
        ctx.n_chunk = n_chunk  # type: ignore[attr-defined]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        starts, rate, *inputs = ctx.saved_tensors  # type: ignore[attr-defined]
        n_chunk = ctx.n_chunk  # type: ignore[attr-defined]
        grads = [torch.empty_like(tensor) for tensor in inputs]
        rate_grad, state_grad = torch.zeros_like(rate), torch.zeros_like(starts[0])
        pieces = [tensor.split(n_chunk) for tensor in (grad, *grads, *inputs)]
        for i, (output_grad, *rest) in reversed(list(enumerate(zip(*pieces, strict=True)))):
            into, chunk = rest[: len(grads)], rest[len(grads) :]
            flow = _differentiate((starts[i], rate, *chunk), (output_grad, state_grad))
            state_grad, chunk_rate_grad, *chunk_grads = flow
            rate_grad += chunk_rate_grad
            for target, value in zip(into, chunk_grads, strict=True):
                target.copy_(value)
        return None, rate_grad, *grads


def _differentiate(
    inputs: tuple[torch.Tensor, ...], output_grads: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """Compute one chunk again, and the gradients of its inputs from those of its outputs."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    with torch.enable_grad():
        outputs = _scan_chunk(*leaves)
    return torch.autograd.grad(outputs, leaves, output_grads)


def _scan_chunk(
    state: torch.Tensor,
    rate: torch.Tensor,
    x: torch.Tensor,
    dt: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scan one chunk from a state (B, E, N); also return the state at its end."""
    decay = (dt.unsqueeze(-1) * rate).exp()
    states = linear_scan(decay, (dt * x).unsqueeze(-1) * b.unsqueeze(-2), state)
    return (states @ c.unsqueeze(-1)).squeeze(-1), states[-1]


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

"""The selective scan chunk by chunk, with the memory of one chunk."""

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from scbig.nn._linear_scan import linear_scan


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

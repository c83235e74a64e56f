"""The selective scan with a decay of its own for every channel and state."""

from typing import cast

import torch

from scbig.nn._chunked_scan import ChunkedScan
from scbig.nn._fused_scan import fused_s6, is_fused
from scbig.nn._precision import in_full_precision


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

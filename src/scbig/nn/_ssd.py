"""State-space duality: the scan with one decay a head, as matrix products of chunks."""

import math

import torch
import torch.nn.functional as F

from scbig.nn._scan_backend import fused_ssd, in_full_precision, is_fused


@in_full_precision
def ssd_scan(
    x: torch.Tensor,
    dt: torch.Tensor,
    rate: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    *,
    n_chunk: int = 32,
) -> torch.Tensor:
    """Scan a sequence with one scalar decay a head (Mamba-2, arXiv 2405.21060).

    State of a head: `h_t = exp(rate dt_t) h_{t-1} + dt_t x_t b_t^T`; output:
    `y_t = h_t c_t`. The sequence is cut into chunks. Inside a chunk the output is one product
    with a triangular matrix; between chunks only the states at their ends are carried. The
    cost is linear in the length.

    Parameters
    ----------
    x
        Input, shape `(B, L, H, P)`: H heads of P channels.
    dt
        Positive time steps, shape `(B, L, H)`.
    rate
        Negative rate of decay of each head, shape `(H,)`.
    b, c
        What is written to and read from the N states, shape `(B, L, N)`; heads share them.
    n_chunk
        Length of a chunk. It moves time and memory, not the result.

    Returns
    -------
    Shape `(B, L, H, P)`, in float32 at least.

    Raises
    ------
    ValueError
        When `n_chunk` is below 1.
    """
    if n_chunk < 1:
        raise ValueError(f"n_chunk is {n_chunk}; pass a chunk of 1 position or more.")
    if is_fused("ssd", x, b.shape[-1]):
        return fused_ssd(x, dt, rate, b, c, n_chunk)
    length = x.shape[1]
    n_chunk = min(n_chunk, max(length, 1))
    # Padding has dt = 0: it neither decays nor writes.
    x, dt, b, c = (_cut(tensor, n_chunk) for tensor in (x * dt.unsqueeze(-1), dt, b, c))
    # (B, K, H, Q): log of the decay from the start of the chunk to each position
    decay = (_lengthen(dt) * rate).cumsum(2).transpose(2, 3)
    y = _scan_chunks(x.transpose(2, 3).contiguous(), decay, b, c)
    return y.transpose(2, 3).flatten(1, 2)[:, :length]


@in_full_precision
def ssd_kernel(
    dt: torch.Tensor,
    rate: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    sources: torch.Tensor | None = None,
) -> torch.Tensor:
    """Write the scan of :func:`ssd_scan` as a matrix: `y_t = sum over s of M[t, s] x_s`.

    `M[t, s] = (c_t . b_s) exp(rate (dt_{s+1} + ... + dt_t)) dt_s` for `s <= t`, else 0.

    Parameters
    ----------
    dt
        Positive time steps, shape `(B, L, H)`.
    rate
        Negative rate of decay of each head, shape `(H,)`.
    b, c
        What is written to and read from the states, shape `(B, L, N)`.
    sources
        Positions s to return, integers of shape `(S,)`; all by default, which takes memory
        for L^2 numbers a head.

    Returns
    -------
    Shape `(B, H, L, S)`.
    """
    at = torch.arange(dt.shape[1], device=dt.device) if sources is None else sources
    decay = (_lengthen(dt) * rate).cumsum(1).transpose(1, 2)
    log_weight = (decay.unsqueeze(-1) - decay[:, :, at].unsqueeze(-2)).to(dt.dtype)
    is_later = torch.arange(dt.shape[1], device=dt.device).unsqueeze(-1) < at
    weight = log_weight.masked_fill(is_later, -math.inf).exp()
    read = (c @ b[:, at].transpose(1, 2)).unsqueeze(1)
    return read * weight * dt[:, at].transpose(1, 2).unsqueeze(-2)


def _scan_chunks(
    x: torch.Tensor, decay: torch.Tensor, b: torch.Tensor, c: torch.Tensor
) -> torch.Tensor:
    """Scan x (B, K, H, Q, P) with log decay (B, K, H, Q), b and c (B, K, Q, N)."""
    inner = (c @ b.transpose(-2, -1)).unsqueeze(2) * _spread(decay, decay, x.dtype)
    end = decay[..., -1:]
    # The N states are narrower than the P channels, so they take the decays.
    write = b.unsqueeze(2) * (end - decay).to(x.dtype).exp().unsqueeze(-1)
    states = _carry(write.transpose(-2, -1) @ x, end.squeeze(-1))
    read = c.unsqueeze(2) * decay.to(x.dtype).exp().unsqueeze(-1)
    return inner @ x + read @ states


def _carry(states: torch.Tensor, decay: torch.Tensor, n_chunk: int = 32) -> torch.Tensor:
    """States that enter each chunk, from what it adds (B, K, H, N, P), log decay (B, K, H).

    Cuts again where there are many chunks, so that the cost stays linear in their number.
    """
    n = states.shape[1]
    n_chunk = min(n_chunk, max(n, 1))
    # (B, K', H, n_chunk) and (B, K', H, n_chunk, N * P)
    after = _cut(decay, n_chunk).cumsum(2).transpose(2, 3)
    added = _cut(states.flatten(-2), n_chunk).transpose(2, 3)
    before = F.pad(after, (1, -1))
    entering = _spread(before, after, states.dtype, is_strict=True) @ added
    if added.shape[1] > 1:
        end = after[..., -1:]
        total = (end - after).to(states.dtype).exp().unsqueeze(-2) @ added
        carried = _carry(total, end.squeeze(-1))
        entering = entering + before.to(states.dtype).exp().unsqueeze(-1) * carried
    return entering.transpose(2, 3).flatten(1, 2)[:, :n].view_as(states)


def _spread(
    target: torch.Tensor, source: torch.Tensor, dtype: torch.dtype, *, is_strict: bool = False
) -> torch.Tensor:
    """`exp(target_i - source_j)` for j up to i, or strictly before, else 0."""
    n = target.shape[-1]
    is_later = torch.ones(n, n, dtype=torch.bool, device=target.device).triu(1 - is_strict)
    # Masked before exp: what is masked could overflow, and 0 * inf spoils the gradient.
    difference = (target.unsqueeze(-1) - source.unsqueeze(-2)).to(dtype)
    return difference.masked_fill(is_later, -math.inf).exp()


def _lengthen(dt: torch.Tensor) -> torch.Tensor:
    """Steps in float64, where the device has it: sums of them are subtracted from each other.

    In float32 a short stretch after a long one would lose its digits.
    """
    return dt if dt.device.type == "mps" else dt.double()


def _cut(x: torch.Tensor, n_chunk: int) -> torch.Tensor:
    """Cut (B, L, ...) into (B, K, n_chunk, ...), padded with zeros."""
    missing = -x.shape[1] % n_chunk
    if missing:
        x = F.pad(x, (0, 0) * (x.ndim - 2) + (0, missing))
    return x.unflatten(1, (-1, n_chunk))

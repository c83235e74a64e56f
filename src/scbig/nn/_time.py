"""Features of time."""

import math

import torch
from torch import nn


class FourierTime(nn.Module):
    """Sines and cosines of a time in [0, 1].

    The frequencies are multiples of pi. Multiples of 2 pi would give the two ends of the
    path, 0 and 1, the same features.

    Parameters
    ----------
    dim
        Number of features, even: `dim / 2` sines, then `dim / 2` cosines.

    Raises
    ------
    ValueError
        When `dim` is not a positive even number.
    """

    frequencies: torch.Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"dim is {dim}; pass a positive even number.")
        frequencies = math.pi * torch.arange(1, dim // 2 + 1, dtype=torch.float32)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """Map times `(...)` to features `(..., dim)`."""
        angle = t.unsqueeze(-1) * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=-1)

"""Short convolution that looks back only."""

import torch
import torch.nn.functional as F
from torch import nn


class CausalConv(nn.Conv1d):
    """Depthwise convolution with SiLU: each position sees itself and those just before it.

    Parameters
    ----------
    n_channels
        Number of channels, each with a filter of its own.
    n_taps
        Length of a filter.
    """

    def __init__(self, n_channels: int, n_taps: int) -> None:
        super().__init__(n_channels, n_channels, n_taps, groups=n_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(B, L, n_channels)` to the same shape."""
        if not x.shape[1]:
            return x  # shorter than a filter, which conv2d refuses
        before = F.pad(x, (0, 0, self.kernel_size[0] - 1, 0))
        # As an image of width 1 the channels stay last in memory: twice as fast as conv1d.
        image = before.unsqueeze(2).permute(0, 3, 1, 2)
        y = F.conv2d(image, self.weight.unsqueeze(-1), self.bias, groups=self.groups)
        return F.silu(y.permute(0, 2, 3, 1).squeeze(2))

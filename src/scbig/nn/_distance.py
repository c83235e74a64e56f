"""Attention that prefers what is near."""

import torch
from torch import nn

_N_BUCKETS = 20


class DistanceBias(nn.Module):
    """Learned bias of attention scores by the distance from marked positions.

    The distance falls into buckets that double in width: 0, 1, 2 to 3, 4 to 7 and so on.
    It has no sign, so that a window read from its other end has the same bias. The heads
    start with different slopes, as in arXiv 2108.12409, over the logarithm of the distance:
    the first sees the whole window alike, the last one what is near.

    Parameters
    ----------
    n_heads
        Number of attention heads.
    """

    borders: torch.Tensor

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.register_buffer("borders", 2 ** torch.arange(_N_BUCKETS - 1), persistent=False)
        slopes = torch.linspace(0.0, 1.0, n_heads)
        self.bias = nn.Parameter(-slopes[:, None] * torch.arange(_N_BUCKETS))

    def forward(self, is_marked: torch.Tensor) -> torch.Tensor:
        """Compute the bias.

        Parameters
        ----------
        is_marked
            Positions to measure from, shape `(B, T)`; one or more in each row.

        Returns
        -------
        Shape `(B, n_heads, T)`.
        """
        bucket = torch.bucketize(compute_distance(is_marked), self.borders, right=True)
        return self.bias[:, bucket].transpose(0, 1)


def compute_distance(is_marked: torch.Tensor) -> torch.Tensor:
    """Count the positions to the nearest marked one.

    Parameters
    ----------
    is_marked
        Shape `(B, T)`, bool.

    Returns
    -------
    Whole numbers, 0 at marked positions, shape `(B, T)`; `2 T` in rows without any.
    """
    n = is_marked.shape[1]
    position = torch.arange(n, device=is_marked.device).expand_as(is_marked)
    # Where no mark comes before or after, one beyond the end stands for it, 2 T away or more.
    last = torch.where(is_marked, position, -2 * n).cummax(1).values
    following = torch.where(is_marked, position, 3 * n).flip(1).cummin(1).values.flip(1)
    return torch.minimum(position - last, following - position).clamp(max=2 * n)

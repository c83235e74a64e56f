"""Changing cells without leaving the non-negative numbers."""

import torch

_TINY = 1e-6


def add_change(x: torch.Tensor, change: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Add a change of expression to cells.

    A rise is added. A fall scales the cell down by its share of the mean, so that zeros stay
    zeros and the mean over cells falls by the whole change; clipping sums at zero would lose
    a part of it.

    Parameters
    ----------
    x
        Non-negative cells, shape ``(..., G)``.
    change
        Change of each gene, broadcastable to ``x``.
    mean
        Mean over cells that the change refers to, broadcastable to ``x``.

    Returns
    -------
    Non-negative cells, of the shape of ``x``.
    """
    scale = (1 + change.clamp(max=0) / mean.clamp(min=_TINY)).clamp(min=0)
    return x * scale + change.clamp(min=0)

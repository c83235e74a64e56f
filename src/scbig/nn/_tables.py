"""Learned vectors of what was seen, and sums over the pairs of a set of vectors."""

import torch
from torch import nn


def take_rows(table: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Rows of a table ``(n, d)`` by number, shape ``(..., d)``; zeros for row -1."""
    if not len(table):
        return table.new_zeros(*row.shape, table.shape[1])
    return table[row.clamp(min=0)] * (row >= 0).unsqueeze(-1)


def extend_rows(table: torch.Tensor, n_rows: int) -> nn.Parameter:
    """Make room for further rows, which start at zero."""
    grown = table.new_zeros(n_rows, table.shape[1])
    grown[: len(table)] = table.detach()
    return nn.Parameter(grown)


def sum_pairs(pair: nn.Module, message: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Sum what a network says of the products of all pairs, shape ``(B, d)``.

    Given sets of vectors ``(B, T, d)``, of which the mask ``(B, T)`` says what is no padding.
    """
    n_targets = mask.shape[1]
    first, second = torch.triu_indices(n_targets, n_targets, 1, device=mask.device)
    is_pair = (mask[:, first] & mask[:, second]).unsqueeze(-1)
    return (pair(message[:, first] * message[:, second]) * is_pair).sum(1)

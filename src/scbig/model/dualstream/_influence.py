"""Which genes the networks read, and for which others: two ways of asking a trained module."""

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from torch import nn

from scbig.model.dualstream._module import DualStreamModule
from scbig.model.dualstream._perturbation import StreamCondition
from scbig.nn import MambaBlock

_TOKENS_AT_ONCE = 16_384


@torch.no_grad()
def compute_occlusion(
    module: DualStreamModule, cell: torch.Tensor, condition: StreamCondition, genes: torch.Tensor
) -> np.ndarray:
    """Change of the effect on each gene when the token of each gene is taken out.

    Parameters
    ----------
    module
        Trained networks.
    cell
        One control cell, shape ``(1, G)``.
    condition
        One condition.
    genes
        Numbers of n genes.

    Returns
    -------
    Absolute change of the effect on each gene (row) for want of each gene (column), ``(n, n)``.
    """
    token = module.patches.token[genes]
    sources, column = torch.unique(token, return_inverse=True)
    whole = module.forward_cells(cell, condition).effect[0, genes]
    size = max(_TOKENS_AT_ONCE // module.patches.n_tokens, 1)
    changes = [
        (module.forward_without(cell, condition, part)[:, genes] - whole).abs()
        for part in sources.split(size)
    ]
    return torch.cat(changes).T[:, column].cpu().numpy()


@torch.no_grad()
def compute_scan_influence(
    module: DualStreamModule, cell: torch.Tensor, condition: StreamCondition, genes: torch.Tensor
) -> np.ndarray:
    """Weight with which the scans of the biological stream read each gene at each gene.

    Parameters
    ----------
    module, cell, condition, genes
        As for :func:`compute_occlusion`.

    Returns
    -------
    Weight of each source (column) at each gene (row), shape ``(n, n)``.
    """
    tokens = module.biological.embed(*module.get_biological_input(cell, condition))
    influence = compute_block_influence(module.biological.blocks, tokens)[0]
    token = module.patches.token[genes]
    return influence[token][:, token].cpu().numpy()


def compute_block_influence(blocks: nn.Sequential, tokens: torch.Tensor) -> torch.Tensor:
    """Mean influence over blocks, given the tokens ``(B, L, n_hidden)`` that enter the first.

    Returns
    -------
    Weight of each source (last) at each position, shape ``(B, L, L)``.
    """
    total = tokens.new_zeros(len(tokens), tokens.shape[1], tokens.shape[1])
    for block in cast(Iterable[MambaBlock], blocks):
        total += block.compute_influence(tokens)
        tokens = block(tokens)
    return total / len(blocks)

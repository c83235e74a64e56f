"""What goes into the module of DualStreamMamba, and what comes out."""

from typing import NamedTuple

import torch

from scbig.model.dualstream._streams import Posterior


class GeneRecord(NamedTuple):
    """What the module knows of the measured genes.

    Attributes
    ----------
    order
        Gene numbers in the order of the tokens, shape ``(G,)``.
    vectors
        Embedding of each gene: unit vectors side by side, shape ``(G, D)``.
    mean, std, dropout
        Mean, standard deviation and share of zeros over control cells, each of shape ``(G,)``.
    """

    order: torch.Tensor
    vectors: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    dropout: torch.Tensor


class ModuleSizes(NamedTuple):
    """Numbers of seen targets, of seen contexts and of embedding tables."""

    n_targets: int
    n_contexts: int
    n_tables: int


class ModuleOutput(NamedTuple):
    """What one pass returns.

    Attributes
    ----------
    effect
        Predicted effect, with that of the anchor, shape ``(B, G)``.
    posterior
        Latent of the control cells, or ``None`` without the statistical stream.
    reconstruction
        Squared error of the standardised control cells, a single number.
    """

    effect: torch.Tensor
    posterior: Posterior | None
    reconstruction: torch.Tensor

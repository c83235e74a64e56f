"""Structure-aware alignment of predicted and real cells (arXiv 2602.04901)."""

import torch

from scbig.ot import sinkhorn_cost

_MIN_STD = 1e-6
_MAX_STANDARDISED = 10.0


def correlation_loss(
    predicted: torch.Tensor, real: torch.Tensor, programs: torch.Tensor
) -> torch.Tensor:
    """Distance between the correlations of programs in predicted and in real cells.

    ``||R(predicted) - R(real)||_F / K`` with R the Pearson correlation of program means over
    cells.

    Parameters
    ----------
    predicted, real
        Expression, shapes ``(..., N, G)`` and ``(..., M, G)``.
    programs
        Averages the genes of each program, shape ``(K, G)``.

    Returns
    -------
    Loss of shape ``(...)``.
    """
    difference = _correlation(predicted @ programs.T) - _correlation(real @ programs.T)
    return torch.linalg.matrix_norm(difference) / len(programs)


def pathway_loss(
    predicted: torch.Tensor, real: torch.Tensor, pathways: torch.Tensor
) -> torch.Tensor:
    """Entropic transport cost between predicted and real cells in pathway space, over P.

    Parameters
    ----------
    predicted, real
        Expression, shapes ``(..., N, G)`` and ``(..., M, G)``.
    pathways
        Averages the genes of each pathway, shape ``(P, G)``.

    Returns
    -------
    Loss of shape ``(...)``.
    """
    return sinkhorn_cost(predicted @ pathways.T, real @ pathways.T) / len(pathways)


def _correlation(activity: torch.Tensor) -> torch.Tensor:
    """Pearson correlation of columns, shape ``(..., N, K)`` to ``(..., K, K)``."""
    centred = activity - activity.mean(-2, keepdim=True)
    std = centred.square().mean(-2, keepdim=True).clamp(min=_MIN_STD**2).sqrt()
    # A program that hardly varies would otherwise dominate through a few cells.
    standardised = (centred / std).clamp(-_MAX_STANDARDISED, _MAX_STANDARDISED)
    return standardised.mT @ standardised / activity.shape[-2]

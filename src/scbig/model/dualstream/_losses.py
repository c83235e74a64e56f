"""Losses of DualStreamMamba; tensors in, one number out."""

import torch
import torch.nn.functional as F


def gaussian_loss(error: torch.Tensor, log_sigma: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of errors under a normal distribution, up to a constant.

    Parameters
    ----------
    error
        Predicted minus real values, shape ``(B, G)``.
    log_sigma
        Log of the standard deviation, shape ``(G,)``.

    Returns
    -------
    Mean over conditions and genes.
    """
    return (0.5 * (error / log_sigma.exp()).square() + log_sigma).mean()


def divergence_loss(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence from the standard normal (Kingma and Welling 2014).

    Parameters
    ----------
    mean, log_variance
        Of the posterior, shape ``(B, n_latent)``.

    Returns
    -------
    Sum over the latent, mean over the batch.
    """
    each = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * each.sum(-1).mean()


def autofocus_loss(error: torch.Tensor, gamma: float) -> torch.Tensor:
    """Mean of ``|error|**(2 + gamma)``, which looks at the genes that are furthest off.

    After GEARS (Roohani et al. 2023, doi:10.1038/s41587-023-01905-6).

    Parameters
    ----------
    error
        Predicted minus real values, shape ``(B, G)``.
    gamma
        How much large errors count beyond their square.

    Returns
    -------
    Mean over conditions and genes.
    """
    return error.abs().pow(2 + gamma).mean()


def direction_loss(
    predicted: torch.Tensor, real: torch.Tensor, noise: torch.Tensor, threshold: float = 3.0
) -> torch.Tensor:
    """Softplus penalty on strongly changed genes that are predicted to go the other way.

    Parameters
    ----------
    predicted, real
        Effects, shape ``(B, G)``.
    noise
        Standard error of the real effect of each gene, shape ``(G,)``. Genes that change by
        more than ``threshold`` of it count as strongly changed.
    threshold
        Standard errors.

    Returns
    -------
    Mean over the strongly changed genes; zero where there are none.
    """
    is_strong = real.abs() > threshold * noise
    penalty = F.softplus(-predicted * real.sign() / noise)
    return (penalty * is_strong).sum() / is_strong.sum().clamp(min=1)

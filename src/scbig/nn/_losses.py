"""Losses of networks: effects, latents, alignment, and what weight decay may pull."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from scbig.nn._mamba import S6Mixer, SSDMixer

# A temperature near zero turns the softmax into a maximum, whose gradient explodes.
_LEAST_TEMPERATURE = 0.01


class AlignmentLoss(nn.Module):
    """Contrast of perturbations and their effects (arXiv 2602.10156, after 2103.00020).

    Rows of the same perturbation are averaged before they are compared, since a contrast
    of two rows of one perturbation would push its own effect away. What remains is one row
    for each perturbation, with its mean effect: repeats change nothing.

    Parameters
    ----------
    n_cond
        Width of the vector of a perturbation.
    n_latent
        Width of an effect in the latent space.
    dim
        Width of the space in which the two are compared.
    temperature
        Temperature at the start; learned, and kept above 0.01 without losing its gradient.
        Leave `log_excess` out of weight decay, which would draw it to a temperature of 1.

    Raises
    ------
    ValueError
        When the temperature is not above 0.01.
    """

    def __init__(
        self, n_cond: int, n_latent: int, *, dim: int = 128, temperature: float = 0.07
    ) -> None:
        super().__init__()
        if temperature <= _LEAST_TEMPERATURE:
            raise ValueError(
                f"temperature is {temperature}; pass a number above {_LEAST_TEMPERATURE}."
            )
        self.project_condition = nn.Linear(n_cond, dim)
        self.project_effect = nn.Linear(n_latent, dim)
        self.log_excess = nn.Parameter(torch.tensor(math.log(temperature - _LEAST_TEMPERATURE)))

    @property
    def temperature(self) -> torch.Tensor:
        """Present temperature, a scalar."""
        return _LEAST_TEMPERATURE + self.log_excess.exp()

    def forward(
        self, condition: torch.Tensor, effect: torch.Tensor, label: torch.Tensor
    ) -> torch.Tensor:
        """Compute the loss.

        Parameters
        ----------
        condition
            Vectors of the perturbations, shape `(B, n_cond)`.
        effect
            Perturbed minus control cells in the latent space, shape `(B, n_latent)`; a row
            is a cell with its partner or the mean of many. Leave control cells out.
        label
            Whole number of the perturbation of each row, shape `(B,)`.

        Returns
        -------
        A scalar; 0 when there is one perturbation, which has nothing to differ from.
        """
        _, group = torch.unique(label, return_inverse=True)
        left = self.project_condition(_average_groups(condition, group))
        right = self.project_effect(_average_groups(effect, group))
        return compute_info_nce(left, right, self.temperature)


def compute_info_nce(
    left: torch.Tensor, right: torch.Tensor, temperature: torch.Tensor | float
) -> torch.Tensor:
    """Compute the symmetric InfoNCE loss (arXiv 1807.03748) on cosines.

    Parameters
    ----------
    left
        Shape `(n, d)`; row k belongs to row k of `right` and to no other.
    right
        Shape `(n, d)`.
    temperature
        Positive divisor of the cosines.

    Returns
    -------
    Mean of the cross-entropies of finding right from left and left from right, a scalar.
    """
    scores = F.normalize(left, dim=1) @ F.normalize(right, dim=1).T / temperature
    own = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def gaussian_loss(error: torch.Tensor, log_sigma: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of normal errors ``(B, G)``, up to a constant: the mean."""
    return (0.5 * (error / log_sigma.exp()).square() + log_sigma).mean()


def autofocus_loss(error: torch.Tensor, gamma: float) -> torch.Tensor:
    """Mean of ``|error|**(2 + gamma)``, which looks at the genes that are furthest off.

    After GEARS (Roohani et al. 2023, doi:10.1038/s41587-023-01905-6).
    """
    return error.abs().pow(2 + gamma).mean()


def direction_loss(
    predicted: torch.Tensor, real: torch.Tensor, noise: torch.Tensor, threshold: float = 3.0
) -> torch.Tensor:
    """Softplus penalty on strongly changed genes that are predicted to go the other way.

    Strong is more than ``threshold`` standard errors ``noise`` ``(G,)`` of the effects ``(B, G)``.
    Mean over the strongly changed genes; zero where there are none.
    """
    is_strong = real.abs() > threshold * noise
    penalty = F.softplus(-predicted * real.sign() / noise)
    return (penalty * is_strong).sum() / is_strong.sum().clamp(min=1)


def energy_loss(predicted: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Energy distance of clouds ``(B, N, d)`` and ``(B, M, d)``, each moved to mean 0.

    Unbiased, up to what the real cells say of each other, which no prediction changes (Székely
    and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018). The mean over the clouds.
    """
    x, y = (part - part.mean(1, keepdim=True) for part in (predicted, real))
    n = x.shape[1]
    within = _measure_distances(x, x).sum((1, 2)) / max(n * (n - 1), 1)
    return (2 * _measure_distances(x, y).mean((1, 2)) - within).mean()


class Posterior(NamedTuple):
    """What an encoder says of the latents of B cells, both of shape ``(B, n_latent)``."""

    mean: torch.Tensor
    log_variance: torch.Tensor

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        """Draw latents, given standard normal noise."""
        return self.mean + noise * (self.log_variance / 2).exp()


def divergence_loss(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence from the standard normal (Kingma and Welling 2014).

    Of posteriors ``(B, n_latent)``: the sum over the latent, and the mean over the batch.
    """
    each = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * each.sum(-1).mean()


def split_weight_decay(
    module: nn.Module, weight_decay: float, *, without: nn.Module | None = None
) -> list[dict[str, object]]:
    """Make the parameter groups of an optimiser that spares rates, skips and temperatures.

    Pulled towards zero, the log rates of a state-space mixer would all become the same rate,
    and the temperature of an alignment would become 1.

    Parameters
    ----------
    module
        Holds any number of :class:`SSDMixer`, :class:`S6Mixer` and :class:`AlignmentLoss`.
    weight_decay
        Weight decay of all other parameters.
    without
        Part of the module that is not to be trained; neither are frozen parameters.

    Returns
    -------
    Two groups, for example for :class:`torch.optim.AdamW`: with and without decay.
    """
    spared = {id(p) for part in module.modules() for p in _get_spared(part)}
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    left_out = set() if without is None else {id(p) for p in without.parameters()}
    for parameter in module.parameters():
        if parameter.requires_grad and id(parameter) not in left_out:
            groups[id(parameter) in spared].append(parameter)
    return [
        {"params": groups[False], "weight_decay": weight_decay},
        {"params": groups[True], "weight_decay": 0.0},
    ]


def _measure_distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # The distance of a point to itself has a gradient of 0 here, in place of NaN.
    return (x.unsqueeze(2) - y.unsqueeze(1)).square().sum(-1).clamp(min=1e-12).sqrt()


def _average_groups(x: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Average the rows of each group; groups are numbered from 0 without gaps."""
    n_rows = torch.bincount(group).unsqueeze(1)
    return x.new_zeros(len(n_rows), x.shape[1]).index_add(0, group, x) / n_rows


def _get_spared(module: nn.Module) -> tuple[nn.Parameter, ...]:
    if isinstance(module, SSDMixer | S6Mixer):
        return module.log_rate, module.skip
    return (module.log_excess,) if isinstance(module, AlignmentLoss) else ()

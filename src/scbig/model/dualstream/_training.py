"""What the networks of DualStreamMamba learn in a step, and by which losses."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from scbig.data import Expression, Pairs
from scbig.model.dualstream._module import DualStreamModule
from scbig.model.dualstream._networks import divergence_loss
from scbig.model.dualstream._perturbation import StreamCondition
from scbig.nn import split_weight_decay
from scbig.predictor import StageData, StagePlan


@dataclass(frozen=True, eq=False)
class StreamData(StageData):
    """What the networks learn from."""

    condition: StreamCondition  # training groups; their anchors have not seen them
    control_mean: torch.Tensor  # mean control cell of each group's context, (n_groups, G)
    expression: Expression  # of all cells
    n_warm_up: int  # steps until the divergence has its full weight
    # Source of the noise of the latents, on the CPU, so that a seed means the same everywhere.
    rng: torch.Generator


class DualStreamPlan(StagePlan):
    """Regress the mean effect of some perturbed cells on a single control cell.

    The effect is taken against the mean of all control cells. Taken against the one control
    cell, which was never this perturbed cell, it would teach the networks to undo that cell's
    noise.
    """

    stage = "networks"
    module: DualStreamModule

    def __init__(
        self, module: DualStreamModule, data: StreamData, validate: Callable[[], float]
    ) -> None:
        super().__init__(module, validate)
        self._data = data

    def training_step(self, batch: Pairs, batch_idx: int) -> torch.Tensor:
        """Sum of the losses of a batch of conditions."""
        config, data = self.module.config, self._data
        cells = self._read(batch.perturbed_rows).mean(1)
        real = cells - data.control_mean[batch.group].to(self.device)
        noise = torch.randn(len(real), config.n_latent, generator=data.rng)
        output = self.module.forward_cells(
            self._read(batch.control_rows[:, :1]).squeeze(1),
            data.condition.select(batch.group).to(self.device),
            noise.to(self.device),
        )
        error = output.effect - real
        losses = {
            "likelihood": gaussian_loss(error, self.module.log_sigma),
            "autofocus": config.autofocus_weight * autofocus_loss(error, config.gamma),
            "direction": config.direction_weight
            * direction_loss(output.effect, real, self.module.get_noise()),
        }
        if output.posterior is not None:
            weight = config.kl_weight * min(self.global_step / data.n_warm_up, 1)
            losses["reconstruction"] = config.reconstruction_weight * output.reconstruction
            losses["divergence"] = weight * divergence_loss(*output.posterior)
        for name, value in losses.items():
            self.log_value(f"{name}_loss", value)
        return torch.stack(list(losses.values())).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW that spares the rates of decay of the scans."""
        config = self.module.config
        groups = split_weight_decay(self.module, config.weight_decay)
        return torch.optim.AdamW(groups, lr=config.learning_rate)

    def _read(self, rows: torch.Tensor) -> torch.Tensor:
        x = self._data.expression.rows(rows.numpy().ravel())
        return torch.from_numpy(np.ascontiguousarray(x)).unflatten(0, rows.shape).to(self.device)


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

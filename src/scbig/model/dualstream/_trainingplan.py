"""What a training step of DualStreamMamba does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from scbig.data import Expression, Pairs
from scbig.model.dualstream._groups import Groups
from scbig.model.dualstream._losses import (
    autofocus_loss,
    direction_loss,
    divergence_loss,
    gaussian_loss,
)
from scbig.model.dualstream._module import DualStreamModule
from scbig.nn import split_weight_decay

VALIDATION_SCORE = "networks_validation_score"


@dataclass(frozen=True)
class Task:
    """What the networks learn from; everything stays on the CPU until it is used.

    Attributes
    ----------
    groups
        Training groups.
    expression
        Expression of all cells.
    validate
        Returns the score of the module on held-out conditions.
    n_warm_up
        Steps until the divergence has its full weight.
    rng
        Source of the noise of the latents. It is on the CPU, so that a seed means the same on
        every device.
    """

    groups: Groups
    expression: Expression
    validate: Callable[[DualStreamModule], float]
    n_warm_up: int
    rng: torch.Generator

    def __deepcopy__(self, memo: dict[int, Any]) -> "Task":
        # Weight averaging copies the training plan, and must not copy the data with it.
        return self


class DualStreamPlan(pl.LightningModule):
    """Regress the mean effect of some perturbed cells on a single control cell.

    The effect is taken against the mean of all control cells. Taken against the one control
    cell, which was never this perturbed cell, it would teach the networks to undo that cell's
    noise.

    Parameters
    ----------
    module
        The module.
    task
        What to learn from.
    """

    def __init__(self, module: DualStreamModule, task: Task) -> None:
        super().__init__()
        self.module = module
        self._task = task

    def training_step(self, batch: Pairs, batch_idx: int) -> torch.Tensor:
        """Sum of the losses of a batch of conditions."""
        config, groups = self.module.config, self._task.groups
        cells = self._read(batch.perturbed_rows).mean(1)
        real = cells - groups.control_mean[batch.group].to(self.device)
        noise = torch.randn(len(real), config.n_latent, generator=self._task.rng)
        output = self.module.forward_cells(
            self._read(batch.control_rows[:, :1]).squeeze(1),
            groups.condition.select(batch.group).to(self.device),
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
            weight = config.kl_weight * min(self.global_step / self._task.n_warm_up, 1)
            losses["reconstruction"] = config.reconstruction_weight * output.reconstruction
            losses["divergence"] = weight * divergence_loss(*output.posterior)
        for name, value in losses.items():
            self._log(f"networks_{name}_loss", value)
        return torch.stack(list(losses.values())).sum()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        """Score on held-out conditions."""
        self._log(VALIDATION_SCORE, torch.tensor(self._task.validate(self.module)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW that spares the rates of decay of the scans."""
        config = self.module.config
        groups = split_weight_decay(self.module, config.weight_decay)
        return torch.optim.AdamW(groups, lr=config.learning_rate)

    def _read(self, rows: torch.Tensor) -> torch.Tensor:
        x = self._task.expression.rows(rows.numpy().ravel())
        return torch.from_numpy(np.ascontiguousarray(x)).unflatten(0, rows.shape).to(self.device)

    def _log(self, name: str, value: torch.Tensor) -> None:
        self.log(name, value, on_step=False, on_epoch=True, batch_size=1)

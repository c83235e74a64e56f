"""What one training step of SCBIG does, in each of its two stages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch.nn import functional as F

from scbig.data import Expression, Pairs
from scbig.flow import LinearPath
from scbig.model.scbig._components import ConditionInput
from scbig.model.scbig._losses import correlation_loss, pathway_loss
from scbig.model.scbig._module import SCBIGModule
from scbig.ot import pair_batches


class AutoencoderPlan(pl.LightningModule):
    """First stage: reconstruct cells.

    Parameters
    ----------
    module
        The module; encoder and decoder are trained.
    """

    def __init__(self, module: SCBIGModule) -> None:
        super().__init__()
        self.module = module

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Reconstruction error of a batch of cells."""
        _, _, loss = self.module(batch)
        self._log("autoencoder_train_loss", loss.loss, loss.n_obs_minibatch)
        return loss.loss

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        """Reconstruction error of held-out cells, as a score."""
        _, _, loss = self.module(batch)
        self._log("autoencoder_validation_score", -loss.loss, loss.n_obs_minibatch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam on encoder and decoder alone."""
        module = self.module
        # Encoder and decoder share the semantic tokens, which must be listed once.
        weights = {*module.encoder.parameters(), *module.decoder.parameters()}
        in_order = [weight for weight in module.parameters() if weight in weights]
        return torch.optim.Adam(in_order, lr=module.config.autoencoder_lr)

    def _log(self, name: str, value: torch.Tensor, n_cells: int) -> None:
        self.log(name, value, on_step=False, on_epoch=True, batch_size=n_cells)


@dataclass(frozen=True)
class FlowTask:
    """What the second stage learns from; everything stays on the CPU until it is used.

    Attributes
    ----------
    latents
        Standardised latents of all cells, shape ``(n_cells, n_latent)``.
    condition
        The training groups, each with the anchor of a regression that has not seen it.
    effect
        Gene effects of the same regressions, shape ``(n_groups, G)``.
    control_mean
        Control mean of the context of each group, shape ``(n_groups, G)``.
    expression
        Expression of all cells.
    programs
        Averages the genes of each program, shape ``(K, G)``.
    pathways
        Averages the genes of each pathway, shape ``(P, G)``, or ``None``.
    draw
        Draws a batch of pairs for the alignment losses.
    validate
        Returns the score of the module on held-out conditions.
    rng
        Source of times and path noise. It is on the CPU, so that a seed means the same on
        every device.
    """

    latents: torch.Tensor
    condition: ConditionInput
    effect: torch.Tensor
    control_mean: torch.Tensor
    expression: Expression
    programs: torch.Tensor
    pathways: torch.Tensor | None
    draw: Callable[[], Pairs]
    validate: Callable[[SCBIGModule], float]
    rng: torch.Generator

    def __deepcopy__(self, memo: dict[int, Any]) -> "FlowTask":
        # Weight averaging copies the training plan, and must not copy the data with it.
        return self


class FlowPlan(pl.LightningModule):
    """Second stage: regress the velocity from control to perturbed latents.

    Parameters
    ----------
    module
        The module; the condition encoder and the velocity network are trained.
    task
        What to learn from.
    """

    def __init__(self, module: SCBIGModule, task: FlowTask) -> None:
        super().__init__()
        self.module = module
        self._task = task
        self._path = LinearPath(module.config.sigma)

    def on_train_start(self) -> None:
        """Keep dropout out of the encoder and the decoder, which are used as they are."""
        self.module.encoder.eval()
        self.module.decoder.eval()

    def training_step(self, batch: Pairs, batch_idx: int) -> torch.Tensor:
        """Flow-matching loss, and now and then the alignment losses."""
        loss = self._flow_loss(batch)
        self._log("flow_train_loss", loss)
        every = self.module.config.align_every
        is_due = every > 0 and (self.trainer.fit_loop.total_batch_idx + 1) % every == 0
        return loss + self._alignment_loss() if is_due else loss

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        """Score on held-out conditions."""
        self._log("flow_validation_score", torch.tensor(self._task.validate(self.module)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam on the condition encoder and the velocity network alone."""
        module = self.module
        weights = [*module.condition.parameters(), *module.velocity.parameters()]
        return torch.optim.Adam(weights, lr=module.config.flow_lr)

    def _flow_loss(self, batch: Pairs) -> torch.Tensor:
        task, device = self._task, self.device
        z0, z1 = task.latents[batch.control_rows], task.latents[batch.perturbed_rows]
        z1 = z1.gather(1, pair_batches(z0, z1).unsqueeze(-1).expand_as(z1))
        t = torch.rand(z0.shape[:2], generator=task.rng)
        z_t, velocity = (part.to(device) for part in self._path.sample(z0, z1, t, task.rng))
        condition = self._get_condition(batch.group)
        vector = self.module.condition(condition).unsqueeze(1)
        predicted = self.module.get_velocity(
            t.to(device), z_t, vector, condition.anchor.unsqueeze(1)
        )
        return F.mse_loss(predicted, velocity)

    def _alignment_loss(self) -> torch.Tensor:
        """Compare the structure of predicted and real cells of a few training groups."""
        config, task, device = self.module.config, self._task, self.device
        batch = task.draw()
        real = self._read(batch.perturbed_rows)
        predicted = self.module.predict_cells(
            self._read(batch.control_rows),
            task.latents[batch.control_rows].to(device),
            self._get_condition(batch.group),
            task.effect[batch.group].to(device),
            task.control_mean[batch.group].to(device),
        )
        loss = correlation_loss(predicted, real, task.programs.to(device)).mean()
        self._log("flow_correlation_loss", loss)
        loss = config.correlation_weight * loss
        if task.pathways is None:
            return loss
        pathway = pathway_loss(predicted, real, task.pathways.to(device)).mean()
        self._log("flow_pathway_loss", pathway)
        return loss + config.pathway_weight * pathway

    def _get_condition(self, group: torch.Tensor) -> ConditionInput:
        return ConditionInput(*(part[group].to(self.device) for part in self._task.condition))

    def _read(self, rows: torch.Tensor) -> torch.Tensor:
        x = self._task.expression.rows(rows.numpy().ravel())
        return torch.from_numpy(np.ascontiguousarray(x)).unflatten(0, rows.shape).to(self.device)

    def _log(self, name: str, value: torch.Tensor) -> None:
        self.log(name, value, on_step=False, on_epoch=True, batch_size=1)

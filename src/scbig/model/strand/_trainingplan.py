"""What one training step of STRAND does, in each of its two stages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch

from scbig.data import Pairs
from scbig.flow import compute_bridge_loss
from scbig.model.strand._components import LocusInput
from scbig.model.strand._module import ConditionInput, STRANDModule, embed_rows
from scbig.nn import split_weight_decay
from scbig.ot import pair_batches


@dataclass(frozen=True)
class LocusTask:
    """What the first stage learns from.

    Attributes
    ----------
    given
        What is read of all loci.
    condition
        The training groups.
    effect
        Their mean latent effects, shape ``(n_groups, n_latent)``.
    weight
        Weights of their errors, mean 1, shape ``(n_groups,)``.
    label
        Number of the perturbation of each group, alike in all contexts, shape ``(n_groups,)``.
    validate
        Returns the score of the module on held-out conditions.
    rng
        Source of hidden loci, on the CPU.
    """

    given: LocusInput
    condition: ConditionInput
    effect: torch.Tensor
    weight: torch.Tensor
    label: torch.Tensor
    validate: Callable[[STRANDModule], float]
    rng: torch.Generator

    def __deepcopy__(self, memo: dict[int, Any]) -> "LocusTask":
        # Weight averaging copies the training plan, and must not copy the data with it.
        return self


class LocusPlan(pl.LightningModule):
    """First stage: regress mean effects on loci, and align the two.

    Parameters
    ----------
    module
        The module; all but the bridge is trained.
    task
        What to learn from.
    """

    def __init__(self, module: STRANDModule, task: LocusTask) -> None:
        super().__init__()
        self.module = module
        self._task = task
        self._unit = float(task.effect.square().mean().clamp(min=1e-12))

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        """Error of the effects of some groups, in units of their size, and the alignment."""
        task, module, config = self._task, self.module, self.module.config
        condition = ConditionInput(*(part[batch] for part in task.condition))
        is_hidden = torch.rand(len(batch), generator=task.rng) < config.drop_locus
        vector = embed_conditions(module, task.given, condition)
        effect = task.effect[batch].to(self.device)
        hidden = embed_conditions(module, task.given, _hide(condition))
        shown = torch.where(is_hidden.to(self.device).unsqueeze(1), hidden, vector)
        error = (module.effect(shown) - effect).square().mean(1)
        loss = (error * task.weight[batch].to(self.device)).mean() / self._unit
        self._log("locus_train_loss", loss)
        if not config.clip_weight:
            return loss
        alignment = module.alignment(vector, effect, task.label[batch].to(self.device))
        self._log("locus_alignment_loss", alignment)
        return loss + config.clip_weight * alignment

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        """Score on held-out conditions."""
        self._log("locus_validation_score", torch.tensor(self._task.validate(self.module)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on all but the bridge; temperatures do not decay."""
        config, module = self.module.config, self.module
        bridge = {id(p) for p in module.bridge_net.parameters()}
        groups = split_weight_decay(module, config.weight_decay)
        for group in groups:
            group["params"] = [
                p
                for p in group["params"]  # type: ignore[attr-defined]
                if p.requires_grad and id(p) not in bridge
            ]
        return torch.optim.AdamW(groups, lr=config.locus_lr)

    def _log(self, name: str, value: torch.Tensor) -> None:
        self.log(name, value, on_step=False, on_epoch=True, batch_size=1)


@dataclass(frozen=True)
class BridgeTask:
    """What the second stage learns from; everything stays on the CPU until it is used.

    Attributes
    ----------
    latents
        Latents of all cells, shape ``(n_cells, n_latent)``.
    vector
        What the first stage makes of the training groups, shape ``(n_groups, dim)``.
    unknown
        The same with their loci hidden.
    validation
        Fixed pairs of held-out groups with their vectors ``(B, dim)``; ``None`` without any.
    rng
        Source of steps, noise and hidden loci, on the CPU.
    seed
        Seed of the draws in validation, which are always the same.
    """

    latents: torch.Tensor
    vector: torch.Tensor
    unknown: torch.Tensor
    validation: tuple[Pairs, torch.Tensor] | None
    rng: torch.Generator
    seed: int

    def __deepcopy__(self, memo: dict[int, Any]) -> "BridgeTask":
        return self


class BridgePlan(pl.LightningModule):
    """Second stage: learn the bridges from control to perturbed cells.

    Parameters
    ----------
    module
        The module; only the bridge's network is trained.
    task
        What to learn from.
    """

    def __init__(self, module: STRANDModule, task: BridgeTask) -> None:
        super().__init__()
        self.module = module
        self._task = task

    def on_train_start(self) -> None:
        """Keep dropout out of what is not trained here."""
        self.module.eval()
        self.module.bridge_net.train()

    def training_step(self, batch: Pairs, batch_idx: int) -> torch.Tensor:
        """Squared error of the network at random points of bridges."""
        task, config = self._task, self.module.config
        is_hidden = torch.rand(len(batch.group), 1, generator=task.rng) < config.drop_locus
        vector = torch.where(is_hidden, task.unknown[batch.group], task.vector[batch.group])
        loss = self._compute_loss(batch, vector, task.rng)
        self._log("bridge_train_loss", loss)
        return loss

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        """The same on held-out conditions, always at the same points, as a score."""
        if self._task.validation is None:
            return
        generator = torch.Generator().manual_seed(self._task.seed)
        loss = self._compute_loss(*self._task.validation, generator)
        self._log("bridge_validation_score", -loss)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on the bridge's network alone."""
        config = self.module.config
        weights = self.module.bridge_net.parameters()
        return torch.optim.AdamW(weights, lr=config.bridge_lr, weight_decay=config.weight_decay)

    def _compute_loss(
        self, batch: Pairs, vector: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        module, latents = self.module, self._task.latents
        z0, z1 = latents[batch.control_rows], latents[batch.perturbed_rows]
        if module.config.pairing == "ot":
            z1 = z1.gather(1, pair_batches(z0, z1).unsqueeze(-1).expand_as(z1))
        vector = vector.unsqueeze(1).to(self.device)
        with torch.no_grad():
            source = module.get_source(z0.to(self.device), vector).cpu()
        step = module.bridge.draw_steps(z0.shape[:2], generator)
        sample = module.bridge.sample(source, z1, step, generator)
        time = module.bridge.get_time(step, z0).to(self.device)
        x_t, z0 = sample.x_t.to(self.device), z0.to(self.device)
        predicted = module.bridge_net(time, x_t, z0, vector)
        return compute_bridge_loss(predicted.cpu(), sample)

    def _log(self, name: str, value: torch.Tensor) -> None:
        self.log(name, value, on_step=False, on_epoch=True, batch_size=1)


def embed_conditions(
    module: STRANDModule, given: LocusInput, condition: ConditionInput
) -> torch.Tensor:
    """Turn conditions into vectors ``(B, dim)``, reading each of their loci once."""
    rows, position = torch.unique(condition.members[condition.is_member], return_inverse=True)
    members = torch.zeros_like(condition.members)
    members[condition.is_member] = position
    on_device = ConditionInput(
        members.to(module.device),
        condition.is_member.to(module.device),
        condition.context.to(module.device),
    )
    loci = embed_rows(module, given, rows) if len(rows) else torch.empty(0, module.config.dim)
    return module.join(loci, on_device)


def _hide(condition: ConditionInput) -> ConditionInput:
    return condition._replace(is_member=torch.zeros_like(condition.is_member))

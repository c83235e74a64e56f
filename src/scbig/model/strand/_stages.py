"""What STRAND's networks learn in each of their two stages: effects of loci, and the bridge."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset

from scbig.data import Effects, PairBatches, Pairs
from scbig.flow import compute_bridge_loss
from scbig.model.strand._module import STRANDModule
from scbig.nn import LocusCondition, PrincipalComponents, TokenReader, split_weight_decay
from scbig.ot import pair_batches
from scbig.predictor import Schedule, StageData, StagePlan, Stopping, Task, plan_epochs

N_STEPS_PER_EPOCH = 20
# Enough cells to find some tens of components; a large screen is not read whole.
MAX_PCA_CELLS = 20_000


def fit_latent(module: STRANDModule, task: Task) -> None:
    """Find principal components of the training cells; another latent space stays as it is."""
    if isinstance(module.latent, PrincipalComponents):
        rows = np.random.default_rng(task.seed).permutation(task.rows)[:MAX_PCA_CELLS]
        module.latent.fit(task.cells.expression.rows(np.sort(rows)), task.seed)


# --- first stage -------------------------------------------------------------------------------


def train_loci(
    module: STRANDModule,
    task: Task,
    condition: LocusCondition,
    effects: Effects,
    *,
    n_steps: int,
    validate: Callable[[], float],
) -> None:
    """Regress the latent effects of the training groups on their loci.

    For at most so many steps, rounded up to whole epochs, while held-out conditions gain by it.
    """
    config, is_judged = module.config, len(task.judge) > 0
    n_epochs = math.ceil(n_steps / N_STEPS_PER_EPOCH)
    if isinstance(module.reader, TokenReader) and not task.is_continued:
        module.reader.set_scale(condition.compact().given)
    task.runner.run(
        LocusPlan(module, make_locus_data(task, condition, effects), validate),
        _GroupBatches(len(effects), config.conditions_per_step, task.seed),
        Schedule(n_epochs, int(is_judged), config.clip_norm, ema_decay=config.locus_ema),
        Stopping("locus_validation_score") if is_judged else None,
    )


def make_locus_data(task: Task, condition: LocusCondition, effects: Effects) -> "LocusData":
    """Put together what is learned of the loci of training groups, given their latent effects."""
    # Beyond some tens of cells what a locus does is known, and more of them say no more.
    weight = effects.n_cells / (effects.n_cells + np.median(effects.n_cells))
    names = {targets: i for i, targets in enumerate(sorted(set(effects.targets)))}
    return LocusData(
        condition,
        effect=torch.from_numpy(effects.delta),
        unit=float(np.maximum(np.square(effects.delta).mean(), 1e-12)),
        weight=torch.from_numpy((weight / weight.mean()).astype(np.float32)),
        label=torch.tensor([names[targets] for targets in effects.targets]),
        rng=torch.Generator().manual_seed(task.seed),
    )


@dataclass(frozen=True, eq=False)
class LocusData(StageData):
    """What the first stage learns from: the training groups."""

    condition: LocusCondition
    effect: torch.Tensor  # mean latent effects, (n_groups, n_latent)
    unit: float  # mean square of the effects
    weight: torch.Tensor  # of their errors, mean 1, (n_groups,)
    label: torch.Tensor  # number of the perturbation, alike in all contexts, (n_groups,)
    rng: torch.Generator  # of hidden loci, on the CPU


class LocusPlan(StagePlan):
    """Regress mean effects on loci, and align the two; all but the bridge is trained."""

    stage = "locus"
    module: STRANDModule

    def __init__(
        self, module: STRANDModule, data: LocusData, validate: Callable[[], float]
    ) -> None:
        super().__init__(module, validate)
        self._data = data

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        """Error of the effects of some groups, in units of their size, and the alignment."""
        loss, alignment, _ = compute_locus_loss(self.module, self._data, batch)
        self.log_value("train_loss", loss)
        if alignment is None:
            return loss
        self.log_value("alignment_loss", alignment)
        return loss + self.module.config.clip_weight * alignment

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on all but the bridge; temperatures do not decay."""
        config, module = self.module.config, self.module
        groups = split_weight_decay(module, config.weight_decay, without=module.bridge_net)
        return torch.optim.AdamW(groups, lr=config.locus_lr)


def compute_locus_loss(
    module: STRANDModule, data: LocusData, batch: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Error of the effects of some groups, their alignment, if any, and their vectors.

    The loci of a few are hidden, in their vectors ``(B, dim)`` too.
    """
    config, device = module.config, module.device
    condition = data.condition.select(batch)
    is_hidden = torch.rand(len(batch), generator=data.rng) < config.drop_locus
    vector = module.embed(condition)
    effect = data.effect[batch].to(device)
    hidden = module.embed(condition.hide())
    shown = torch.where(is_hidden.to(device).unsqueeze(1), hidden, vector)
    error = (module.effect(shown) - effect).square().mean(1)
    loss = (error * data.weight[batch].to(device)).mean() / data.unit
    if not config.clip_weight:
        return loss, None, shown
    return loss, module.alignment(vector, effect, data.label[batch].to(device)), shown


class _GroupBatches(LightningDataModule):
    """Random numbers of training groups, drawn one batch after the other."""

    def __init__(self, n_groups: int, batch_size: int, seed: int) -> None:
        super().__init__()
        rng, size = np.random.default_rng(seed), min(batch_size, n_groups)
        self._draw = lambda _: torch.from_numpy(rng.choice(n_groups, size, replace=False))

    def train_dataloader(self) -> DataLoader:
        """One epoch of random batches."""
        steps: Any = range(N_STEPS_PER_EPOCH)
        return DataLoader(steps, batch_size=None, collate_fn=self._draw)

    def val_dataloader(self) -> DataLoader:
        """One empty batch: what is validated does not depend on a draw."""
        return DataLoader(TensorDataset(torch.zeros(1, 1)))

    def transfer_batch_to_device(
        self, batch: torch.Tensor, device: torch.device, dataloader_idx: int
    ) -> torch.Tensor:
        """Leave numbers of groups where the data are."""
        return batch


# --- second stage ------------------------------------------------------------------------------


def train_bridge(
    module: STRANDModule,
    task: Task,
    latents: np.ndarray,
    training: LocusCondition,
    *,
    n_steps: int,
    validate: Callable[[], float] | None,
) -> None:
    """Train the bridge's network on the latents of all cells, ``(n_cells, n_latent)``.

    For at most so many steps, rounded up to whole epochs, while its score rises, if it has one.
    A joint bridge trains the encoder of loci on.
    """
    config, stopping = module.config, None
    n_epochs, n_batches = plan_epochs(n_steps)
    if validate is not None:
        # Before training an anchored bridge is its anchor, and noise; a free one is nothing.
        initial = validate() if config.use_anchor else -math.inf
        stopping = Stopping("bridge_validation_score", initial=initial)
    data = BridgeData(
        latents=torch.from_numpy(latents),
        vector=module.embed_all(training),
        hidden=module.embed_all(training.hide()),
        rng=torch.Generator().manual_seed(task.seed),
    )
    batches = PairBatches(
        [rows for *_, rows in task.groups],
        task.get_controls(task.groups),
        n_groups=config.groups_per_step,
        n_cells=config.cells_per_group,
        n_batches=n_batches,
        seed=task.seed,
    )
    is_judged, plan = int(stopping is not None), BridgePlan(module, data, validate)
    if config.use_joint:
        locus = make_locus_data(task, training, task.compute_effects(latents))
        plan = JointPlan(module, data, validate, locus)
    task.runner.run(
        plan,
        batches,
        Schedule(n_epochs, is_judged, config.clip_norm, ema_decay=config.bridge_ema),
        stopping,
    )


@dataclass(frozen=True, eq=False)
class BridgeData(StageData):
    """What the second stage learns from."""

    latents: torch.Tensor  # of all cells, (n_cells, n_latent)
    vector: torch.Tensor  # what the first stage makes of the training groups, (n_groups, dim)
    hidden: torch.Tensor  # the same with their loci hidden
    rng: torch.Generator  # of steps, noise and hidden loci, on the CPU


class BridgePlan(StagePlan):
    """Learn the bridges from control to perturbed cells; only their network is trained."""

    stage = "bridge"
    module: STRANDModule

    def __init__(
        self, module: STRANDModule, data: BridgeData, validate: Callable[[], float] | None
    ) -> None:
        super().__init__(module, validate)
        self._data = data

    def on_train_start(self) -> None:
        """Keep dropout out of what is not trained here."""
        self.module.eval()
        self.module.bridge_net.train()

    def training_step(self, batch: Pairs, batch_idx: int) -> torch.Tensor:
        """Squared error of the network at random points of bridges."""
        data, config = self._data, self.module.config
        is_hidden = torch.rand(len(batch.group), 1, generator=data.rng) < config.drop_locus
        vector = torch.where(is_hidden, data.hidden[batch.group], data.vector[batch.group])
        loss = self._compute_loss(batch, vector)
        self.log_value("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on the bridge's network alone."""
        config = self.module.config
        weights = self.module.bridge_net.parameters()
        return torch.optim.AdamW(weights, lr=config.bridge_lr, weight_decay=config.weight_decay)

    def _compute_loss(self, batch: Pairs, vector: torch.Tensor) -> torch.Tensor:
        module, latents, generator = self.module, self._data.latents, self._data.rng
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


class JointPlan(BridgePlan):
    """Learn the bridges and the vectors of loci that they follow at once."""

    def __init__(
        self,
        module: STRANDModule,
        data: BridgeData,
        validate: Callable[[], float] | None,
        locus: LocusData,
    ) -> None:
        super().__init__(module, data, validate)
        self._locus = locus

    def on_train_start(self) -> None:
        """Train all of it, dropout included."""
        self.module.train()

    def training_step(self, batch: Pairs, batch_idx: int) -> torch.Tensor:
        """Sum of the losses of both stages, of the groups of the bridges."""
        effect, alignment, vector = compute_locus_loss(self.module, self._locus, batch.group)
        bridge = self._compute_loss(batch, vector)
        self.log_value("train_loss", bridge)
        self.log_value("effect_loss", effect)
        loss = bridge + effect
        return loss if alignment is None else loss + self.module.config.clip_weight * alignment

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on all networks; temperatures do not decay."""
        config = self.module.config
        groups = split_weight_decay(self.module, config.weight_decay)
        return torch.optim.AdamW(groups, lr=config.bridge_lr)

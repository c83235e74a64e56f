"""What STRAND's networks learn in each of their two stages: effects of loci, and the bridge."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, TensorDataset

from scbig.data import Effects, PairBatches, Pairs, Targets
from scbig.flow import compute_bridge_loss
from scbig.model.strand._module import LocusCondition, STRANDModule, embed_all, embed_conditions
from scbig.model.strand._readers import LocusInput, TokenReader
from scbig.nn import PrincipalComponents, split_weight_decay
from scbig.ot import pair_batches
from scbig.predictor import Schedule, StageData, StagePlan, Stopping, Task, plan_epochs

Group = tuple[Targets, int, np.ndarray]

N_STEPS_PER_EPOCH = 20
N_VALIDATION_GROUPS = 64
# Enough cells to find some tens of components; a large screen is not read whole.
MAX_PCA_CELLS = 20_000


def fit_latent(module: STRANDModule, task: Task) -> None:
    """Find principal components of the training cells; another latent space stays as it is."""
    if isinstance(module.latent, PrincipalComponents):
        rows = np.random.default_rng(task.seed).permutation(task.rows)[:MAX_PCA_CELLS]
        module.latent.fit(task.cells.expression.rows(np.sort(rows)), task.seed)


# --- first stage -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LocusData(StageData):
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
    rng
        Source of hidden loci, on the CPU.
    """

    given: LocusInput
    condition: LocusCondition
    effect: torch.Tensor
    weight: torch.Tensor
    label: torch.Tensor
    rng: torch.Generator

    @classmethod
    def make(
        cls, given: LocusInput, condition: LocusCondition, effects: Effects, seed: int
    ) -> "LocusData":
        """Put together what is learned from, of the latent effects of the training groups."""
        n_cells = effects.n_cells
        # Beyond some tens of cells what a locus does is known, and more of them say no more.
        weight = n_cells / (n_cells + np.median(n_cells))
        names = {targets: i for i, targets in enumerate(sorted(set(effects.targets)))}
        return cls(
            given,
            condition,
            effect=torch.from_numpy(effects.delta),
            weight=torch.from_numpy((weight / weight.mean()).astype(np.float32)),
            label=torch.tensor([names[targets] for targets in effects.targets]),
            rng=torch.Generator().manual_seed(seed),
        )


def train_loci(
    module: STRANDModule,
    task: Task,
    data: LocusData,
    *,
    n_steps: int,
    validate: Callable[[], float],
) -> None:
    """Regress the mean effects of training groups on their loci.

    Parameters
    ----------
    module
        The networks.
    task
        What the method learns from.
    data
        What of it this stage sees.
    n_steps
        Largest number of steps, rounded up to whole epochs of 20.
    validate
        Returns the score of the module on held-out conditions.
    """
    config, is_judged = module.config, len(task.judge) > 0
    if isinstance(module.reader, TokenReader):
        rows = torch.unique(data.condition.members[data.condition.is_member])
        module.reader.set_scale(data.given.take(rows))
    task.runner.run(
        LocusPlan(module, data, validate),
        _GroupBatches(len(data.effect), config.conditions_per_step, task.seed),
        Schedule(
            math.ceil(n_steps / N_STEPS_PER_EPOCH),
            validate_every=1 if is_judged else 0,
            clip_norm=config.clip_norm,
            ema_decay=config.locus_ema,
        ),
        Stopping("locus_validation_score") if is_judged else None,
    )


class LocusPlan(StagePlan):
    """First stage: regress mean effects on loci, and align the two.

    Parameters
    ----------
    module
        The module; all but the bridge is trained.
    data
        What to learn from.
    validate
        Returns the score of the module on held-out conditions.
    """

    stage = "locus"
    module: STRANDModule

    def __init__(
        self, module: STRANDModule, data: LocusData, validate: Callable[[], float]
    ) -> None:
        super().__init__(module, validate)
        self._data = data
        self._unit = float(data.effect.square().mean().clamp(min=1e-12))

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        """Error of the effects of some groups, in units of their size, and the alignment."""
        data, module, config = self._data, self.module, self.module.config
        condition = data.condition.select(batch)
        is_hidden = torch.rand(len(batch), generator=data.rng) < config.drop_locus
        vector = embed_conditions(module, data.given, condition)
        effect = data.effect[batch].to(self.device)
        hidden = embed_conditions(module, data.given, condition.hide())
        shown = torch.where(is_hidden.to(self.device).unsqueeze(1), hidden, vector)
        error = (module.effect(shown) - effect).square().mean(1)
        loss = (error * data.weight[batch].to(self.device)).mean() / self._unit
        self.log_value("train_loss", loss)
        if not config.clip_weight:
            return loss
        alignment = module.alignment(vector, effect, data.label[batch].to(self.device))
        self.log_value("alignment_loss", alignment)
        return loss + config.clip_weight * alignment

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


class _GroupBatches(LightningDataModule):
    """Random numbers of training groups."""

    def __init__(self, n_groups: int, batch_size: int, seed: int) -> None:
        super().__init__()
        self._drawn = _DrawnGroups(n_groups, min(batch_size, n_groups), seed)

    def train_dataloader(self) -> DataLoader:
        """One epoch of random batches."""
        return DataLoader(self._drawn, batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """One empty batch: what is validated does not depend on a draw."""
        return DataLoader(TensorDataset(torch.zeros(1, 1)))

    def transfer_batch_to_device(
        self, batch: torch.Tensor, device: torch.device, dataloader_idx: int
    ) -> torch.Tensor:
        """Leave numbers of groups where the data are."""
        return batch


class _DrawnGroups(Dataset):
    """So many draws, taken one after the other whatever their number."""

    def __init__(self, n_groups: int, batch_size: int, seed: int) -> None:
        self._n_groups, self._batch_size = n_groups, batch_size
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return N_STEPS_PER_EPOCH

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self._rng.choice(self._n_groups, self._batch_size, replace=False))


# --- second stage ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BridgeData(StageData):
    """What the second stage learns from.

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


def train_bridge(
    module: STRANDModule,
    task: Task,
    latents: np.ndarray,
    given: LocusInput,
    training: LocusCondition,
    held_out: LocusCondition,
    *,
    n_steps: int,
) -> None:
    """Train the bridge's network, which stops when held-out cells are reached no better.

    Parameters
    ----------
    module
        The networks.
    task
        What the method learns from.
    latents
        Latents of all cells, shape ``(n_cells, n_latent)``.
    given
        What is read of all loci.
    training, held_out
        Groups to train and to stop on; of the latter there may be none.
    n_steps
        Largest number of steps, rounded up to whole epochs.
    """
    config = module.config
    n_epochs, n_batches = plan_epochs(n_steps)
    validation = None
    if task.held_out:
        batches = _pair(task, task.held_out, N_VALIDATION_GROUPS, config.cells_per_group, 1)
        pairs = batches.draw()
        validation = pairs, embed_all(module, given, held_out)[pairs.group]
    data = BridgeData(
        latents=torch.from_numpy(latents),
        vector=embed_all(module, given, training),
        unknown=embed_all(module, given, training.hide()),
        validation=validation,
        rng=torch.Generator().manual_seed(task.seed),
        seed=task.seed,
    )
    task.runner.run(
        BridgePlan(module, data),
        _pair(task, task.groups, config.groups_per_step, config.cells_per_group, n_batches),
        Schedule(
            n_epochs,
            validate_every=0 if validation is None else 1,
            clip_norm=config.clip_norm,
            ema_decay=config.bridge_ema,
        ),
        None if validation is None else Stopping("bridge_validation_score"),
    )


class BridgePlan(StagePlan):
    """Second stage: learn the bridges from control to perturbed cells.

    Parameters
    ----------
    module
        The module; only the bridge's network is trained.
    data
        What to learn from.
    """

    stage = "bridge"
    module: STRANDModule

    def __init__(self, module: STRANDModule, data: BridgeData) -> None:
        super().__init__(module)
        self._data = data

    def on_train_start(self) -> None:
        """Keep dropout out of what is not trained here."""
        self.module.eval()
        self.module.bridge_net.train()

    def training_step(self, batch: Pairs, batch_idx: int) -> torch.Tensor:
        """Squared error of the network at random points of bridges."""
        data, config = self._data, self.module.config
        is_hidden = torch.rand(len(batch.group), 1, generator=data.rng) < config.drop_locus
        vector = torch.where(is_hidden, data.unknown[batch.group], data.vector[batch.group])
        loss = self._compute_loss(batch, vector, data.rng)
        self.log_value("train_loss", loss)
        return loss

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        """The same on held-out conditions, always at the same points, as a score."""
        if self._data.validation is None:
            return
        generator = torch.Generator().manual_seed(self._data.seed)
        loss = self._compute_loss(*self._data.validation, generator)
        self.log_value("validation_score", -loss)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on the bridge's network alone."""
        config = self.module.config
        weights = self.module.bridge_net.parameters()
        return torch.optim.AdamW(weights, lr=config.bridge_lr, weight_decay=config.weight_decay)

    def _compute_loss(
        self, batch: Pairs, vector: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        module, latents = self.module, self._data.latents
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


def _pair(
    task: Task, groups: Sequence[Group], n_groups: int, n_cells: int, n_batches: int
) -> PairBatches:
    """Draw cells of some groups, with their controls."""
    return PairBatches(
        [rows for *_, rows in groups],
        task.get_controls(groups),
        n_groups=n_groups,
        n_cells=n_cells,
        n_batches=n_batches,
        seed=task.seed,
    )

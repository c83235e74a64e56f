"""One stage of training networks, with the trainer of scvi-tools."""

import logging
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, Self

import lightning.pytorch as pl
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from scvi.model.base import BaseModelClass
from scvi.train import TrainRunner

from scbig._arguments import check_choice, check_flag, check_whole, refuse
from scbig._console import TrainingBar

logger = logging.getLogger(__name__)

History = dict[str, pd.DataFrame]
N_EPOCHS = 20
PATIENCE = 6
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")


@dataclass(frozen=True)
class Hardware:
    """Where to train and whether to show progress, as the trainer of scvi-tools takes it.

    Attributes
    ----------
    accelerator
        ``"cpu"``, ``"gpu"``, ``"mps"`` or ``"auto"``.
    devices
        Number or list of devices, or ``"auto"``.
    use_progress_bar
        Whether anything is shown.
    early_stopping
        Whether stages stop by themselves; otherwise they take all steps. Either way the best
        weights are kept.
    check_val_every_n_epoch
        Epochs between validations; ``None`` for those of the stage.
    batch_size
        Cells of a batch, where a stage learns from single cells; ``None`` for its own number.
    """

    accelerator: str = "auto"
    devices: int | list[int] | str = "auto"
    use_progress_bar: bool = True
    early_stopping: bool = True
    check_val_every_n_epoch: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        check_choice("accelerator", self.accelerator, ACCELERATORS)
        check_flag("use_progress_bar", self.use_progress_bar)
        check_flag("early_stopping", self.early_stopping)
        for name in ("check_val_every_n_epoch", "batch_size"):
            if (value := getattr(self, name)) is not None:
                check_whole(name, value, hint=", or leave it out")
        has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
        is_there = {"gpu": has_gpu, "cuda": torch.cuda.is_available()}
        is_there["mps"] = torch.backends.mps.is_available()
        if not is_there.get(self.accelerator, True):
            raise ValueError(
                f"accelerator={self.accelerator!r}: torch finds no such device on this machine. "
                "Write accelerator='auto', or 'cpu'."
            )
        listed = isinstance(self.devices, list | tuple) and [*self.devices]
        is_index = listed and len(listed) == 1 and isinstance(listed[0], Integral)
        is_index = is_index and (is_there["gpu"] and self.accelerator != "cpu")
        if isinstance(self.devices, bool) or not (self.devices in ("auto", "1", 1) or is_index):
            raise refuse(
                "devices",
                self.devices,
                "'auto' or 1: networks are trained on one device. Another than the first GPU: "
                "accelerator='gpu', devices=[1]",
            )


@dataclass(frozen=True)
class Schedule:
    """How long a stage runs and how a step is taken.

    Attributes
    ----------
    n_epochs
        Largest number of epochs.
    validate_every
        Epochs between validations; 0 for none at all.
    clip_norm
        Largest gradient norm; ``None`` for no clipping.
    accumulation
        Batches whose gradients are summed in a step.
    ema_decay
        Decay of the moving average of the weights; 0 for none.
    """

    n_epochs: int
    validate_every: int = 1
    clip_norm: float | None = None
    accumulation: int = 1
    ema_decay: float = 0.0


@dataclass(frozen=True)
class Stopping:
    """When a stage stops by itself: when the score has not risen for some validations.

    Attributes
    ----------
    monitor
        Name of the logged score; higher is better.
    patience
        Number of validations without a better score.
    initial
        Score of the untrained weights, which are kept when nothing beats them.
    """

    monitor: str
    patience: int = PATIENCE
    initial: float = -math.inf


def plan_epochs(max_steps: int, n_epochs: int = N_EPOCHS) -> tuple[int, int]:
    """Spread steps over epochs, with a validation after each.

    Returns the numbers of epochs and of steps in each; their product is ``max_steps``, rounded up.
    """
    n_steps = math.ceil(max_steps / n_epochs)
    return math.ceil(max_steps / n_steps), n_steps


@dataclass
class StageRunner:
    """Trains stages of one model, and remembers what they logged.

    Parameters
    ----------
    model
        The model; its ``module`` is trained in place.
    hardware
        Where to train.
    bar
        Says which stage runs.

    Attributes
    ----------
    history
        Logged values by name, one row an epoch.
    n_steps
        Steps taken so far.
    """

    model: BaseModelClass
    hardware: Hardware
    bar: TrainingBar = field(default_factory=lambda: TrainingBar("", is_shown=False))
    history: History = field(default_factory=dict)
    n_steps: int = 0

    def run(
        self,
        plan: pl.LightningModule,
        batches: pl.LightningDataModule,
        schedule: Schedule,
        stopping: Stopping | None = None,
    ) -> None:
        """Train one stage.

        Parameters
        ----------
        plan
            What a step does.
        batches
            What it sees.
        schedule
            How long it runs.
        stopping
            When it stops by itself, where something is held out.
        """
        model, hardware = self.model, self.hardware
        if stopping is not None and not hardware.early_stopping:
            stopping = replace(stopping, patience=sys.maxsize)
        every = hardware.check_val_every_n_epoch or schedule.validate_every
        # Once at least, or there would be no best weights; not at all where nothing is held out.
        every = min(every, schedule.n_epochs) if schedule.validate_every else schedule.n_epochs + 1
        stage = getattr(plan, "stage", "networks")
        # What an earlier stage left in evaluation mode would train without its dropout.
        plan.train()
        # scvi-tools appends to the history of the last call, and only for names it had.
        model.is_trained_, model.history_ = False, None
        runner = TrainRunner(
            model,
            training_plan=plan,
            data_splitter=batches,
            max_epochs=schedule.n_epochs,
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            check_val_every_n_epoch=every,
            gradient_clip_val=schedule.clip_norm,
            accumulate_grad_batches=schedule.accumulation,
            # The first, as others must not see weights that are no numbers.
            callbacks=[
                StopAtDivergence(stage),
                *_make_callbacks(schedule, stopping),
                ShowEpochs(self.bar, stage),
            ],
            enable_progress_bar=False,
            log_every_n_steps=1,
        )
        runner()
        self.history |= model.history_ or {}
        self.n_steps += model.trainer.global_step
        # It holds the plan, and with it the data.
        model.trainer = None


def _make_callbacks(schedule: Schedule, stopping: Stopping | None) -> list[Callback]:
    callbacks: list[Callback] = [] if stopping is None else [KeepBest(stopping)]
    if schedule.ema_decay > 0:
        # After KeepBest, which is to see the averaged weights at each validation.
        callbacks.append(EMAWeightAveraging(decay=schedule.ema_decay, use_buffers=False))
    return callbacks


class KeepBest(Callback):
    """Keep the weights with the best validation score, and go back to them at the end."""

    def __init__(self, stopping: Stopping) -> None:
        self.stopping = stopping
        self.best = stopping.initial
        self.n_waited = 0
        self._weights: dict[str, torch.Tensor] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the untrained weights, if they have a score."""
        if self.best > -math.inf:
            self._remember(pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember better weights, and stop when there have been none for long."""
        score = float(trainer.callback_metrics[self.stopping.monitor])
        self.n_waited += 1
        if score > self.best:
            self.best, self.n_waited = score, 0
            self._remember(pl_module)
        trainer.should_stop = trainer.should_stop or self.n_waited >= self.stopping.patience

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go back to the best weights."""
        if self._weights:
            pl_module.load_state_dict(self._weights)
        self._weights = {}

    def _remember(self, pl_module: pl.LightningModule) -> None:
        self._weights = {
            name: weight.detach().clone() for name, weight in pl_module.state_dict().items()
        }


class StopAtDivergence(Callback):
    """Stop a stage whose loss or weights are not finite, at its last weights that were."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._weights: dict[str, torch.Tensor] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the first weights."""
        self._look(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Look at the loss of a step."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, torch.Tensor) and not torch.isfinite(loss).all():
            self._go_back(trainer, pl_module, f"its loss is {loss.mean().item():g}")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the weights before they are scored."""
        self._look(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the weights of an epoch."""
        self._look(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the averaged weights."""
        self._look(trainer, pl_module)
        self._weights = {}

    def _look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        weights = pl_module.state_dict()
        if all(torch.isfinite(weight).all() for weight in weights.values()):
            self._weights = {name: weight.detach().clone() for name, weight in weights.items()}
        else:
            self._go_back(trainer, pl_module, "its weights are not finite")

    def _go_back(self, trainer: pl.Trainer, pl_module: pl.LightningModule, why: str) -> None:
        logger.warning(
            "Training of the stage %r diverged at step %d: %s. It ends there, with its last good "
            "weights. Train again with a smaller learning rate.",
            *(self._stage, trainer.global_step, why),
        )
        trainer.should_stop = True
        if self._weights:
            pl_module.load_state_dict(self._weights)


class ShowEpochs(Callback):
    """Tell the bar of a training which stage runs, and when an epoch is over."""

    def __init__(self, bar: TrainingBar, stage: str) -> None:
        self._bar, self._stage = bar, stage

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin a stage of so many epochs."""
        self._bar.begin(self._stage, trainer.max_epochs or 0)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count an epoch."""
        self._bar.advance()


class StagePlan(pl.LightningModule):
    """A training step of a stage: what all of them share.

    Parameters
    ----------
    module
        The networks.
    validate
        Returns their score on what is held out; ``None`` where a subclass scores a batch.
    """

    #: Name of the stage, with which the names of its logged values begin.
    stage: str

    def __init__(
        self, module: torch.nn.Module, validate: Callable[[], float] | None = None
    ) -> None:
        super().__init__()
        self.module = module
        self._validate = validate

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        """Score on what is held out.

        Parameters
        ----------
        batch, batch_idx
            What is held out, by its loader.
        """
        if self._validate is not None:
            self.log_value("validation_score", torch.tensor(self._validate()))

    def log_value(self, name: str, value: torch.Tensor, n_cells: int = 1) -> None:
        """Log a value, averaged over the epoch, under the name of the stage.

        Parameters
        ----------
        name, value
            What is logged; the name follows that of the stage.
        n_cells
            Weight of the batch in the mean.
        """
        name = f"{self.stage}_{name}"
        self.log(name, value, on_step=False, on_epoch=True, batch_size=n_cells)


class StageData:
    """What a stage learns from, which stays on the CPU until it is used."""

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        # Weight averaging copies the training plan, and must not copy the data with it.
        return self


def join_histories(earlier: History, later: History) -> History:
    """Append one history to another, with the epochs of each stage counted on.

    Names begin with that of their stage, as in ``"flow_train_loss"``.
    """
    n_epochs: dict[str, int] = {}
    for name, values in earlier.items():
        stage = name.partition("_")[0]
        n_epochs[stage] = max(n_epochs.get(stage, 0), int(values.index.max()) + 1)
    joined = dict(earlier)
    for name, values in later.items():
        values = values.set_axis(values.index + n_epochs.get(name.partition("_")[0], 0))
        values = pd.concat([joined[name], values]) if name in joined else values
        joined[name] = values.rename_axis("epoch")
    return joined

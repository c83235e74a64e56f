"""Training in stages, each with the trainer of scvi-tools."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import lightning.pytorch as pl
import pandas as pd
from lightning.pytorch.callbacks import Callback
from scvi.model.base import BaseModelClass
from scvi.train import TrainRunner

logger = logging.getLogger(__name__)

History = dict[str, pd.DataFrame]


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
        Whether to show a progress bar.
    """

    accelerator: str = "auto"
    devices: int | list[int] | str = "auto"
    use_progress_bar: bool = True


@dataclass(frozen=True)
class Schedule:
    """How long a stage runs and how a step is taken.

    Attributes
    ----------
    max_epochs
        Largest number of epochs.
    validate_every
        Epochs between validations.
    clip_norm
        Largest gradient norm; ``None`` for no clipping.
    accumulation
        Batches whose gradients are summed in a step.
    """

    max_epochs: int
    validate_every: int = 1
    clip_norm: float | None = None
    accumulation: int = 1


def run_stage(
    model: BaseModelClass,
    plan: pl.LightningModule,
    batches: pl.LightningDataModule,
    *,
    schedule: Schedule,
    callbacks: Sequence[Callback],
    hardware: Hardware,
) -> History:
    """Train one stage of a model.

    Parameters
    ----------
    model
        The model; its ``module`` is trained in place.
    plan
        What a step does.
    batches
        What it sees.
    schedule
        How long it runs.
    callbacks
        Further callbacks.
    hardware
        Where to train.

    Returns
    -------
    Logged values by name, one row an epoch.
    """
    # What an earlier stage left in evaluation mode would train without its dropout.
    plan.train()
    # scvi-tools appends to the history of the last call, and only for names it had.
    model.is_trained_, model.history_ = False, None
    runner = TrainRunner(
        model,
        training_plan=plan,
        data_splitter=batches,
        max_epochs=schedule.max_epochs,
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        check_val_every_n_epoch=schedule.validate_every,
        gradient_clip_val=schedule.clip_norm,
        accumulate_grad_batches=schedule.accumulation,
        callbacks=list(callbacks),
        enable_progress_bar=hardware.use_progress_bar,
        log_every_n_steps=1,
    )
    with warnings.catch_warnings():
        # Lightning 2.6 uses a name that torch deprecates; nobody who trains can help it.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
        runner()
    return model.history_ or {}


def join_histories(earlier: History, later: History) -> History:
    """Append one history to another, with the epochs of each stage counted on.

    Parameters
    ----------
    earlier, later
        Logged values by name, indexed by epoch. Names begin with that of their stage, as in
        ``"flow_train_loss"``.

    Returns
    -------
    The values of both.
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

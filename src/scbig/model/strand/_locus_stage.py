"""First training stage of STRAND: mean effects of loci."""

import math
from functools import partial

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from scvi.model.base import BaseModelClass
from torch.utils.data import DataLoader, Dataset, TensorDataset

from scbig.model.strand._components import TokenReader
from scbig.model.strand._score import EffectSet, score
from scbig.model.strand._trainingplan import LocusPlan, LocusTask
from scbig.train import Hardware, History, KeepBest, Schedule, run_stage

N_STEPS_PER_EPOCH = 20
PATIENCE = 6


def fit_loci(
    model: BaseModelClass,
    trained: EffectSet,
    held_out: EffectSet,
    latent_delta: np.ndarray,
    *,
    max_steps: int,
    seed: int,
    hardware: Hardware,
) -> History:
    """Regress the mean effects of training groups on their loci.

    Parameters
    ----------
    model
        The model; its module is trained in place.
    trained, held_out
        Groups to train and to stop on; of the latter there may be none.
    latent_delta
        Latent effects of the training groups, shape ``(n_groups, n_latent)``.
    max_steps
        Largest number of steps, rounded up to whole epochs of 20.
    seed
        Seed of all draws.
    hardware
        Where to train.

    Returns
    -------
    Training history.
    """
    module, config = model.module, model.module.config
    if isinstance(module.reader, TokenReader):
        rows = torch.unique(trained.condition.members[trained.condition.is_member])
        module.reader.set_scale(type(trained.given)(*(part[rows] for part in trained.given)))
    n_epochs = math.ceil(max_steps / N_STEPS_PER_EPOCH)
    return run_stage(
        model,
        LocusPlan(module, _make_task(trained, held_out, latent_delta, seed)),
        _GroupBatches(len(trained), config.conditions_per_step, seed),
        # Never validated, where nothing is held out.
        schedule=Schedule(n_epochs, 1 if len(held_out) else n_epochs + 1, config.clip_norm),
        callbacks=_make_callbacks(config.locus_ema, has_validation=len(held_out) > 0),
        hardware=hardware,
    )


def _make_task(
    trained: EffectSet, held_out: EffectSet, latent_delta: np.ndarray, seed: int
) -> LocusTask:
    n_cells = trained.effects.n_cells
    # Beyond some tens of cells what a locus does is known, and more of them say no more.
    weight = n_cells / (n_cells + np.median(n_cells))
    names = {targets: i for i, targets in enumerate(sorted(set(trained.effects.targets)))}
    return LocusTask(
        given=trained.given,
        condition=trained.condition,
        effect=torch.from_numpy(latent_delta),
        weight=torch.from_numpy((weight / weight.mean()).astype(np.float32)),
        label=torch.tensor([names[targets] for targets in trained.effects.targets]),
        validate=partial(score, held_out=held_out),
        rng=torch.Generator().manual_seed(seed),
    )


def _make_callbacks(decay: float, *, has_validation: bool) -> list[Callback]:
    callbacks: list[Callback] = []
    if has_validation:
        callbacks.append(KeepBest("locus_validation_score", patience=PATIENCE))
    if decay > 0:
        # After KeepBest, which is to see the averaged weights at each validation.
        callbacks.append(EMAWeightAveraging(decay=decay, use_buffers=False))
    return callbacks


class _GroupBatches(LightningDataModule):
    """Random numbers of training groups."""

    def __init__(self, n_groups: int, batch_size: int, seed: int) -> None:
        super().__init__()
        self._drawn = _Drawn(n_groups, min(batch_size, n_groups), seed)

    def train_dataloader(self) -> DataLoader:
        """One epoch of random batches."""
        return DataLoader(self._drawn, batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """One empty batch: what is validated does not depend on a draw."""
        return DataLoader(TensorDataset(torch.zeros(1, 1)))


class _Drawn(Dataset):
    """So many draws, taken one after the other whatever their number."""

    def __init__(self, n_groups: int, batch_size: int, seed: int) -> None:
        self._n_groups, self._batch_size = n_groups, batch_size
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return N_STEPS_PER_EPOCH

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self._rng.choice(self._n_groups, self._batch_size, replace=False))

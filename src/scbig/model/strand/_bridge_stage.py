"""Second training stage of STRAND: bridges from control to perturbed cells."""

import math

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from scvi.model.base import BaseModelClass

from scbig.data import PairBatches, Pairs, Targets
from scbig.model.base import Fold
from scbig.model.strand._blueprint import Blueprint
from scbig.model.strand._module import ConditionInput
from scbig.model.strand._score import embed_all
from scbig.model.strand._trainingplan import BridgePlan, BridgeTask
from scbig.train import Hardware, History, KeepBest, Schedule, run_stage

N_EPOCHS = 20
PATIENCE = 6
N_VALIDATION_GROUPS = 64


class BridgeStage:
    """Prepares the second stage and runs it.

    Parameters
    ----------
    blueprint
        What the model was built from.
    fold
        What to train and to stop on.
    latents
        Latents of all cells, shape ``(n_cells, n_latent)``.
    seed
        Seed of all draws.
    """

    def __init__(self, blueprint: Blueprint, fold: Fold, latents: np.ndarray, seed: int) -> None:
        self.blueprint = blueprint
        self.fold = fold
        self.latents = latents
        self.seed = seed

    def run(self, model: BaseModelClass, *, max_steps: int, hardware: Hardware) -> History:
        """Train the bridge's network.

        Parameters
        ----------
        model
            The model; its module is trained in place.
        max_steps
            Largest number of steps, rounded up to whole epochs.
        hardware
            Where to train.

        Returns
        -------
        Training history.
        """
        config = self.blueprint.config
        n_steps = math.ceil(max_steps / N_EPOCHS)
        n_epochs = math.ceil(max_steps / n_steps)
        task = self._make_task(model)
        batches = self._pair(
            self._get_groups(is_held_out=False), config.groups_per_step, n_batches=n_steps
        )
        has_validation = task.validation is not None
        return run_stage(
            model,
            BridgePlan(model.module, task),
            batches,
            schedule=Schedule(n_epochs, 1 if has_validation else n_epochs + 1, config.clip_norm),
            callbacks=_make_callbacks(config.bridge_ema, has_validation=has_validation),
            hardware=hardware,
        )

    def _make_task(self, model: BaseModelClass) -> BridgeTask:
        groups, module = self._get_groups(is_held_out=False), model.module
        condition = self._make_condition(groups)
        hidden = condition._replace(is_member=torch.zeros_like(condition.is_member))
        return BridgeTask(
            latents=torch.from_numpy(self.latents),
            vector=embed_all(module, self.blueprint.given, condition),
            unknown=embed_all(module, self.blueprint.given, hidden),
            validation=self._make_validation(model),
            rng=torch.Generator().manual_seed(self.seed),
            seed=self.seed,
        )

    def _make_validation(self, model: BaseModelClass) -> tuple[Pairs, torch.Tensor] | None:
        groups = self._get_groups(is_held_out=True)
        if not groups:
            return None
        pairs = self._pair(groups, N_VALIDATION_GROUPS, n_batches=1).draw()
        vector = embed_all(model.module, self.blueprint.given, self._make_condition(groups))
        return pairs, vector[pairs.group]

    def _get_groups(self, *, is_held_out: bool) -> list[tuple[Targets, int, np.ndarray]]:
        held = self.fold.validation
        return [g for g in self.fold.screen.get_groups() if (g[0] in held) is is_held_out]

    def _make_condition(self, groups: list[tuple[Targets, int, np.ndarray]]) -> ConditionInput:
        targets, context, _ = zip(*groups, strict=True)
        return self.blueprint.make_condition(targets, context)

    def _pair(
        self, groups: list[tuple[Targets, int, np.ndarray]], n_groups: int, *, n_batches: int
    ) -> PairBatches:
        screen = self.fold.screen
        controls = [screen.get_controls(i) for i in range(len(screen.contexts))]
        return PairBatches(
            [rows for *_, rows in groups],
            [controls[context] for _, context, _ in groups],
            n_groups=n_groups,
            n_cells=self.blueprint.config.cells_per_group,
            n_batches=n_batches,
            seed=self.seed,
        )


def _make_callbacks(decay: float, *, has_validation: bool) -> list[Callback]:
    callbacks: list[Callback] = []
    if has_validation:
        callbacks.append(KeepBest("bridge_validation_score", patience=PATIENCE))
    if decay > 0:
        callbacks.append(EMAWeightAveraging(decay=decay, use_buffers=False))
    return callbacks

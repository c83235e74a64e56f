"""Second training stage of SCBIG: the anchored flow."""

import logging
import math
from functools import partial

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from scvi.model.base import BaseModelClass

from scbig.data import PairBatches
from scbig.model.base import Fold, is_gain
from scbig.model.scbig._anchor import Anchor
from scbig.model.scbig._blueprint import Blueprint, get_averaging
from scbig.model.scbig._flow_groups import FlowGroups, make_flow_groups
from scbig.model.scbig._score import ValidationSet, predict_effects, score
from scbig.model.scbig._trainingplan import FlowPlan, FlowTask
from scbig.train import Hardware, History, KeepBest, Schedule, run_stage

logger = logging.getLogger(__name__)

N_EPOCHS = 20
PATIENCE = 6
N_ALIGNED_GROUPS = 3
N_ALIGNED_CELLS = 64


class FlowStage:
    """Prepares the second stage and runs it.

    Parameters
    ----------
    blueprint
        What the model was built from.
    fold
        What to train and to stop on.
    anchor
        Regression of the training groups.
    validation
        The held-out groups, of which there may be none.
    latents
        Standardised latents of all cells, shape ``(n_cells, n_latent)``.
    seed
        Seed of all draws.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        fold: Fold,
        anchor: Anchor,
        validation: ValidationSet,
        latents: np.ndarray,
        seed: int,
    ) -> None:
        self.blueprint = blueprint
        self.fold = fold
        self.anchor = anchor
        self.validation = validation
        self.latents = latents
        self.seed = seed

    def run(self, model: BaseModelClass, *, max_steps: int, hardware: Hardware) -> History:
        """Train the condition encoder and the velocity network, and keep them if they help.

        An anchored flow that predicts the held-out groups no better than it did before, by more
        than chance, is put back (:func:`~scbig.model.base.is_gain`).

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
        if not (self._has_validation and config.use_anchor and config.use_gate):
            return self._train(model, max_steps, hardware)
        weights = {name: value.clone() for name, value in model.module.state_dict().items()}
        before = predict_effects(model.module, self.validation)
        history = self._train(model, max_steps, hardware)
        after = predict_effects(model.module, self.validation)
        if not is_gain(before, after, self.validation.effects):
            logger.info("The flow was no gain on the held-out conditions, and is left out.")
            model.module.load_state_dict(weights)
        return history

    def _train(self, model: BaseModelClass, max_steps: int, hardware: Hardware) -> History:
        config = self.blueprint.config
        n_steps = math.ceil(max_steps / N_EPOCHS)
        n_epochs = math.ceil(max_steps / n_steps)
        n_batches = n_steps * config.flow_accumulation
        groups = make_flow_groups(
            self.fold.screen,
            self.anchor,
            self.validation.effects.targets,
            self.blueprint.make_condition,
            np.random.default_rng(self.seed),
        )
        return run_stage(
            model,
            FlowPlan(model.module, self._make_task(groups)),
            self._pair(groups, config.groups_per_step, config.cells_per_group, n_batches),
            schedule=Schedule(
                n_epochs,
                # Never, where nothing is held out.
                validate_every=1 if self._has_validation else n_epochs + 1,
                clip_norm=config.clip_norm,
                accumulation=config.flow_accumulation,
            ),
            callbacks=self._make_callbacks(model),
            hardware=hardware,
        )

    @property
    def _has_validation(self) -> bool:
        return len(self.validation.effects) > 0

    def _make_task(self, groups: FlowGroups) -> FlowTask:
        pathways = self.blueprint.pathways
        control_mean = self.anchor.effects.control_mean[groups.context]
        return FlowTask(
            latents=torch.from_numpy(self.latents),
            condition=groups.condition,
            effect=groups.effect,
            control_mean=torch.from_numpy(control_mean),
            expression=self.fold.expression,
            programs=torch.from_numpy(get_averaging(self.blueprint.programs.labels)),
            pathways=None if pathways is None else torch.from_numpy(pathways),
            draw=self._pair(groups, N_ALIGNED_GROUPS, N_ALIGNED_CELLS, 1).draw,
            validate=partial(score, held_out=self.validation),
            rng=torch.Generator().manual_seed(self.seed),
        )

    def _pair(
        self, groups: FlowGroups, n_groups: int, n_cells: int, n_batches: int
    ) -> PairBatches:
        return PairBatches(
            groups.perturbed,
            groups.controls,
            n_groups=n_groups,
            n_cells=n_cells,
            n_batches=n_batches,
            seed=self.seed,
        )

    def _make_callbacks(self, model: BaseModelClass) -> list[Callback]:
        config = self.blueprint.config
        callbacks: list[Callback] = []
        if self._has_validation:
            # Without training an anchored flow is its anchor; a free one is nothing.
            initial = score(model.module, self.validation) if config.use_anchor else -np.inf
            callbacks.append(KeepBest("flow_validation_score", patience=PATIENCE, initial=initial))
        if config.ema_decay > 0:
            # After KeepBest, which is to see the averaged weights at each validation.
            callbacks.append(EMAWeightAveraging(decay=config.ema_decay, use_buffers=False))
        return callbacks

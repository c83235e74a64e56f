"""Training of DualStreamMamba on a screen, from the anchor to the last refit."""

import logging
import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from scvi.model.base import BaseModelClass

from scbig.baselines import choose_kernel
from scbig.data import Effects, PairBatches, compute_effects
from scbig.model.base import FloorComparison, Fold, compare_with_floors, is_gain, score_effects
from scbig.model.dualstream._anchor import Anchor
from scbig.model.dualstream._blueprint import Blueprint
from scbig.model.dualstream._groups import make_groups
from scbig.model.dualstream._score import (
    ValidationSet,
    make_validation_set,
    predict_effects,
    score,
)
from scbig.model.dualstream._trainingplan import VALIDATION_SCORE, DualStreamPlan, Task
from scbig.train import Hardware, History, KeepBest, Schedule, run_stage

logger = logging.getLogger(__name__)

N_EPOCHS = 20
PATIENCE = 6


@dataclass(frozen=True)
class FitSettings:
    """How a model is fitted.

    Attributes
    ----------
    max_steps
        Largest number of steps of the networks.
    use_refit
        Whether the anchor is fitted once more with the held-out conditions.
    seed
        Seed of everything random.
    hardware
        Where to train.
    """

    max_steps: int
    use_refit: bool
    seed: int
    hardware: Hardware


@dataclass(frozen=True)
class FitResult:
    """What fitting leaves beside a trained module.

    Attributes
    ----------
    anchor
        Regression of the training groups, and of the held-out ones after a refit.
    uses_networks
        Whether the networks predict; otherwise the anchor does alone.
    history
        Training history.
    comparison
        Scores of the model and of the floors on the held-out conditions, before the refit;
        ``None`` when none were held out.
    """

    anchor: Anchor
    uses_networks: bool
    history: History
    comparison: FloorComparison | None


class Fit:
    """Fits a model to a screen.

    Parameters
    ----------
    model
        The model; its module is trained in place.
    blueprint
        What it was built from.
    fold
        Cells, and which conditions are held out.
    settings
        How to fit.
    """

    def __init__(
        self, model: BaseModelClass, blueprint: Blueprint, fold: Fold, settings: FitSettings
    ) -> None:
        self.model = model
        self.blueprint = blueprint
        self.fold = fold
        self.settings = settings

    def run(self) -> FitResult:
        """Fit the anchor, train the networks, keep them if they help, compare, and refit."""
        effects = compute_effects(self.fold.expression, self.fold.screen)
        trained, held_out = self.fold.split(effects)
        anchor = self._make_anchor(trained)
        validation = make_validation_set(
            self.blueprint, self.fold, anchor, held_out, self.settings.seed
        )
        history: History = {}
        if self.settings.max_steps > 0:
            logger.info("Training on %d groups, stopping on %d.", len(trained), len(held_out))
            history = self._train(anchor, validation)
        uses_networks, predicted = self._choose(validation)
        comparison = self._compare(predicted, trained, held_out) if len(held_out) else None
        if self.settings.use_refit and len(held_out):
            anchor = self._make_anchor(effects, anchor)
        return FitResult(anchor, uses_networks, history, comparison)

    def _make_anchor(self, effects: Effects, earlier: Anchor | None = None) -> Anchor:
        blueprint = self.blueprint
        kernel = (
            choose_kernel(effects, blueprint.embeddings.mappings)
            if earlier is None
            else earlier.kernel
        )
        return Anchor(effects, kernel, blueprint.genes, blueprint.config.denoising)

    def _train(self, anchor: Anchor, validation: ValidationSet) -> History:
        config, settings = self.blueprint.config, self.settings
        rng = np.random.default_rng(settings.seed)
        held_out = validation.effects.targets
        groups = make_groups(self.blueprint, self.fold, anchor, held_out, rng)
        n_batches = math.ceil(settings.max_steps / N_EPOCHS)
        n_epochs = math.ceil(settings.max_steps / n_batches)
        task = Task(
            groups=groups,
            expression=self.fold.expression,
            validate=partial(score, held_out=validation),
            n_warm_up=max(n_batches * n_epochs // 2, 1),
            rng=torch.Generator().manual_seed(settings.seed),
        )
        batches = PairBatches(
            groups.perturbed,
            groups.controls,
            n_groups=config.groups_per_step,
            n_cells=config.cells_per_group,
            n_batches=n_batches,
            seed=settings.seed,
        )
        # Never, where nothing is held out.
        every = 1 if len(held_out) else n_epochs + 1
        return run_stage(
            self.model,
            DualStreamPlan(self.model.module, task),
            batches,
            schedule=Schedule(n_epochs, validate_every=every, clip_norm=config.clip_norm),
            callbacks=self._make_callbacks(bool(held_out)),
            hardware=settings.hardware,
        )

    def _make_callbacks(self, is_validated: bool) -> list[Callback]:
        decay = self.blueprint.config.ema_decay
        callbacks: list[Callback] = []
        if is_validated:
            callbacks.append(KeepBest(VALIDATION_SCORE, patience=PATIENCE))
        if decay > 0:
            # After KeepBest, which is to see the averaged weights at each validation.
            callbacks.append(EMAWeightAveraging(decay=decay, use_buffers=False))
        return callbacks

    def _choose(self, validation: ValidationSet) -> tuple[bool, np.ndarray]:
        """Whether the networks are to predict, and what is then predicted."""
        by_anchor, real = validation.anchor_effect, validation.effects
        use_anchor, is_trained = self.blueprint.config.use_anchor, self.settings.max_steps > 0
        if not len(real) or (use_anchor and not is_trained):
            return is_trained or not use_anchor, by_anchor
        by_networks = predict_effects(self.model.module, validation)
        if not use_anchor:
            return True, by_networks
        scores = score_effects(by_anchor, real), score_effects(by_networks, real)
        uses_networks = is_gain(by_anchor, by_networks, real)
        logger.info(
            "Validation Pearson delta: %.4f of the regression alone, %.4f with the networks, "
            "which are %s.",
            *(values.mean() for values in scores),
            "kept" if uses_networks else "left out: no gain beyond chance",
        )
        return uses_networks, by_networks if uses_networks else by_anchor

    def _compare(self, predicted: np.ndarray, trained: Effects, held: Effects) -> FloorComparison:
        # The table given, or else co-expression: what the floors take by themselves.
        tables = self.blueprint.embeddings.mappings[:1]
        return compare_with_floors(type(self.model).__name__, predicted, trained, held, tables)

"""Training of SCBIG on a screen, from the choice of held-out conditions to the last refit."""

import logging
from dataclasses import dataclass

import numpy as np
from scvi.model.base import BaseModelClass

from scbig.baselines import TargetKernel, choose_kernel
from scbig.data import Effects, Expression, compute_effects
from scbig.model.base import FloorComparison, Fold, compare_with_floors
from scbig.model.scbig._anchor import Anchor, join_effects
from scbig.model.scbig._autoencoder import compute_latents, fit_autoencoder
from scbig.model.scbig._blueprint import Blueprint
from scbig.model.scbig._flow import FlowStage
from scbig.model.scbig._score import ValidationSet, make_validation_set, predict_effects
from scbig.train import Hardware, History

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """What fitting leaves beside a trained module.

    Attributes
    ----------
    anchor
        Regression of the training groups, and of the held-out ones after a refit.
    history
        Training history.
    comparison
        Scores of the model and of the floors on the held-out conditions, before the refit;
        ``None`` when none were held out.
    """

    anchor: Anchor
    history: History
    comparison: FloorComparison | None


@dataclass(frozen=True)
class FitSettings:
    """How a model is fitted.

    Attributes
    ----------
    max_epochs
        Largest number of epochs of the autoencoder; 0 keeps the present one, ``None`` takes
        the budget of the model's settings.
    max_steps
        Largest number of steps of the flow.
    use_refit
        Whether the anchor is fitted once more with the held-out conditions.
    seed
        Seed of everything random.
    hardware
        Where to train.
    """

    max_epochs: int | None
    max_steps: int
    use_refit: bool
    seed: int
    hardware: Hardware


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
    earlier
        Anchor of an earlier screen, whose effects are kept, or ``None``.
    settings
        How to fit.
    """

    def __init__(
        self,
        model: BaseModelClass,
        blueprint: Blueprint,
        fold: Fold,
        earlier: Anchor | None,
        settings: FitSettings,
    ) -> None:
        self.model = model
        self.blueprint = blueprint
        self.fold = fold
        self.earlier = earlier
        self.settings = settings

    def run(self) -> FitResult:
        """Run both stages, compare with the floors, and fit once more what can be."""
        settings, fold = self.settings, self.fold
        history: History = {}
        effects = compute_effects(fold.expression, fold.screen)
        earlier = self._get_earlier(effects)
        if settings.max_epochs != 0:
            logger.info("Training the autoencoder on %d cells.", fold.is_trained_on.sum())
            history |= fit_autoencoder(
                self.model,
                fold,
                max_epochs=settings.max_epochs,
                seed=settings.seed,
                hardware=settings.hardware,
            )
        latents = compute_latents(self.model.module, fold.expression)
        latent_effects = compute_effects(Expression(latents), fold.screen)
        trained, held_out = fold.split(effects)
        latent_trained, _ = fold.split(latent_effects)
        kernel = choose_kernel(trained, self.blueprint.embeddings.mappings)
        logger.info("Anchor: %s", kernel.settings)
        anchor = self._make_anchor(trained, latent_trained.delta, kernel, earlier)
        validation = make_validation_set(self.blueprint, fold, anchor, held_out, settings.seed)
        if settings.max_steps > 0:
            logger.info(
                "Training the flow on %d groups of cells, stopping on %d.",
                len(trained),
                len(held_out),
            )
            history |= self._train_flow(anchor, validation, latents)
        comparison = self._compare(anchor, validation) if len(held_out) else None
        if settings.use_refit and len(held_out):
            anchor = self._make_anchor(effects, latent_effects.delta, kernel, earlier)
        return FitResult(anchor, history, comparison)

    def _make_anchor(
        self,
        effects: Effects,
        latent_delta: np.ndarray,
        kernel: TargetKernel,
        earlier: Anchor | None,
    ) -> Anchor:
        if earlier is not None:
            effects = join_effects(earlier.effects, effects)
            latent_delta = np.vstack([earlier.latent_delta, latent_delta])
        blueprint = self.blueprint
        return Anchor(effects, latent_delta, kernel, blueprint.genes, blueprint.config.denoising)

    def _train_flow(
        self, anchor: Anchor, validation: ValidationSet, latents: np.ndarray
    ) -> History:
        settings = self.settings
        stage = FlowStage(self.blueprint, self.fold, anchor, validation, latents, settings.seed)
        return stage.run(self.model, max_steps=settings.max_steps, hardware=settings.hardware)

    def _compare(self, anchor: Anchor, validation: ValidationSet) -> FloorComparison:
        return compare_with_floors(
            type(self.model).__name__,
            predict_effects(self.model.module, validation),
            anchor.effects,
            validation.effects,
            # The table given, or else co-expression: what the floors take by themselves.
            self.blueprint.embeddings.mappings[:1],
        )

    def _get_earlier(self, effects: Effects) -> Anchor | None:
        """Return what is known of groups that are not measured again, be they held out or not."""
        if self.earlier is None:
            return None
        earlier = self.earlier.without(effects)
        if len(earlier.effects) and self.settings.max_epochs != 0:
            raise ValueError(
                f"max_epochs={self.settings.max_epochs} would train the autoencoder again, but "
                f"{len(earlier.effects)} effects of an earlier screen are known in its present "
                "latents only. Leave max_epochs out, or train a new model on both screens."
            )
        return earlier

"""Training of STRAND on a screen, both stages and what is measured after them."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from scvi.model.base import BaseModelClass

from scbig.data import Effects, Expression, compute_effects
from scbig.model.base import FloorComparison, Fold, PrincipalComponents, compare_with_floors
from scbig.model.strand._blueprint import Blueprint
from scbig.model.strand._bridge_stage import BridgeStage
from scbig.model.strand._confidence import Confidence
from scbig.model.strand._locus_stage import fit_loci
from scbig.model.strand._module import STRANDModule
from scbig.model.strand._score import EffectSet, compute_scores, predict_effects
from scbig.train import Hardware, History

# Enough cells to find some tens of components; a large screen is not read whole.
MAX_CELLS = 20_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitSettings:
    """How a model is fitted.

    Attributes
    ----------
    locus_steps, bridge_steps
        Largest numbers of steps of the two stages.
    use_latent
        Keep the latent space as it is.
    seed
        Seed of everything random.
    hardware
        Where to train.
    """

    locus_steps: int
    bridge_steps: int
    use_latent: bool
    seed: int
    hardware: Hardware


@dataclass(frozen=True)
class FitResult:
    """What fitting leaves beside a trained module.

    Attributes
    ----------
    history
        Training history.
    n_steps
        Steps taken in both stages.
    confidence
        Calibration on the held-out conditions; ``None`` where there are too few.
    comparison
        Scores of the model and of the floors on them; ``None`` when none were held out.
    """

    history: History
    n_steps: int
    confidence: Confidence | None
    comparison: FloorComparison | None


def fit(
    model: BaseModelClass, blueprint: Blueprint, fold: Fold, settings: FitSettings
) -> FitResult:
    """Fit a model to a screen.

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

    Returns
    -------
    What is known of the fit.
    """
    module = model.module
    if not settings.use_latent:
        _fit_latent(module, fold, settings.seed)
    latents = compute_latents(module, fold.expression)
    trained, held_out = fold.split(compute_effects(fold.expression, fold.screen))
    latent_effects, _ = fold.split(compute_effects(Expression(latents), fold.screen))
    train_set, held_out_set = (_make_set(blueprint, part) for part in (trained, held_out))
    history: History = {}
    n_steps = 0
    if settings.locus_steps > 0:
        logger.info("Training on %d groups of cells, stopping on %d.", len(trained), len(held_out))
        history |= fit_loci(
            model,
            train_set,
            held_out_set,
            latent_effects.delta,
            max_steps=settings.locus_steps,
            seed=settings.seed,
            hardware=settings.hardware,
        )
        n_steps += model.trainer.global_step
    if settings.bridge_steps > 0 and blueprint.config.transport == "bridge":
        stage = BridgeStage(blueprint, fold, latents, settings.seed)
        history |= stage.run(model, max_steps=settings.bridge_steps, hardware=settings.hardware)
        n_steps += model.trainer.global_step
    return FitResult(history, n_steps, *_judge(model, trained, held_out_set))


def _judge(
    model: BaseModelClass, trained: Effects, held_out: EffectSet
) -> tuple[Confidence | None, FloorComparison | None]:
    if not len(held_out):
        return None, None
    predicted = predict_effects(model.module, held_out)
    comparison = compare_with_floors(
        type(model).__name__, predicted, trained, held_out.effects, ()
    )
    return Confidence.fit(predicted, compute_scores(predicted, held_out.effects)), comparison


def _make_set(blueprint: Blueprint, effects: Effects) -> EffectSet:
    condition = blueprint.make_condition(effects.targets, effects.context)
    # A context without control cells in this screen has no mean here, and no groups either.
    mean = np.nan_to_num(effects.control_mean)
    return EffectSet(replace(effects, control_mean=mean), condition, blueprint.given)


def _fit_latent(module: STRANDModule, fold: Fold, seed: int) -> None:
    if not isinstance(module.latent, PrincipalComponents):
        return
    rows = np.flatnonzero(fold.is_trained_on)
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MAX_CELLS])
    module.latent.fit(fold.expression.rows(rows), seed)


@torch.no_grad()
def compute_latents(module: STRANDModule, expression: Expression) -> np.ndarray:
    """Encode all cells, shape ``(n_cells, n_latent)``."""
    module.eval()
    parts = [
        module.inference(torch.from_numpy(np.ascontiguousarray(x)))["z"].cpu().numpy()
        for _, x in expression.chunks()
    ]
    return np.concatenate(parts)

"""First training stage of SCBIG: the autoencoder, and the scale of its latents."""

import math

import numpy as np
import torch
from scvi.model.base import BaseModelClass

from scbig.data import CellBatches, Expression, compute_group_means
from scbig.model.base import Fold
from scbig.model.scbig._config import SCBIGConfig
from scbig.model.scbig._linear import MAX_CELLS, LinearEncoder
from scbig.model.scbig._module import SCBIGModule
from scbig.model.scbig._trainingplan import AutoencoderPlan
from scbig.train import Hardware, History, KeepBest, Schedule, run_stage

HELD_OUT_CELLS = 0.05
MAX_HELD_OUT_CELLS = 2000
N_VALIDATIONS = 20
PATIENCE = 4


def fit_autoencoder(
    model: BaseModelClass, fold: Fold, *, max_epochs: int | None, seed: int, hardware: Hardware
) -> History:
    """Train encoder and decoder, and set the scale of the latents.

    Parameters
    ----------
    model
        The model.
    fold
        What to train on; it stops on a few held-out cells of the training conditions.
    max_epochs
        Largest number of epochs over all cells; ``None`` takes the budget of the model's
        settings.
    seed
        Seed of the held-out cells and of the order.
    hardware
        Where to train.

    Returns
    -------
    Training history.
    """
    trained_on = np.flatnonzero(fold.is_trained_on)
    cells = np.random.default_rng(seed).permutation(trained_on)
    module = model.module
    module.set_gene_mean(compute_group_means(fold.expression, [trained_on])[0])
    if isinstance(module.encoder, LinearEncoder):
        module.encoder.fit(fold.expression.rows(np.sort(cells[:MAX_CELLS])), seed)
        history: History = {}
    else:
        history = _train(model, fold.expression, cells, max_epochs, seed, hardware)
    latents = compute_latents(module, fold.expression)[trained_on]
    module.set_latent_scale(latents.mean(axis=0), latents.std(axis=0))
    return history


def _train(
    model: BaseModelClass,
    expression: Expression,
    cells: np.ndarray,
    max_epochs: int | None,
    seed: int,
    hardware: Hardware,
) -> History:
    """Train on shuffled cells, of which the first are held out to stop on."""
    n_held_out = min(max(1, round(HELD_OUT_CELLS * len(cells))), MAX_HELD_OUT_CELLS)
    n_epochs, n_batches = plan_epochs(len(cells) - n_held_out, model.module.config, max_epochs)
    batches = CellBatches(
        expression,
        np.sort(cells[n_held_out:]),
        np.sort(cells[:n_held_out]),
        batch_size=model.module.config.cells_per_batch,
        seed=seed,
        n_batches=n_batches,
    )
    return run_stage(
        model,
        AutoencoderPlan(model.module),
        batches,
        schedule=Schedule(n_epochs, validate_every=max(1, n_epochs // N_VALIDATIONS)),
        callbacks=[KeepBest("autoencoder_validation_score", patience=PATIENCE)],
        hardware=hardware,
    )


def plan_epochs(n_cells: int, config: SCBIGConfig, max_epochs: int | None) -> tuple[int, int]:
    """Spread the budget of steps over epochs.

    Parameters
    ----------
    n_cells
        Number of cells to train on.
    config
        The budget.
    max_epochs
        Number of epochs over all cells that the user asked for, or ``None``.

    Returns
    -------
    Number of epochs, and of batches in each.
    """
    n_batches = math.ceil(n_cells / config.cells_per_batch)
    if max_epochs is not None or config.autoencoder_steps < 0:
        return config.autoencoder_epochs if max_epochs is None else max_epochs, n_batches
    n_epochs = min(config.autoencoder_epochs, math.ceil(config.autoencoder_steps / n_batches))
    return n_epochs, min(n_batches, math.ceil(config.autoencoder_steps / n_epochs))


@torch.no_grad()
def compute_latents(module: SCBIGModule, expression: Expression) -> np.ndarray:
    """Encode all cells, shape ``(n_cells, n_latent)``."""
    module.eval()
    latents = np.empty((expression.n_cells, module.config.n_latent), dtype=np.float32)
    for rows, x in expression.chunks():
        latents[rows] = module.inference(torch.from_numpy(np.ascontiguousarray(x)))["z"].cpu()
    return latents

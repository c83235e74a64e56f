"""First training stage of SCBIG: the autoencoder, and the scale of its latents."""

import numpy as np
import torch
from scvi.model.base import BaseModelClass

from scbig.data import CellBatches, Expression, compute_group_means
from scbig.model.scbig._fold import Fold
from scbig.model.scbig._module import SCBIGModule
from scbig.model.scbig._trainingplan import AutoencoderPlan
from scbig.train import Hardware, History, KeepBest, Schedule, run_stage

HELD_OUT_CELLS = 0.05
N_VALIDATIONS = 20
PATIENCE = 4


def fit_autoencoder(
    model: BaseModelClass, fold: Fold, *, max_epochs: int, seed: int, hardware: Hardware
) -> History:
    """Train encoder and decoder, and set the scale of the latents.

    Parameters
    ----------
    model
        The model.
    fold
        What to train on; it stops on a few held-out cells of the training conditions.
    max_epochs
        Largest number of epochs.
    seed
        Seed of the held-out cells and of the order.
    hardware
        Where to train.

    Returns
    -------
    Training history.
    """
    trained_on = np.flatnonzero(fold.is_trained_on)
    model.module.set_gene_mean(compute_group_means(fold.expression, [trained_on])[0])
    cells = np.random.default_rng(seed).permutation(trained_on)
    n_held_out = max(1, round(HELD_OUT_CELLS * len(cells)))
    batches = CellBatches(
        fold.expression,
        np.sort(cells[n_held_out:]),
        np.sort(cells[:n_held_out]),
        batch_size=model.module.config.cells_per_batch,
        seed=seed,
    )
    history = run_stage(
        model,
        AutoencoderPlan(model.module),
        batches,
        schedule=Schedule(
            max_epochs,
            validate_every=max(1, max_epochs // N_VALIDATIONS),
            max_steps=model.module.config.autoencoder_steps,
        ),
        callbacks=[KeepBest("autoencoder_validation_score", patience=PATIENCE)],
        hardware=hardware,
    )
    latents = compute_latents(model.module, fold.expression)[trained_on]
    model.module.set_latent_scale(latents.mean(axis=0), latents.std(axis=0))
    return history


@torch.no_grad()
def compute_latents(module: SCBIGModule, expression: Expression) -> np.ndarray:
    """Encode all cells, shape ``(n_cells, n_latent)``."""
    module.eval()
    latents = np.empty((expression.n_cells, module.config.n_latent), dtype=np.float32)
    for rows, x in expression.chunks():
        latents[rows] = module.inference(torch.from_numpy(np.ascontiguousarray(x)))["z"].cpu()
    return latents

"""Score of SCBIG on held-out conditions, during training."""

from dataclasses import dataclass

import numpy as np
import torch

from scbig.data import Effects
from scbig.metrics import pearson_delta
from scbig.model.base import Fold
from scbig.model.scbig._anchor import Anchor
from scbig.model.scbig._blueprint import Blueprint
from scbig.model.scbig._components import ConditionInput
from scbig.model.scbig._module import SCBIGModule

BATCH_SIZE = 16
N_VALIDATION_CELLS = 64


@dataclass(frozen=True)
class ValidationSet:
    """Held-out conditions and the control cells that they are predicted from.

    Attributes
    ----------
    effects
        Real effects of the held-out groups.
    condition
        The same groups as the module takes them.
    anchor_effect
        Gene effects that the anchor expects, shape ``(n_groups, G)``.
    control_cells
        Some control cells of each context, shape ``(n_contexts, N, G)``.
    """

    effects: Effects
    condition: ConditionInput
    anchor_effect: torch.Tensor
    control_cells: torch.Tensor


def make_validation_set(
    blueprint: Blueprint, fold: Fold, anchor: Anchor, held_out: Effects, seed: int
) -> ValidationSet:
    """Prepare held-out groups for a module.

    Parameters
    ----------
    blueprint
        What the model was built from.
    fold
        The cells to predict from.
    anchor
        Regression of the training groups.
    held_out
        Effects of the held-out groups; may be empty.
    seed
        Seed of the draw of control cells.

    Returns
    -------
    The held-out groups and their control cells.
    """
    screen = fold.screen
    effect, latent = anchor.predict(held_out.targets, held_out.context)
    rng = np.random.default_rng(seed)
    cells = []
    for context in range(len(screen.contexts)):
        controls = screen.get_controls(context)
        # A context of an earlier screen has no cells here, and none to validate on.
        rows = rng.choice(controls, N_VALIDATION_CELLS) if len(controls) else [0]
        cells.append(fold.expression.rows(np.resize(rows, N_VALIDATION_CELLS)))
    return ValidationSet(
        effects=held_out,
        condition=blueprint.make_condition(held_out.targets, held_out.context, latent),
        anchor_effect=torch.from_numpy(effect.astype(np.float32)),
        control_cells=torch.from_numpy(np.stack(cells)),
    )


def score(module: SCBIGModule, held_out: ValidationSet) -> float:
    """Mean ``pearson_delta`` over the held-out groups."""
    control = held_out.effects.control_mean[held_out.effects.context]
    predicted = control + predict_effects(module, held_out)
    return float(np.mean(pearson_delta(held_out.effects.delta + control, predicted, control)))


@torch.no_grad()
def predict_effects(module: SCBIGModule, held_out: ValidationSet) -> np.ndarray:
    """Mean predicted change of the control cells, shape ``(n_groups, G)``."""
    was_training, device = module.training, module.device
    module.eval()
    mean = torch.from_numpy(held_out.effects.control_mean)
    predicted = []
    for groups in torch.arange(len(held_out.effects)).split(BATCH_SIZE):
        context = torch.from_numpy(held_out.effects.context)[groups]
        x = held_out.control_cells[context].to(device)
        cells = module.predict_cells(
            x,
            module.encode(x.flatten(0, 1)).unflatten(0, x.shape[:2]),
            ConditionInput(*(part[groups].to(device) for part in held_out.condition)),
            held_out.anchor_effect[groups].to(device),
            mean[context].to(device),
        )
        predicted.append((cells - x).mean(1).cpu())
    module.train(was_training)
    return torch.cat(predicted).numpy()

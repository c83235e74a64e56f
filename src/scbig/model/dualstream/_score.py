"""Scores of DualStreamMamba on held-out conditions, and what they decide."""

from dataclasses import dataclass

import numpy as np
import torch

from scbig.data import Effects
from scbig.model.base import Fold, score_effects
from scbig.model.dualstream._anchor import Anchor
from scbig.model.dualstream._blueprint import Blueprint
from scbig.model.dualstream._condition import ConditionInput
from scbig.model.dualstream._module import DualStreamModule

N_CONTROL_CELLS = 8
BATCH_SIZE = 64


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
        Effects that the anchor expects, shape ``(n_groups, G)``.
    cells
        Some control cells of the context of each group, shape ``(n_groups, N, G)``.
    """

    effects: Effects
    condition: ConditionInput
    anchor_effect: np.ndarray
    cells: torch.Tensor


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
    effect = anchor.predict(held_out.targets, held_out.context)
    rng = np.random.default_rng(seed)
    rows = [
        rng.choice(fold.screen.get_controls(context), N_CONTROL_CELLS)
        for context in held_out.context.tolist()
    ]
    cells = fold.expression.rows(np.array(rows, dtype=np.int64).ravel())
    return ValidationSet(
        effects=held_out,
        condition=blueprint.make_condition(held_out.targets, held_out.context, effect),
        anchor_effect=effect,
        cells=torch.from_numpy(cells).unflatten(0, (len(held_out), N_CONTROL_CELLS)),
    )


def score(module: DualStreamModule, held_out: ValidationSet) -> float:
    """Mean ``pearson_delta`` over the held-out groups."""
    return float(score_effects(predict_effects(module, held_out), held_out.effects).mean())


@torch.no_grad()
def predict_effects(module: DualStreamModule, held_out: ValidationSet) -> np.ndarray:
    """Predicted effect of each held-out group, mean over its control cells, ``(n_groups, G)``."""
    was_training, device = module.training, module.device
    module.eval()
    group = torch.arange(len(held_out.effects)).repeat_interleave(N_CONTROL_CELLS)
    cells = held_out.cells.flatten(0, 1)
    effects = [
        module.forward_cells(
            cells[rows].to(device), held_out.condition.select(group[rows]).to(device)
        ).effect.cpu()
        for rows in torch.arange(len(group)).split(BATCH_SIZE)
    ]
    module.train(was_training)
    return torch.cat(effects).unflatten(0, held_out.cells.shape[:2]).mean(1).numpy()

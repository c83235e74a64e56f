"""Score of SCBIG on held-out conditions, during training."""

from dataclasses import dataclass

import numpy as np
import torch

from scbig.data import Effects
from scbig.metrics import pearson_delta
from scbig.model.scbig._components import ConditionInput
from scbig.model.scbig._module import SCBIGModule

BATCH_SIZE = 16


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

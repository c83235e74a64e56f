"""Mean effects that STRAND predicts, and their score on held-out conditions."""

from dataclasses import dataclass

import numpy as np
import torch

from scbig.data import Effects
from scbig.metrics import pearson_delta
from scbig.model.strand._components import LocusInput
from scbig.model.strand._module import ConditionInput, STRANDModule
from scbig.model.strand._trainingplan import embed_conditions

N_PER_BATCH = 64


@dataclass(frozen=True)
class EffectSet:
    """Groups of cells with their real effects, as the module takes them.

    Attributes
    ----------
    effects
        Real effects of the groups.
    condition
        The groups.
    given
        What is read of all loci.
    """

    effects: Effects
    condition: ConditionInput
    given: LocusInput

    def __len__(self) -> int:
        return len(self.effects)


@torch.no_grad()
def embed_all(module: STRANDModule, given: LocusInput, condition: ConditionInput) -> torch.Tensor:
    """Turn conditions into vectors ``(B, dim)`` without gradients, a batch at a time."""
    was_training = module.training
    module.eval()
    rows = torch.arange(len(condition.context)).split(N_PER_BATCH)
    parts = [
        embed_conditions(module, given, ConditionInput(*(part[i] for part in condition))).cpu()
        for i in rows
    ]
    module.train(was_training)
    return torch.cat(parts) if parts else torch.empty(0, module.config.dim)


@torch.no_grad()
def predict_effects(module: STRANDModule, held_out: EffectSet) -> np.ndarray:
    """Mean change of genes by the regression of the first stage, shape ``(n_groups, G)``."""
    vector = embed_all(module, held_out.given, held_out.condition).to(module.device)
    mean = torch.from_numpy(held_out.effects.control_mean[held_out.effects.context])
    z = module.latent.encode(mean.to(module.device))
    change = module.latent.decode(z + module.effect(vector)) - module.latent.decode(z)
    return change.cpu().numpy()


def score(module: STRANDModule, held_out: EffectSet) -> float:
    """Mean ``pearson_delta`` over the groups."""
    return float(np.mean(compute_scores(predict_effects(module, held_out), held_out.effects)))


def compute_scores(predicted: np.ndarray, effects: Effects) -> np.ndarray:
    """``pearson_delta`` of each group, for effects ``(n_groups, G)``."""
    control = effects.control_mean[effects.context]
    return pearson_delta(control + effects.delta, control + predicted, control)

"""Training groups as the networks see them: anchored as if they were unseen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from scbig.data import Targets
from scbig.model.base import Fold
from scbig.model.dualstream._anchor import Anchor
from scbig.model.dualstream._blueprint import Blueprint
from scbig.model.dualstream._condition import ConditionInput


@dataclass(frozen=True)
class Groups:
    """Groups of perturbed cells to train on.

    Attributes
    ----------
    perturbed, controls
        Row numbers of the cells of each group, and of the control cells of its context.
    condition
        The groups, with anchors of regressions that have not seen them.
    control_mean
        Mean of the control cells of each group's context, shape ``(n_groups, G)``.
    """

    perturbed: list[np.ndarray]
    controls: list[np.ndarray]
    condition: ConditionInput
    control_mean: torch.Tensor


def make_groups(
    blueprint: Blueprint,
    fold: Fold,
    anchor: Anchor,
    held_out: Sequence[Targets],
    rng: np.random.Generator,
) -> Groups:
    """Anchor each training group as the held-out ones are.

    Where the held-out conditions combine targets that are seen in training, a group's anchor is
    fitted on all other groups; where they have an unseen target, on the groups without one of
    its targets, whose own vector is then left out too. Where both occur, or nothing is held
    out, each group is there in both ways.

    Parameters
    ----------
    blueprint
        What the model was built from.
    fold
        Cells, and which conditions are held out.
    anchor
        Regression on the training groups, in their order in the screen.
    held_out
        Held-out conditions.
    rng
        Draws the target that is left out.

    Returns
    -------
    The groups.
    """
    effects = anchor.effects
    seen = {target for group in effects.targets for target in group}
    kinds = {set(group) <= seen for group in held_out} or {True, False}
    conditions = []
    if True in kinds:
        left = anchor.leave_one_out()
        conditions.append(blueprint.make_condition(effects.targets, effects.context, left))
    if False in kinds:
        chosen = [str(rng.choice(sorted(group))) for group in effects.targets]
        left = anchor.leave_target_out(chosen)
        condition = blueprint.make_condition(effects.targets, effects.context, left)
        conditions.append(condition.forget(effects.targets, chosen))
    screen = fold.screen
    cells = {(group, context): rows for group, context, rows in screen.get_groups()}
    keys = list(zip(effects.targets, effects.context.tolist(), strict=True))
    control_mean = torch.from_numpy(effects.control_mean[effects.context])
    return Groups(
        perturbed=[cells[key] for key in keys] * len(conditions),
        controls=[screen.get_controls(context) for _, context in keys] * len(conditions),
        condition=ConditionInput(*(torch.cat(parts) for parts in zip(*conditions, strict=True))),
        control_mean=control_mean.repeat(len(conditions), 1),
    )

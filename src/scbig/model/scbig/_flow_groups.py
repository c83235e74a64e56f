"""Training groups as the flow sees them: anchored as if they were unseen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from scbig.data import Screen, Targets
from scbig.model.scbig._anchor import Anchor
from scbig.model.scbig._components import ConditionInput

ConditionMaker = Callable[[Sequence[Targets], np.ndarray, np.ndarray], ConditionInput]


@dataclass(frozen=True)
class FlowGroups:
    """Groups of perturbed cells to train the flow on.

    Attributes
    ----------
    perturbed, controls
        Row numbers of the cells of each group, and of the control cells of its context.
    context
        Context of each group, shape ``(n_groups,)``.
    condition
        The groups, with latent anchors of regressions that have not seen them.
    effect
        Gene effects of the same regressions, shape ``(n_groups, G)``.
    """

    perturbed: list[np.ndarray]
    controls: list[np.ndarray]
    context: np.ndarray
    condition: ConditionInput
    effect: torch.Tensor


def make_flow_groups(
    screen: Screen,
    anchor: Anchor,
    held_out: Sequence[Targets],
    make_condition: ConditionMaker,
    rng: np.random.Generator,
) -> FlowGroups:
    """Anchor each training group as the held-out ones are.

    Where the held-out conditions combine targets that are seen in training, a group's anchor is
    fitted on all other groups; where they have an unseen target, on the groups without one of
    its targets, whose own vector is then left out too. Where both occur, or nothing is held
    out, each group is there in both ways.

    Parameters
    ----------
    screen
        Conditions and contexts of all cells.
    anchor
        Regression on the training groups.
    held_out
        Held-out conditions.
    make_condition
        Turns targets, contexts and latent anchors into tensors.
    rng
        Draws the target that is left out.

    Returns
    -------
    The groups.
    """
    groups = [group for group in screen.get_groups() if group[0] not in set(held_out)]
    targets = [group[0] for group in groups]
    context = np.array([group[1] for group in groups], dtype=np.int64)
    seen = {target for group in targets for target in group}
    kinds = {set(group) <= seen for group in held_out} or {True, False}
    rows = anchor.find(targets, context)
    effects, conditions = [], []
    if True in kinds:
        effect, latent = anchor.leave_one_out()
        effects.append(effect[rows])
        conditions.append(make_condition(targets, context, latent[rows]))
    if False in kinds:
        left_out = [str(rng.choice(sorted(group))) for group in anchor.effects.targets]
        effect, latent = anchor.leave_target_out(left_out)
        effects.append(effect[rows])
        condition = make_condition(targets, context, latent[rows])
        conditions.append(_forget(condition, targets, [left_out[row] for row in rows]))
    cells = [group[2] for group in groups]
    controls = {i: screen.get_controls(i) for i in set(context.tolist())}
    return FlowGroups(
        perturbed=cells * len(conditions),
        controls=[controls[i] for i in context.tolist()] * len(conditions),
        context=np.tile(context, len(conditions)),
        condition=ConditionInput(*(torch.cat(parts) for parts in zip(*conditions, strict=True))),
        effect=torch.from_numpy(np.concatenate(effects).astype(np.float32)),
    )


def _forget(
    condition: ConditionInput, targets: Sequence[Targets], left_out: Sequence[str]
) -> ConditionInput:
    """Treat the left-out target of each group as one that was never seen."""
    is_seen = condition.is_seen.clone()
    for row, (group, target) in enumerate(zip(targets, left_out, strict=True)):
        is_seen[row, group.index(target)] = False
    return condition._replace(is_seen=is_seen)

"""A screen divided into conditions to train on and conditions to stop on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scbig.data import Effects, Expression, Screen, Targets


@dataclass(frozen=True)
class Fold:
    """Cells of a screen, and which of its conditions are held out of training.

    Attributes
    ----------
    expression
        Expression of all cells.
    screen
        Condition and context of all cells.
    validation
        Held-out conditions; may be empty.
    """

    expression: Expression
    screen: Screen
    validation: frozenset[Targets]

    @property
    def is_trained_on(self) -> np.ndarray:
        """Mask of the control cells and of the cells of training conditions."""
        is_kept = np.array([group not in self.validation for group in self.screen.conditions])
        return is_kept[self.screen.condition]

    def split(self, effects: Effects) -> tuple[Effects, Effects]:
        """Divide effects into those of training and those of held-out conditions."""
        is_held_out = np.array([group in self.validation for group in effects.targets], dtype=bool)
        return effects.subset(~is_held_out), effects.subset(is_held_out)


def make_fold(expression: Expression, screen: Screen, validation: Sequence[Targets]) -> Fold:
    """Hold conditions out of a screen.

    Parameters
    ----------
    expression, screen
        Cells of a screen.
    validation
        Conditions to hold out; may be empty.

    Returns
    -------
    The divided screen.

    Raises
    ------
    ValueError
        When a condition has no perturbed cells, or none is left to train on.
    """
    known = {targets for targets in screen.conditions if targets}
    unknown = ["+".join(targets) or "control" for targets in validation if targets not in known]
    if unknown:
        raise ValueError(
            f"{len(unknown)} validation condition(s) have no perturbed cells: {unknown[:5]}. "
            f"Choose among {['+'.join(targets) for targets in sorted(known)[:5]]} ..."
        )
    if not known:
        raise ValueError("The screen has control cells only: there is nothing to train on.")
    if not known - set(validation):
        raise ValueError(
            f"All {len(known)} perturbations of the screen are held out for validation; "
            "none is left to train on."
        )
    return Fold(expression, screen, frozenset(validation))

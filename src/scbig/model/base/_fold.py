"""A screen divided into conditions to train on and conditions to stop on."""

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
        Held-out conditions of the screen; may be empty.

    Raises
    ------
    ValueError
        When no perturbation is left to train on.
    """

    expression: Expression
    screen: Screen
    validation: frozenset[Targets]

    def __post_init__(self) -> None:
        known = {targets for targets in self.screen.conditions if targets}
        if not known:
            raise ValueError("The screen has control cells only: there is nothing to train on.")
        if not known - self.validation:
            raise ValueError(
                f"All {len(known)} perturbations of the screen are held out for validation; "
                "none is left to train on."
            )

    @property
    def is_trained_on(self) -> np.ndarray:
        """Mask of the control cells and of the cells of training conditions."""
        is_kept = np.array([group not in self.validation for group in self.screen.conditions])
        return is_kept[self.screen.condition]

    def split(self, effects: Effects) -> tuple[Effects, Effects]:
        """Divide effects into those of training and those of held-out conditions."""
        is_held_out = np.array([group in self.validation for group in effects.targets], dtype=bool)
        return effects.subset(~is_held_out), effects.subset(is_held_out)

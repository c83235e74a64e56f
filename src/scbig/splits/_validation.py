"""Conditions to stop on, chosen from those that may be trained on."""

from collections.abc import Sequence

import numpy as np

from scbig.data import Targets
from scbig.splits._draw import draw

VALIDATION_SHARE = 0.1
MIN_CONDITIONS = 10


def choose_validation(
    conditions: Sequence[Targets], rng: np.random.Generator, share: float = VALIDATION_SHARE
) -> list[Targets]:
    """Hold out a share of the conditions of each number of targets.

    Parameters
    ----------
    conditions
        Distinct target sets, without the control.
    rng
        Source of the choice.
    share
        Share of the conditions with one target, with two and so on to hold out, rounded.

    Returns
    -------
    The chosen conditions; none when there are fewer than 10 to choose from.
    """
    if len(conditions) < MIN_CONDITIONS:
        return []
    chosen: list[Targets] = []
    for size in sorted({len(targets) for targets in conditions}):
        group = [targets for targets in conditions if len(targets) == size]
        chosen.extend(draw(group, round(share * len(group)), rng))
    return chosen

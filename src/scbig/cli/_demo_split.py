"""Which conditions the demo holds out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scbig.data import Targets

SINGLE = "unseen gene"
PAIR = "pair of seen genes"
MIXED = "pair with an unseen gene"
KINDS = (SINGLE, PAIR, MIXED)

UNSEEN_SHARE = 0.2
PAIR_SHARE = 0.3


@dataclass(frozen=True)
class HeldOut:
    """Conditions that are predicted, and what kind of question each asks.

    Attributes
    ----------
    kinds
        Kind of each held-out condition.
    """

    kinds: dict[Targets, str]


def choose_held_out(conditions: Sequence[Targets], rng: np.random.Generator) -> HeldOut:
    """Hold out genes with every condition that contains them, and pairs of the other genes.

    Parameters
    ----------
    conditions
        Target sets of the screen.
    rng
        Source of the choice.

    Returns
    -------
    The held-out conditions by kind.
    """
    genes = sorted({gene for targets in conditions for gene in targets})
    unseen = set(rng.choice(genes, round(UNSEEN_SHARE * len(genes)), replace=False).tolist())
    pairs = [targets for targets in conditions if len(targets) > 1 and not unseen & set(targets)]
    picked = rng.choice(len(pairs), round(PAIR_SHARE * len(pairs)), replace=False)
    kinds = {
        targets: SINGLE if len(targets) == 1 else MIXED
        for targets in conditions
        if unseen & set(targets)
    }
    return HeldOut(kinds | {pairs[i]: PAIR for i in sorted(picked)})

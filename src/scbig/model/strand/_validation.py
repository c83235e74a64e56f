"""Conditions to stop on: whole genes, with everything whose window overlaps."""

from collections.abc import Sequence

import numpy as np

from scbig.data import Targets
from scbig.model.strand._blueprint import Blueprint
from scbig.splits import choose_validation


def choose_validation_loci(
    blueprint: Blueprint, conditions: Sequence[Targets], rng: np.random.Generator
) -> list[Targets]:
    """Hold out about a tenth of the groups of loci, with every condition that has one of them.

    Loci of one gene, or with overlapping windows, are one group (:meth:`scbig.priors.Loci.group`):
    a sister promoter in training would make a held-out locus too easy.

    Parameters
    ----------
    blueprint
        Knows the loci.
    conditions
        Distinct target sets, without the control.
    rng
        Source of the choice.

    Returns
    -------
    The chosen conditions; none when there are fewer than 10 groups to choose from.
    """
    group = blueprint.places.loci.group(blueprint.config.window)
    groups_of = {targets: set(group[blueprint.find(targets)].tolist()) for targets in conditions}
    present = sorted({number for groups in groups_of.values() for number in groups})
    names: list[Targets] = [(str(number),) for number in present]
    chosen = {int(name) for (name,) in choose_validation(names, rng)}
    held = [targets for targets in conditions if groups_of[targets] & chosen]
    # Where all loci lie side by side, their group is the whole screen.
    return held if len(held) < len(conditions) else []

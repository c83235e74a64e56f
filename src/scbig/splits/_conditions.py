"""Conditions as sorted targets, whatever order and separator they were written with."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from scbig.data import ScreenSchema, Targets

# What joins targets in split files and on the command line, whatever the screen writes.
JOIN = "+"


def parse_condition(label: str, schema: ScreenSchema) -> Targets:
    """Read a label of a split file or a command line.

    There ``+`` stands between targets, whatever the screen writes; the separator of the screen
    is read too, and so are ``A+ctrl`` and targets in any order. Where the screen was set up
    without combinations, a label is one target, and a ``+`` in it belongs to its name.

    Parameters
    ----------
    label
        Label such as ``"A+B"``.
    schema
        Conventions of the screen.

    Returns
    -------
    Its targets, sorted; empty for the control.

    Raises
    ------
    ValueError
        When the label, or a part of it, is empty.
    """
    if schema.separator is None:
        return schema.parse(label)
    parts = replace(schema, separator=JOIN).parse(label)
    return tuple(sorted({target for part in parts for target in schema.parse(part)}))


def clean_conditions(conditions: Iterable[Sequence[str]]) -> list[Targets]:
    """Return the distinct perturbed conditions, their targets sorted, in a fixed order."""
    distinct = {tuple(sorted(set(targets))) for targets in conditions} - {()}
    if not distinct:
        raise ValueError("There are no perturbed conditions to split, only control cells.")
    return sorted(distinct, key=lambda targets: (len(targets), targets))


def check_training(task: str, conditions: Collection[Targets], held: Collection[Targets]) -> None:
    """Raise when nothing is left to train on."""
    if not set(conditions) - set(held):
        raise ValueError(
            f"The {task} split would hold out all {len(conditions)} conditions and leave none to "
            "train on. Hold out a smaller share, such as test_share=0.1, val_share=0."
        )

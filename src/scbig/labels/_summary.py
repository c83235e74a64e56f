"""What was read from the labels of a screen, for the log."""

from collections.abc import Mapping

import pandas as pd

from scbig.labels._column import count_cells, shorten
from scbig.labels._contexts import get_context_names
from scbig.labels._schema import ScreenSchema, Targets


def describe_labels(obs: pd.DataFrame, schema: ScreenSchema) -> str:
    """Say what was read from the labels of a screen, in two lines for the log.

    Parameters
    ----------
    obs
        Cell annotations.
    schema
        Where they keep their labels.

    Returns
    -------
    Numbers of control cells, of targets perturbed alone and of combinations, with examples as
    they are written; then the contexts, with the largest first.
    """
    n_cells = count_cells(obs[schema.perturbation_key])
    read = {label: schema.list_targets(label) for label in sorted(n_cells)}
    of_size: dict[int, dict[Targets, str]] = {1: {}, 2: {}}
    for label, targets in read.items():
        if targets:
            of_size[min(len(targets), 2)].setdefault(tuple(sorted(targets)), label)
    controls = [label for label, targets in read.items() if not targets]
    singles, combined = (
        f"{len(found)} {name}{_give_examples(found, schema)}"
        for name, found in zip(("targets alone", "combinations"), of_size.values(), strict=True)
    )
    contexts = get_context_names(obs, schema.context_keys).value_counts()
    shown = ", ".join(f"{name} ({n} cells)" for name, n in contexts.head(4).items())
    rest = f" and {len(contexts) - 4} more" if len(contexts) > 4 else ""
    n_controls, named = sum(n_cells[one] for one in controls), shorten(controls, 3)[1:-1]
    return (
        f"Read {n_controls} control cells ({named}), {singles} and {combined}."
        f"\nIn {len(contexts)} context(s): {shown}{rest}."
    )


def _give_examples(found: Mapping[Targets, str], schema: ScreenSchema, n_shown: int = 3) -> str:
    """Show some labels, with what they are read as where that is something else."""
    shown = [
        repr(label) if label == schema.join(targets) else f"{label!r} is {' and '.join(targets)}"
        for targets, label in list(found.items())[:n_shown]
    ]
    rest = " ..." if len(found) > n_shown else ""
    return f" ({', '.join(shown)}{rest})" if shown else ""

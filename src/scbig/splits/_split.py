"""What is a split, and how does it stand in a file?"""

import json
import logging
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scbig._annotations import check_fields, checked
from scbig._arguments import MAX_SEED, MAX_STEPS, refuse
from scbig._writing import write_text
from scbig.data import ScreenSchema, Targets

logger = logging.getLogger(__name__)

# What joins targets in split files and on the command line, whatever the screen writes.
JOIN = "+"
N_SHOWN = 5
# Written only where they say something.
OPTIONAL = ("context_keys", "test_contexts", "n_cells", "cell_share")
KNOWN = ("test", "val", "train", "task", "seed", *OPTIONAL)
CUSTOM = "custom"
# Files are named after splits.
MAX_NAME = 120


@dataclass(frozen=True)
class Split:
    """Conditions held out of training; all others are trained on.

    A split names conditions, never cells, so that no cell of a tested condition is trained on.
    Where ``cell_share`` is set, a share of the cells of each test condition is held out, and so
    is the same share of the control cells; the others are trained on. It names no cells either:
    which they are follows from their names and the seed, see :func:`get_roles`.

    Attributes
    ----------
    name
        Name of the split, such as ``"unseen_seed0"``.
    task
        The question that it asks: ``"additive"``, ``"unseen"``, ``"context"``, ``"replicate"``,
        ``"low_sample"``, ``"gears"``, ``"seen"``, or ``"custom"`` for a list of your own.
    seed
        Seed that it was drawn with.
    test
        Conditions to predict, each the sorted names of its targets.
    val
        Conditions that training may stop on and settings may be chosen by. With ``cell_share``
        they may be tested, too: these cells are then those that are not held out.
    context_keys
        Columns of ``obs`` that ``test_contexts`` are named after.
    test_contexts
        Contexts in which the test conditions are held out, named as by
        :func:`scbig.data.get_context_names`; none when they are held out everywhere.
    n_cells
        How many cells of each condition that is learned from are kept; ``None`` for all.
    cell_share
        Share of the cells of each test condition, and of the controls, that is held out;
        ``None`` for all cells of the test conditions, and no controls.

    Raises
    ------
    ValueError
        When a condition is named twice, is the control, or is not sorted, when contexts come
        without their columns, or when numbers are out of range.
    """

    name: str
    task: str
    seed: int
    test: tuple[Targets, ...]
    val: tuple[Targets, ...] = ()
    context_keys: tuple[str, ...] = ()
    test_contexts: tuple[str, ...] = ()
    n_cells: int | None = None
    cell_share: float | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            least={"seed": 0, "cell_share": -math.inf},
            most={"seed": MAX_SEED, "n_cells": MAX_STEPS},
        )
        if not 0 < len(self.name.strip()) <= MAX_NAME or set(self.name) & {"/", "\0"}:
            raise refuse("name", self.name, f"a name of 1 to {MAX_NAME} letters without '/'")
        _check_conditions(self.name, "test", self.test)
        _check_conditions(self.name, "val", self.val)
        both = sorted(set(self.test) & set(self.val))
        if both and self.cell_share is None:
            raise ValueError(
                f"Split {self.name!r} has {len(both)} condition(s) in both test and val: "
                f"{join_labels(both)}. Take them out of val."
            )
        if self.test_contexts and not self.context_keys:
            raise ValueError(
                f"Split {self.name!r} has test_contexts={list(self.test_contexts)} but does not "
                "say which columns of obs hold them. Name them: context_keys=('cell_line',)"
            )
        if self.cell_share is not None and not 0 < self.cell_share < 1:
            raise ValueError(
                f"Split {self.name!r} has cell_share={self.cell_share!r}; hold out a share of the "
                "cells between 0 and 1: cell_share=0.5"
            )

    def __str__(self) -> str:
        """Say in one line what is held out."""
        where = f" in {', '.join(self.test_contexts)}" if self.test_contexts else ""
        kept = "" if self.n_cells is None else f"; {self.n_cells} cells of each other condition"
        n_test, n_val = len(self.test), len(self.val)
        if self.cell_share is not None:
            kept = f"; {self.cell_share:.0%} of their cells and of the controls are held out{kept}"
        return f"{self.name}: {n_test} test{where} and {n_val} validation conditions{kept}"

    def get_kind(self, targets: Targets, trained: Collection[str]) -> str:
        """Say what kind of question a condition asks, in the words of GEARS where it is new.

        Parameters
        ----------
        targets
            The condition.
        trained
            Targets that some condition of training contains.

        Returns
        -------
        ``"unseen_single"`` or ``"seen_single"`` for one target; ``"seen0"``, ``"seen1"``,
        ``"seen2"``, ... for a combination of which so many targets are among ``trained``;
        ``"measured"`` where other cells of the condition itself are trained on.
        """
        if self.cell_share is not None:
            return "measured"
        n_seen = sum(target in trained for target in targets)
        if len(targets) == 1:
            return "seen_single" if n_seen else "unseen_single"
        return f"seen{n_seen}"

    def restrict(self, conditions: Collection[Targets]) -> "Split":
        """Leave out held-out conditions that a screen does not have.

        Parameters
        ----------
        conditions
            Conditions of the screen.

        Returns
        -------
        The split without the others.
        """
        test = tuple(targets for targets in self.test if targets in conditions)
        val = tuple(targets for targets in self.val if targets in conditions)
        return replace(self, test=test, val=val)


@checked
def write_splits(path: str | Path, splits: Iterable[Split] | Mapping[str, Split]) -> None:
    """Write splits as JSON.

    Parameters
    ----------
    path
        File to write.
    splits
        Splits with different names, or what :func:`read_splits` returned.

    Returns
    -------
    Nothing.

    Raises
    ------
    ValueError
        When two splits have one name.
    """
    splits = list(splits.values() if isinstance(splits, Mapping) else splits)
    entries = {split.name: _to_entry(split) for split in splits}
    if len(entries) < len(splits):
        raise ValueError(
            f"{len(splits)} splits have only {len(entries)} different names: {list(entries)}. "
            "Rename one: dataclasses.replace(split, name='...')"
        )
    write_text(path, json.dumps(entries, indent=1) + "\n")


@checked
def read_splits(path: str | Path, schema: ScreenSchema) -> dict[str, Split]:
    """Read splits from JSON.

    Parameters
    ----------
    path
        File with ``{"NAME": {"test": [...], "val": [...]}}``. Conditions may be grouped by kind,
        as those of GEARS are. What is listed nowhere is trained on; a list ``"train"`` is only
        compared with the others. With a ``"cell_share"`` so much of the cells is held out.
    schema
        Conventions of the screen, for its labels; see :func:`parse_condition`.

    Returns
    -------
    The splits by name. Task and seed that are not written are taken from names such as
    ``"additive_seed0"``, and are otherwise ``"custom"`` and 0.

    Raises
    ------
    ValueError
        When the file is no JSON, has another form, or trains on what it tests.
    """
    entries = _load(Path(path))
    splits = {name: _to_split(path, name, entry, schema) for name, entry in entries.items()}
    logger.info("Read %d split(s) from %s.", len(splits), path)
    return splits


@checked
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
    if schema.separator is None or label.strip() in schema.names:
        return schema.parse(label)
    # Without names: what is split here is looked at by the schema, part by part.
    parts = replace(schema, separator=JOIN, names=frozenset()).parse(label)
    return tuple(sorted({target for part in parts for target in schema.parse(part)}))


def join_labels(conditions: Sequence[Targets]) -> str:
    """Write the first few conditions for a message."""
    shown = ", ".join(JOIN.join(targets) for targets in conditions[:N_SHOWN])
    n_more = len(conditions) - N_SHOWN
    return f"{shown} and {n_more} more" if n_more > 0 else shown


def is_whole(value: object) -> bool:
    """Whether a value is a whole number; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _check_conditions(name: str, part: str, conditions: Sequence[Targets]) -> None:
    where = f"{part} of split {name!r}"
    if () in conditions:
        raise ValueError(f"{where} names the control, which is shared by all parts. Take it out.")
    for targets in conditions:
        if isinstance(targets, str) or tuple(sorted(set(targets))) != targets:
            raise ValueError(
                f"{where} has {targets!r}; a condition is a sorted tuple of different targets "
                f"such as ('AHR', 'KLF1')."
            )
    if len(set(conditions)) < len(conditions):
        twice = sorted({targets for targets in conditions if conditions.count(targets) > 1})
        raise ValueError(f"{where} names {join_labels(twice)} more than once. Name it once.")


def _to_entry(split: Split) -> dict[str, Any]:
    """Return plain values; labels are written with ``+``, whatever the screen writes."""
    entry: dict[str, Any] = {"task": split.task, "seed": split.seed}
    entry |= {key: getattr(split, key) for key in OPTIONAL if getattr(split, key)}
    return entry | {
        part: [JOIN.join(targets) for targets in getattr(split, part)] for part in ("test", "val")
    }


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of splits at {path}.")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(entries, dict):
        raise ValueError(f"{path} holds a {type(entries).__name__}; splits by name are expected.")
    return entries


def _to_split(path: str | Path, name: str, entry: object, schema: ScreenSchema) -> Split:
    where = f"{path}, split {name!r}"
    if not isinstance(entry, dict) or not set(entry) <= set(KNOWN):
        found = list(entry) if isinstance(entry, dict) else type(entry).__name__
        raise ValueError(f"{where}: holds {found}; keys among {list(KNOWN)} are expected.")
    test, val, train = (
        _parse_list(where, part, entry.get(part, []), schema) for part in ("test", "val", "train")
    )
    share = _read_share(where, entry)
    if share is None and (leaked := sorted((set(test) | set(val)) & set(train))):
        raise ValueError(f"{where}: trains on {join_labels(leaked)}, which it holds out.")
    task, seed = _guess_task(name, is_grouped=isinstance(entry.get("test"), dict))
    if share is not None and task == CUSTOM:
        task = "seen"
    return Split(
        name,
        _read_text(where, "task", entry.get("task", task)),
        _read_number(where, "seed", entry.get("seed", seed)),
        tuple(test),
        tuple(val),
        tuple(_read_list(where, "context_keys", entry.get("context_keys", []))),
        tuple(_read_list(where, "test_contexts", entry.get("test_contexts", []))),
        _read_number(where, "n_cells", entry["n_cells"]) if "n_cells" in entry else None,
        share,
    )


def _parse_list(where: str, part: str, values: object, schema: ScreenSchema) -> list[Targets]:
    if isinstance(values, dict):
        return [t for kind in values.values() for t in _parse_list(where, part, kind, schema)]
    parsed = [parse_condition(label, schema) for label in _read_list(where, part, values)]
    # Files of GEARS list the control among what is trained on.
    return [targets for targets in parsed if targets or part != "train"]


def _read_list(where: str, key: str, values: object) -> list[str]:
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return values
    raise ValueError(f"{where}: {key!r} is {values!r:.80}; a list of strings is expected.")


def _read_text(where: str, key: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{where}: {key!r} is {value!r:.80}; a string is expected.")


def _read_number(where: str, key: str, value: object) -> int:
    if isinstance(value, int) and is_whole(value) and value >= 0:
        return value
    raise ValueError(f"{where}: {key!r} is {value!r:.80}; a whole number is expected.")


def _read_share(where: str, entry: Mapping[str, object]) -> float | None:
    value = entry.get("cell_share")
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise ValueError(f"{where}: 'cell_share' is {value!r:.80}; a number is expected.")


def _guess_task(name: str, *, is_grouped: bool) -> tuple[str, int]:
    if is_grouped:
        return "gears", int(name) if name.isdecimal() else 0
    match = re.fullmatch(r"(additive|unseen|seen)_seed(\d+)", name)
    return (match[1], int(match[2])) if match else (CUSTOM, 0)

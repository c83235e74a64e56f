"""The record of a split: which conditions are held out, and where."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from scbig.data import Targets
from scbig.splits._conditions import JOIN
from scbig.splits._draw import is_whole

N_SHOWN = 5


@dataclass(frozen=True)
class Split:
    """Conditions held out of training; all others are trained on.

    A split names conditions, never cells, so that no cell of a tested condition is trained on.

    Attributes
    ----------
    name
        Name of the split, such as ``"unseen_seed0"``.
    task
        The question that it asks: ``"additive"``, ``"unseen"``, ``"context"``, ``"replicate"``,
        ``"low_sample"``, ``"gears"``, or ``"custom"`` for a list of your own.
    seed
        Seed that it was drawn with.
    test
        Conditions to predict, each the sorted names of its targets.
    val
        Conditions that training may stop on and settings may be chosen by.
    context_keys
        Columns of ``obs`` that ``test_contexts`` are named after.
    test_contexts
        Contexts in which the test conditions are held out, named as by
        :func:`scbig.data.get_context_names`; none when they are held out everywhere.
    n_cells
        How many cells of each condition that is learned from are kept; ``None`` for all.

    Raises
    ------
    ValueError
        When a condition is named twice, is the control, or is not sorted, or when contexts come
        without their columns.
    """

    name: str
    task: str
    seed: int
    test: tuple[Targets, ...]
    val: tuple[Targets, ...] = ()
    context_keys: tuple[str, ...] = ()
    test_contexts: tuple[str, ...] = ()
    n_cells: int | None = None

    def __post_init__(self) -> None:
        _check_conditions(self.name, "test", self.test)
        _check_conditions(self.name, "val", self.val)
        if both := sorted(set(self.test) & set(self.val)):
            raise ValueError(
                f"Split {self.name!r} has {len(both)} condition(s) in both test and val: "
                f"{join_labels(both)}. Take them out of val."
            )
        if self.test_contexts and not self.context_keys:
            raise ValueError(
                f"Split {self.name!r} has test_contexts={list(self.test_contexts)} but does not "
                "say which columns of obs hold them. Name them: context_keys=('cell_line',)"
            )
        if self.n_cells is not None and (not is_whole(self.n_cells) or self.n_cells < 1):
            raise ValueError(
                f"Split {self.name!r} has n_cells={self.n_cells!r}; keep a whole number of "
                "cells of each condition, at least one: n_cells=16"
            )

    def __str__(self) -> str:
        """Say in one line what is held out."""
        where = f" in {', '.join(self.test_contexts)}" if self.test_contexts else ""
        kept = "" if self.n_cells is None else f"; {self.n_cells} cells of each other condition"
        n_test, n_val = len(self.test), len(self.val)
        return f"{self.name}: {n_test} test{where} and {n_val} validation conditions{kept}"

    def get_kind(self, targets: Targets, trained: Collection[str]) -> str:
        """Say what kind of question a condition asks, in the words of GEARS.

        Parameters
        ----------
        targets
            The condition.
        trained
            Targets that some condition of training contains.

        Returns
        -------
        ``"unseen_single"`` or ``"seen_single"`` for one target; ``"seen0"``, ``"seen1"``,
        ``"seen2"``, ... for a combination of which so many targets are among ``trained``.
        """
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


def join_labels(conditions: Sequence[Targets]) -> str:
    """Write the first few conditions for a message."""
    shown = ", ".join(JOIN.join(targets) for targets in conditions[:N_SHOWN])
    n_more = len(conditions) - N_SHOWN
    return f"{shown} and {n_more} more" if n_more > 0 else shown


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

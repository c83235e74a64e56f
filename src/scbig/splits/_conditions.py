"""What is held out: combinations, genes, cells of every condition, or a few to stop on?

Draws are seeded and do not depend on the order of what they draw from.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from scbig._annotations import checked
from scbig._arguments import check_seed, refuse, show
from scbig.data import Targets
from scbig.splits._split import Split

Item = TypeVar("Item", str, Targets)

ADDITIVE_TEST_SHARE = 0.3
ADDITIVE_VAL_SHARE = 0.1
UNSEEN_TEST_SHARE = 0.2
UNSEEN_VAL_SHARE = 0.07
CELL_SHARE = 0.5

# Of conditions that may be trained on.
VALIDATION_SHARE = 0.1
MIN_CONDITIONS = 10

# 0.3 * 130 and the like come out a little beside the whole number that they mean.
ROUNDING = 1e-9
N_SHOWN = 20


@checked
def make_additive(
    conditions: Iterable[Sequence[str]],
    *,
    seed: int = 0,
    test_share: float = ADDITIVE_TEST_SHARE,
    val_share: float = ADDITIVE_VAL_SHARE,
) -> Split:
    """Hold out some combinations, and train on the others and on all singles.

    The question is how effects combine. A combination may be held out whose targets were not
    all perturbed alone; :meth:`Split.get_kind` tells them apart.

    Parameters
    ----------
    conditions
        Conditions of the screen, each its targets; the control (no targets) may be among them.
    seed
        Seed of the draw.
    test_share
        Share of the combinations to test on, rounded down, at least one.
    val_share
        Share of the combinations to stop on, rounded up.

    Returns
    -------
    The split ``"additive_seed0"`` (or which seed it is).

    Raises
    ------
    ValueError
        When there are no combinations or too few, or nothing is left to train on.
    """
    rng = make_generator(seed)
    conditions = clean_conditions(conditions)
    pairs = [targets for targets in conditions if len(targets) > 1]
    if not pairs:
        raise ValueError(
            "There are no combinations to hold out: every condition has one target. Hold out "
            "genes instead, task='unseen'; if labels such as 'A_B' are combinations, name what "
            "joins them: separator='_'"
        )
    n_test, n_val = count_test(test_share, len(pairs)), _count_validation(val_share, len(pairs))
    if n_test + n_val > len(pairs):
        raise ValueError(
            f"{n_test} test and {n_val} validation combinations are wanted, but there are "
            f"{len(pairs)}. Give smaller shares, such as test_share=0.3, val_share=0."
        )
    test = draw(pairs, n_test, rng)
    val = draw(set(pairs) - set(test), n_val, rng)
    check_training("additive", conditions, [*test, *val])
    return Split(f"additive_seed{seed}", "additive", int(seed), tuple(test), tuple(val))


@checked
def make_unseen(
    conditions: Iterable[Sequence[str]],
    *,
    seed: int = 0,
    test_share: float = UNSEEN_TEST_SHARE,
    val_share: float = UNSEEN_VAL_SHARE,
    candidates: Collection[str] | None = None,
) -> Split:
    """Hold out targets: no condition of training or validation contains a tested one.

    Parameters
    ----------
    conditions
        Conditions of the screen, each its targets; the control (no targets) may be among them.
    seed
        Seed of the draw.
    test_share
        Share of the candidates to test on, rounded down, at least one.
    val_share
        Share of the remaining candidates to stop on, rounded up; no condition of training
        contains these either.
    candidates
        Targets that may be held out; all others stay in training. By default those that were
        perturbed alone, or all if none was.

    Returns
    -------
    The split ``"unseen_seed0"`` (or which seed it is).

    Raises
    ------
    ValueError
        When a candidate is no target of the screen, there are too few candidates, or nothing is
        left to train on.
    """
    rng = make_generator(seed)
    conditions = clean_conditions(conditions)
    candidates = _get_candidates(conditions, candidates)
    n_test = count_test(test_share, len(candidates))
    n_val = _count_validation(val_share, max(0, len(candidates) - n_test))
    if n_test + n_val >= len({target for targets in conditions for target in targets}):
        raise ValueError(
            f"Too few targets: {n_test} to test on and {n_val} to stop on leave none of the "
            f"{len(candidates)} candidates to train on. Hold out fewer, such as "
            "test_share=0.1, val_share=0."
        )
    test_targets = draw(candidates, n_test, rng)
    val_targets = draw(set(candidates) - set(test_targets), n_val, rng)
    test = _get_containing(conditions, test_targets)
    val = [t for t in _get_containing(conditions, val_targets) if t not in set(test)]
    check_training("unseen", conditions, [*test, *val])
    return Split(f"unseen_seed{seed}", "unseen", int(seed), tuple(test), tuple(val))


@checked
def make_low_sample(
    conditions: Iterable[Sequence[str]],
    n_cells: int,
    *,
    seed: int = 0,
    test_share: float | None = None,
    candidates: Collection[str] | None = None,
) -> Split:
    """Keep ``n_cells`` cells of each condition that is learned from.

    The tested conditions keep all their cells and are those of :func:`make_additive` with the
    same seed, or of :func:`make_unseen` where the screen has no combinations; so scores with 8,
    16, 32 and 64 cells can be compared with each other and with those of all cells. Control
    cells are all kept. Validation conditions are cut down too, as a model may be refitted on
    them. The cells of a smaller ``n_cells`` are among those of a larger one.

    Parameters
    ----------
    conditions
        Conditions of the screen, each its targets; the control (no targets) may be among them.
    n_cells
        Cells kept of each condition; a condition with fewer keeps what it has.
    seed
        Seed of the draw of conditions, and in :func:`assign_split` of cells.
    test_share
        Share to test on; by default that of the other split.
    candidates
        Targets that may be held out, for screens without combinations; see :func:`make_unseen`.

    Returns
    -------
    The split ``"low_sample16_seed0"`` (or which numbers they are).

    Raises
    ------
    ValueError
        When ``n_cells`` is below 1, ``candidates`` are given for a screen with combinations, or
        the other split cannot be made.
    """
    conditions = clean_conditions(conditions)
    is_combinatorial = len(conditions[-1]) > 1
    if is_combinatorial and candidates is not None:
        raise ValueError(
            f"candidates={show(candidates)} are targets to hold out, but this screen has "
            "combinations, and those are held out. Leave candidates out."
        )
    if is_combinatorial:
        share = ADDITIVE_TEST_SHARE if test_share is None else test_share
        split = make_additive(conditions, seed=seed, test_share=share)
    else:
        share = UNSEEN_TEST_SHARE if test_share is None else test_share
        split = make_unseen(conditions, seed=seed, test_share=share, candidates=candidates)
    name = f"low_sample{n_cells}_seed{seed}"
    return replace(split, name=name, task="low_sample", n_cells=n_cells)


@checked
def make_seen(
    conditions: Iterable[Sequence[str]],
    *,
    seed: int = 0,
    cell_share: float = CELL_SHARE,
    context_keys: Sequence[str] = (),
) -> Split:
    """Hold out a share of the cells of every condition and of the controls.

    All conditions are trained on and tested. Their means are known, so the question is whether
    predicted cells are distributed as cells are.

    Parameters
    ----------
    conditions
        Conditions to test, each its targets and with at least two cells; the control (no
        targets) may be among them.
    seed
        Seed of the draw of cells, which :func:`get_roles` makes by their names.
    cell_share
        Share of the cells of each condition and of the controls to hold out, in each context.
    context_keys
        Columns of ``obs`` that make up a context.

    Returns
    -------
    The split ``"seen_seed0"`` (or which seed it is), without validation conditions.

    Raises
    ------
    ValueError
        When there are no conditions, or the share is not between 0 and 1.
    """
    check_seed(seed)
    keys = (context_keys,) if isinstance(context_keys, str) else tuple(context_keys)
    test = tuple(clean_conditions(conditions))
    name = f"seen_seed{seed}"
    return Split(name, "seen", int(seed), test, context_keys=keys, cell_share=cell_share)


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


def clean_conditions(conditions: Iterable[Sequence[str]]) -> list[Targets]:
    """Return the distinct perturbed conditions, their targets sorted, in a fixed order."""
    listed = list(conditions)
    if text := [one for one in listed if isinstance(one, str)]:
        raise refuse("conditions", text[0], "sets of targets, such as [('AHR',), ('AHR', 'KLF1')]")
    distinct = {tuple(sorted(set(targets))) for targets in listed} - {()}
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


def make_generator(seed: int) -> np.random.Generator:
    """Start the random numbers of one split."""
    check_seed(seed)
    return np.random.default_rng(seed)


def draw(items: Collection[Item], n_drawn: int, rng: np.random.Generator) -> list[Item]:
    """Draw without replacement; sorted, whatever the order of ``items``."""
    ordered = sorted(items)
    picked = rng.choice(len(ordered), n_drawn, replace=False)
    return [ordered[i] for i in sorted(picked)]


def count_test(share: float, n_items: int) -> int:
    """Round a share for testing down, to at least one."""
    _check_share("test", share, is_zero_allowed=False)
    return max(1, math.floor(share * n_items + ROUNDING))


def _count_validation(share: float, n_items: int) -> int:
    """Round a share for validation up, so that small screens have something to stop on."""
    _check_share("stop", share, is_zero_allowed=True)
    return math.ceil(share * n_items - ROUNDING)


def _check_share(verb: str, share: float, *, is_zero_allowed: bool) -> None:
    name = "test_share" if verb == "test" else "val_share"
    if not 0 <= share <= 1 or (share == 0 and not is_zero_allowed):
        least = "from 0" if is_zero_allowed else "above 0 and up"
        raise ValueError(
            f"The share to {verb} on is {share!r}. Give a number {least} to 1, {name}=0.1."
        )


def _get_candidates(
    conditions: Sequence[Targets], candidates: Collection[str] | None
) -> list[str]:
    known = {target for targets in conditions for target in targets}
    if candidates is None:
        alone = {targets[0] for targets in conditions if len(targets) == 1}
        return sorted(alone or known)
    wanted = {candidates} if isinstance(candidates, str) else set(candidates)
    if unknown := sorted(wanted - known):
        raise ValueError(
            f"{len(unknown)} of the candidates are not targets of this screen: {unknown[:5]}. "
            f"Choose from {sorted(known)[:N_SHOWN]}{' ...' if len(known) > N_SHOWN else ''}."
        )
    if not wanted:
        raise ValueError(
            "candidates is empty. Name targets that may be held out, or None for all."
        )
    return sorted(wanted)


def _get_containing(conditions: Sequence[Targets], held: Collection[str]) -> list[Targets]:
    return [targets for targets in conditions if not set(held).isdisjoint(targets)]

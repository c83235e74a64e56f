"""How is a screen split for a task, and which part does each cell play?"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._annotations import checked
from scbig._arguments import show
from scbig._constants import OBS
from scbig.data import Screen, ScreenSchema, Targets, infer_schema, make_screen
from scbig.labels import check_missing
from scbig.priors import describe_nearest
from scbig.splits._conditions import (
    ADDITIVE_TEST_SHARE,
    CELL_SHARE,
    UNSEEN_TEST_SHARE,
    count_test,
    make_additive,
    make_generator,
    make_low_sample,
    make_seen,
    make_unseen,
)
from scbig.splits._context import make_context, make_replicate
from scbig.splits._gears import make_gears
from scbig.splits._split import Split, join_labels

logger = logging.getLogger(__name__)

ROLES = ("train", "val", "test", "control", "unused")

# The tasks, and what can be set for each.
OPTIONS: dict[str, tuple[str, ...]] = {
    "additive": ("share",),
    "unseen": ("share", "candidates"),
    "context": ("share", "context"),
    "replicate": ("share", "context"),
    "low_sample": ("share", "candidates", "n_cells"),
    "gears": (),
    "seen": ("share",),
}


@checked
def make_split(
    adata: AnnData,
    task: str,
    *,
    seed: int = 0,
    schema: ScreenSchema | None = None,
    candidates: Collection[str] | None = None,
    context: str | None = None,
    share: float | None = None,
    n_cells: int | None = None,
) -> Split:
    """Choose what to hold out of a screen. Nothing is written; see :func:`assign_split`.

    Parameters
    ----------
    adata
        Screen.
    task
        ``"additive"``, ``"unseen"``, ``"context"``, ``"replicate"``, ``"low_sample"``,
        ``"gears"`` or ``"seen"``: see :func:`make_additive` and so on.
    seed
        Seed of the choice.
    schema
        Where the screen keeps its labels; recognised by default. Its ``context_keys`` are the
        contexts of a context split, those within which cells are held out by a split of seen
        conditions, and the batch column of a replicate split.
    candidates
        Targets that may be held out (``"unseen"``; ``"low_sample"`` without combinations).
    context
        The context or batch to hold out; by default the seed chooses it.
    share
        Share to test on; by default that of the task. For ``"seen"`` it is of the cells.
    n_cells
        Cells kept of each condition (``"low_sample"``), such as 8, 16, 32 or 64.

    Returns
    -------
    The split.

    Raises
    ------
    ValueError
        When the task is unknown, an option belongs to another task, or the screen does not have
        what the task needs.
    """
    options = {"candidates": candidates, "context": context, "share": share, "n_cells": n_cells}
    _check_options(task, {name: v for name, v in options.items() if v is not None})
    schema = infer_schema(adata) if schema is None else schema
    if task in ("context", "replicate"):
        return _make_by_context(adata.obs, schema, task, context, seed, share)
    if task == "gears":
        return make_gears(_get_written(adata.obs, schema), seed=seed)
    screen = make_screen(adata.obs, schema)
    if task == "seen":
        return _make_seen(
            screen, schema.context_keys, seed, CELL_SHARE if share is None else share
        )
    conditions = screen.conditions
    if task == "low_sample":
        if n_cells is None:
            raise ValueError("A low_sample split needs a number of cells: n_cells=16")
        return make_low_sample(
            conditions, n_cells, seed=seed, test_share=share, candidates=candidates
        )
    if task == "unseen":
        share = UNSEEN_TEST_SHARE if share is None else share
        return make_unseen(conditions, seed=seed, test_share=share, candidates=candidates)
    share = ADDITIVE_TEST_SHARE if share is None else share
    return make_additive(conditions, seed=seed, test_share=share)


@checked
def assign_split(
    adata: AnnData, split: Split, schema: ScreenSchema, *, key_added: str = OBS.SPLIT
) -> None:
    """Write the part that each cell plays.

    Parameters
    ----------
    adata
        Screen.
    split
        What is held out.
    schema
        Where the screen keeps its labels.
    key_added
        Column of ``obs`` to write.

    Returns
    -------
    Nothing; writes a categorical column with ``"train"``, ``"val"``, ``"test"``, ``"control"``
    and ``"unused"`` (cells that a low-sample split sets aside). Control cells that are held out
    (by a split with a ``cell_share``) are ``"test"``, and their label tells them apart.

    Raises
    ------
    ValueError
        When a condition or context of the split has no cells, or nothing is left to train on.
    """
    roles = get_roles(adata.obs, split, schema)
    adata.obs[key_added] = pd.Categorical(roles, categories=ROLES)
    counts = adata.obs[key_added].value_counts()
    logger.info("%s. Cells: %s.", split, ", ".join(f"{counts[r]:,} {r}" for r in ROLES))


def get_roles(obs: pd.DataFrame, split: Split, schema: ScreenSchema) -> np.ndarray:
    """Find the part that each cell plays, without writing it.

    Where the split holds out a share of the cells, those of each condition and of the controls
    of each context are ranked by a hash of their names and the seed, and the first of them are
    held out: rounded down, at least one, and never all. So they are the same cells whatever
    their order, those of a smaller share are among those of a larger, and further cells move
    few others from one part to the other.

    Parameters
    ----------
    obs
        Cell annotations.
    split
        What is held out.
    schema
        Where the screen keeps its labels.

    Returns
    -------
    One of the values that :func:`assign_split` writes for each cell, shape ``(n_cells,)``.

    Raises
    ------
    ValueError
        As :func:`assign_split`.
    """
    _check_columns(obs, [schema.perturbation_key], "label")
    _check_columns(obs, split.context_keys)
    screen = make_screen(obs, replace(schema, context_keys=split.context_keys))
    _check_contexts(screen, split)
    is_there = _is_one_of(screen.contexts, split.test_contexts or screen.contexts)[screen.context]
    is_test = _is_one_of(screen.conditions, split.test)[screen.condition] & is_there
    is_val = _is_one_of(screen.conditions, split.val)[screen.condition]
    if split.cell_share is not None:
        is_test = _draw_held_out(obs.index, screen, is_test, split.cell_share, split.seed)
    is_test_condition = is_test & ~screen.is_control
    _check_cells(screen, split, is_test_condition)
    roles = np.select(
        [is_test, screen.is_control, is_val], ["test", "control", "val"], "train"
    ).astype(object)
    if not (roles == "train").any():
        raise ValueError(
            f"Split {split.name!r} leaves no perturbed cells to train on. Hold out fewer."
        )
    if split.n_cells is not None:
        roles[_find_unused(obs.index, screen, roles, split.n_cells, split.seed)] = "unused"
    return roles


def _check_options(task: str, given: Mapping[str, object]) -> None:
    if task not in OPTIONS:
        raise ValueError(f"There is no task {task!r}. Choose one of {list(OPTIONS)}.")
    if foreign := [name for name in given if name not in OPTIONS[task]]:
        tasks = [name for name, options in OPTIONS.items() if foreign[0] in options]
        raise ValueError(
            f"{foreign[0]} cannot be set for task {task!r}; it belongs to {tasks}. "
            f"Leave it out: {foreign[0]}={show(given[foreign[0]])}"
        )


def _make_by_context(
    obs: pd.DataFrame,
    schema: ScreenSchema,
    task: str,
    context: str | None,
    seed: int,
    share: float | None,
) -> Split:
    keys = schema.context_keys
    if not keys or (task == "replicate" and len(keys) > 1):
        wanted, example = (
            ("one column", "'batch'") if task == "replicate" else ("columns", "'cell_line'")
        )
        raise ValueError(
            f"A {task} split needs the {wanted} of obs with the contexts, but context_keys is "
            f"{list(keys)}. Name among {list(obs)}, such as context_keys={example}"
        )
    _check_columns(obs, keys)
    screen = make_screen(obs, schema)
    groups = [(targets, screen.contexts[i]) for targets, i, _ in screen.get_groups()]
    if task == "replicate":
        return make_replicate(groups, keys[0], batch=context, seed=seed, share=share)
    return make_context(groups, keys, context=context, seed=seed, share=share)


def _make_seen(screen: Screen, context_keys: tuple[str, ...], seed: int, share: float) -> Split:
    """Test the conditions that have cells for both parts."""
    enough = {targets for targets, _, rows in screen.get_groups() if len(rows) > 1}
    alone = sorted({targets for targets in screen.conditions if targets} - enough)
    if alone:
        logger.info(
            "%d condition(s) have no two cells and are trained on only: %s.",
            len(alone),
            join_labels(alone),
        )
    if not enough:
        raise ValueError("No condition has two cells, one to train on and one to hold out.")
    return make_seen(enough, seed=seed, cell_share=share, context_keys=context_keys)


def _draw_held_out(
    names: pd.Index, screen: Screen, is_candidate: np.ndarray, share: float, seed: int
) -> np.ndarray:
    """Choose cells of each group of candidates, and of the controls beside them, to hold out."""
    _check_names(names)
    digests = (blake2b(f"{seed}:{name}".encode(), digest_size=8).digest() for name in names)
    key = np.frombuffer(b"".join(digests), dtype=">u8")
    found = [(c, rows) for _, c, rows in screen.get_groups() if is_candidate[rows].all()]
    groups = [rows for _, rows in found if len(rows) > 1]
    for context in sorted({c for c, rows in found if len(rows) > 1}):
        controls = screen.get_controls(context)
        if len(controls) < 2:
            raise ValueError(
                f"{screen.contexts[context]!r} has {len(controls)} control cell(s), but some are "
                "trained on and others held out. Leave this context out, or name others in "
                "context_keys."
            )
        groups.append(controls)
    is_held_out = np.zeros(len(names), dtype=bool)
    for rows in groups:
        n_held_out = min(count_test(share, len(rows)), len(rows) - 1)
        is_held_out[rows[np.argsort(key[rows])[:n_held_out]]] = True
    return is_held_out


def _get_written(obs: pd.DataFrame, schema: ScreenSchema) -> list[Targets]:
    """Read the conditions with their targets in the order in which labels name them."""
    check_missing(obs, (schema.perturbation_key,))
    labels = obs[schema.perturbation_key].astype(str).unique()
    return [tuple(schema.list_targets(label)) for label in labels]


def _check_columns(obs: pd.DataFrame, keys: Iterable[str], what: str = "context") -> None:
    """Raise when columns of labels or contexts are absent."""
    if absent := [key for key in keys if key not in obs]:
        raise ValueError(f"obs has no {what} column(s) {absent}. Columns found: {list(obs)}.")


def _is_one_of(
    items: Sequence[Targets] | Sequence[str], held: Collection[Targets] | Collection[str]
) -> np.ndarray:
    return np.array([item in held for item in items], dtype=bool)


def _check_contexts(screen: Screen, split: Split) -> None:
    if unknown := [name for name in split.test_contexts if name not in screen.contexts]:
        raise ValueError(
            f"Split {split.name!r} tests in {unknown}, but obs columns "
            f"{list(split.context_keys)} have the contexts {list(screen.contexts)}."
        )
    for name in split.test_contexts:
        if not screen.get_controls(screen.contexts.index(name)).size:
            raise ValueError(
                f"Split {split.name!r} tests in {name!r}, which has no control cells to predict "
                "from. Test in another context."
            )


def _check_cells(screen: Screen, split: Split, is_test: np.ndarray) -> None:
    tested = {screen.conditions[i] for i in np.unique(screen.condition[is_test])}
    absent = sorted((set(split.test) - tested) | (set(split.val) - set(screen.conditions)))
    if absent:
        where = f" in {', '.join(split.test_contexts)}" if split.test_contexts else ""
        raise ValueError(
            f"{len(absent)} condition(s) to hold out have no cells{where}: {join_labels(absent)} "
            f"(split {split.name!r}). {_find_meant(absent, screen.conditions)}Check the names, or "
            "leave out what this screen lacks: split = "
            "split.restrict(scbig.data.make_screen(adata.obs, schema).conditions)"
        )


def _find_meant(absent: Sequence[Targets], there: Iterable[Targets]) -> str:
    known = ["+".join(targets) for targets in there if targets]
    return describe_nearest(["+".join(targets) for targets in absent], known)


def _find_unused(
    names: pd.Index, screen: Screen, roles: np.ndarray, n_cells: int, seed: int
) -> np.ndarray:
    """Choose the cells to set aside; by their names, so that their order does not matter."""
    _check_names(names)
    rng = make_generator(seed)
    is_learned = np.isin(roles, ["train", "val"])
    unused = []
    for condition in range(len(screen.conditions)):
        rows = np.flatnonzero(is_learned & (screen.condition == condition))
        rows = rows[names[rows].astype(str).argsort()]
        # A permutation, not a choice, so that fewer cells are a part of more.
        unused.append(rng.permutation(rows)[n_cells:])
    return np.concatenate(unused)


def _check_names(names: pd.Index) -> None:
    if not names.is_unique:
        raise ValueError(
            "obs_names are not unique, but cells are drawn by name. Make them so: "
            "adata.obs_names_make_unique()"
        )

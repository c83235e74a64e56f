"""From a split of conditions to the part that each cell plays."""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._constants import OBS
from scbig.data import Screen, ScreenSchema, Targets, make_screen
from scbig.splits._draw import make_generator
from scbig.splits._split import Split, join_labels

logger = logging.getLogger(__name__)

ROLES = ("train", "val", "test", "control", "unused")


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
    and ``"unused"`` (cells that a low-sample split sets aside).

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
    check_columns(obs, split.context_keys)
    screen = make_screen(obs, replace(schema, context_keys=split.context_keys))
    _check_contexts(screen, split)
    is_there = _is_one_of(screen.contexts, split.test_contexts or screen.contexts)[screen.context]
    is_test = _is_one_of(screen.conditions, split.test)[screen.condition] & is_there
    is_val = _is_one_of(screen.conditions, split.val)[screen.condition]
    _check_cells(screen, split, is_test)
    roles = np.select(
        [screen.is_control, is_test, is_val], ["control", "test", "val"], "train"
    ).astype(object)
    if not (roles == "train").any():
        raise ValueError(
            f"Split {split.name!r} leaves no perturbed cells to train on. Hold out fewer."
        )
    if split.n_cells is not None:
        roles[_find_unused(obs.index, screen, roles, split.n_cells, split.seed)] = "unused"
    return roles


def check_columns(obs: pd.DataFrame, keys: Iterable[str]) -> None:
    """Raise when columns that name contexts are absent."""
    if absent := [key for key in keys if key not in obs]:
        raise ValueError(f"obs has no context column(s) {absent}. Columns found: {list(obs)}.")


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
            f"(split {split.name!r}). Check the names, or leave out what this screen lacks: "
            "split = split.restrict(scbig.data.make_screen(adata.obs, schema).conditions)"
        )


def _find_unused(
    names: pd.Index, screen: Screen, roles: np.ndarray, n_cells: int, seed: int
) -> np.ndarray:
    """Choose the cells to set aside; by their names, so that their order does not matter."""
    if not names.is_unique:
        raise ValueError(
            "obs_names are not unique, but cells are drawn by name. Make them so: "
            "adata.obs_names_make_unique()"
        )
    rng = make_generator(seed)
    is_learned = np.isin(roles, ["train", "val"])
    unused = []
    for condition in range(len(screen.conditions)):
        rows = np.flatnonzero(is_learned & (screen.condition == condition))
        rows = rows[names[rows].astype(str).argsort()]
        # A permutation, not a choice, so that fewer cells are a part of more.
        unused.append(rng.permutation(rows)[n_cells:])
    return np.concatenate(unused)

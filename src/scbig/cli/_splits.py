"""Conditions that options hold out: by name, by a task or by a split file."""

import logging
from collections.abc import Sequence
from itertools import product

import numpy as np
from anndata import AnnData

from scbig.cli._options import Holding, Splitting
from scbig.data import ScreenSchema, Targets
from scbig.splits import Split, get_roles, make_split, parse_condition, read_splits

logger = logging.getLogger(__name__)


def hold_out(
    adata: AnnData, schema: ScreenSchema, holding: Holding
) -> tuple[AnnData, list[Targets] | None]:
    """Drop the cells of held-out conditions, and those that a split sets aside.

    Parameters
    ----------
    adata
        Screen.
    schema
        Where it keeps its labels.
    holding
        What to hold out; labels may name targets in any order.

    Returns
    -------
    The remaining cells, and the validation conditions (``None`` leaves the choice to the model).

    Raises
    ------
    ValueError
        When a condition has no cells, or the split file does not hold the split.
    """
    splits = [_make_named(holding, schema), *read_chosen(holding, schema)]
    roles = np.stack([get_roles(adata.obs, split, schema) for split in splits])
    is_kept = ~np.isin(roles, ["test", "unused"]).any(axis=0)
    if not is_kept.all():
        n_held = len({targets for split in splits for targets in split.test})
        logger.info("Held out %d conditions (%d cells).", n_held, np.sum(~is_kept))
        # A copy of the rows also drops the categories that are now empty.
        adata = adata[is_kept].copy()
    return adata, _join_validation(splits) or None


def _join_validation(splits: Sequence[Split]) -> list[Targets]:
    tested = {targets for split in splits for targets in split.test}
    validation = dict.fromkeys(targets for split in splits for targets in split.val)
    if both := ["+".join(targets) for targets in validation if targets in tested]:
        raise ValueError(f"{both[:5]} are to be held out and stopped on. Do one of both.")
    return list(validation)


def _make_named(holding: Holding, schema: ScreenSchema) -> Split:
    """Make a split of the conditions that the options name."""
    test, val = (
        tuple(sorted({parse_condition(label, schema) for label in labels}))
        for labels in (holding.hold_out, holding.validation)
    )
    return Split("of the options", "custom", 0, test, val)


def read_chosen(holding: Holding, schema: ScreenSchema) -> list[Split]:
    """Read the split that the options name; none if they name no file."""
    if holding.split_file is None:
        if holding.split is not None:
            raise ValueError(f"--split {holding.split} needs --split-file.")
        return []
    splits = read_splits(holding.split_file, schema)
    if holding.split not in splits:
        raise ValueError(
            f"{holding.split_file} holds no split {holding.split!r}. "
            f"Choose with --split one of {list(splits)[:20]}."
        )
    return [splits[holding.split]]


def get_splits(
    adata: AnnData, schema: ScreenSchema, wanted: Splitting, seeds: Sequence[int]
) -> list[Split]:
    """Make the splits of a task, or read them from a file.

    Parameters
    ----------
    adata
        Screen.
    schema
        Where it keeps its labels.
    wanted
        What was asked for.
    seeds
        A split of the task for each; 0 by default.

    Returns
    -------
    The splits.

    Raises
    ------
    ValueError
        When neither or both are given, or the file has no such split.
    """
    if (wanted.task is None) == (wanted.split_file is None):
        raise ValueError(
            "Say what is held out: --task unseen, or --split-file splits.json, and not both."
        )
    if wanted.split_file is not None:
        return _read(wanted, schema)
    if wanted.split:
        raise ValueError(f"--split {wanted.split[0]} needs --split-file.")
    return [
        make_split(
            adata,
            str(wanted.task),
            seed=seed,
            schema=schema,
            candidates=wanted.candidates or None,
            context=wanted.context,
            share=wanted.share,
            n_cells=n_cells,
        )
        for n_cells, seed in product(wanted.n_cells or (None,), seeds or (0,))
    ]


def _read(wanted: Splitting, schema: ScreenSchema) -> list[Split]:
    splits = read_splits(str(wanted.split_file), schema)
    if unknown := [name for name in wanted.split if name not in splits]:
        raise ValueError(
            f"{wanted.split_file} holds no split {unknown[0]!r}. Choose with --split among "
            f"{list(splits)[:20]}."
        )
    return [splits[name] for name in wanted.split or splits]


def find_context_keys(schema: ScreenSchema, splits: Sequence[Split]) -> tuple[str, ...]:
    """Return the contexts that were asked for, or else those that the splits were made within.

    Raises
    ------
    ValueError
        When the splits were made within different contexts.
    """
    if schema.context_keys:
        return schema.context_keys
    found = dict.fromkeys(split.context_keys for split in splits if split.context_keys)
    if len(found) > 1:
        raise ValueError(
            f"The splits have different contexts: {[list(keys) for keys in found]}. Run those of "
            "one at a time, chosen by --split."
        )
    return next(iter(found), ())

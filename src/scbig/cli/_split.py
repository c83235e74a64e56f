"""Leaving conditions out of training, by name or by a split file."""

import logging
from collections.abc import Sequence

import numpy as np
from anndata import AnnData

from scbig.cli._requests import Holding
from scbig.data import ScreenSchema, Targets
from scbig.splits import Split, get_roles, parse_condition, read_splits

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

"""The split of a screen for a task."""

from collections.abc import Collection

import pandas as pd
from anndata import AnnData

from scbig.data import ScreenSchema, Targets, infer_schema, make_screen
from scbig.splits import _additive, _unseen
from scbig.splits._additive import make_additive
from scbig.splits._assign import check_columns
from scbig.splits._context import make_context, make_replicate
from scbig.splits._gears import make_gears
from scbig.splits._low_sample import make_low_sample
from scbig.splits._split import Split
from scbig.splits._unseen import make_unseen

# The tasks, and what can be set for each.
OPTIONS: dict[str, tuple[str, ...]] = {
    "additive": ("share",),
    "unseen": ("share", "candidates"),
    "context": ("share", "context"),
    "replicate": ("share", "context"),
    "low_sample": ("share", "candidates", "n_cells"),
    "gears": (),
}


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
        ``"additive"``, ``"unseen"``, ``"context"``, ``"replicate"``, ``"low_sample"`` or
        ``"gears"``: see :func:`make_additive` and so on.
    seed
        Seed of the choice.
    schema
        Where the screen keeps its labels; recognised by default. Its ``context_keys`` are the
        contexts of a context split, and the batch column of a replicate split.
    candidates
        Targets that may be held out (``"unseen"``; ``"low_sample"`` without combinations).
    context
        The context or batch to hold out; by default the seed chooses it.
    share
        Share to test on; by default that of the task.
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
    _check_options(task, [name for name, value in options.items() if value is not None])
    schema = infer_schema(adata) if schema is None else schema
    if task in ("context", "replicate"):
        return _make_by_context(adata.obs, schema, task, context, seed, share)
    if task == "gears":
        return make_gears(_get_written(adata.obs, schema), seed=seed)
    conditions = make_screen(adata.obs, schema).conditions
    if task == "low_sample":
        if n_cells is None:
            raise ValueError("A low_sample split needs a number of cells: n_cells=16")
        return make_low_sample(
            conditions, n_cells, seed=seed, test_share=share, candidates=candidates
        )
    if task == "unseen":
        share = _unseen.TEST_SHARE if share is None else share
        return make_unseen(conditions, seed=seed, test_share=share, candidates=candidates)
    share = _additive.TEST_SHARE if share is None else share
    return make_additive(conditions, seed=seed, test_share=share)


def _check_options(task: str, given: Collection[str]) -> None:
    if task not in OPTIONS:
        raise ValueError(f"There is no task {task!r}. Choose one of {list(OPTIONS)}.")
    if foreign := [name for name in given if name not in OPTIONS[task]]:
        tasks = [name for name, options in OPTIONS.items() if foreign[0] in options]
        raise ValueError(
            f"{foreign[0]} cannot be set for task {task!r}; it belongs to {tasks}. Leave it out."
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
    check_columns(obs, keys)
    screen = make_screen(obs, schema)
    groups = [(targets, screen.contexts[i]) for targets, i, _ in screen.get_groups()]
    if task == "replicate":
        return make_replicate(groups, keys[0], batch=context, seed=seed, share=share)
    return make_context(groups, keys, context=context, seed=seed, share=share)


def _get_written(obs: pd.DataFrame, schema: ScreenSchema) -> list[Targets]:
    """Read the conditions with their targets in the order in which labels name them."""
    labels = obs[schema.perturbation_key].dropna().astype(str).unique()
    return [_order(label, schema.parse(label), schema.separator) for label in labels]


def _order(label: str, targets: Targets, separator: str | None) -> Targets:
    parts = [part.strip() for part in (label.split(separator) if separator else [label])]
    return tuple(part for part in parts if part in targets)

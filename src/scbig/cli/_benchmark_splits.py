"""The splits that a benchmark asks for."""

from collections.abc import Sequence
from itertools import product

from anndata import AnnData

from scbig.cli._benchmark_requests import Splitting
from scbig.data import ScreenSchema
from scbig.splits import Split, make_split, read_splits


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

"""What commands read: screens, prior knowledge, what is held out, and what is at --out."""

import logging
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import scanpy as sc
from anndata import AnnData
from scipy import sparse
from threadpoolctl import threadpool_limits

from scbig._constants import COUNTS
from scbig._reading import read_checked, read_h5ad
from scbig.cli._options import Holding, PriorFiles, ScreenFile, Splitting
from scbig.data import ScreenSchema, Targets, from_mudata, get_matrix, holds_counts, is_free
from scbig.priors import (
    Loci,
    TableEncoder,
    load_aliases,
    load_gene_embedding,
    load_gene_sets,
    load_loci,
    load_string,
)
from scbig.splits import Split, get_roles, make_split, parse_condition, read_splits

logger = logging.getLogger(__name__)

N_CHECKED_CELLS = 1000


def read_screen(file: ScreenFile, layer: str | None) -> AnnData:
    """Read a screen.

    Parameters
    ----------
    file
        ``.h5ad`` or ``.h5mu`` file.
    layer
        Layer with the expression; ``None`` for ``X``.

    Returns
    -------
    The screen, in memory.

    Raises
    ------
    ValueError
        When the file has another format, or is to be normalised and holds no counts.
    """
    adata = _read(file)
    logger.info("Read %d cells x %d genes from %s.", *adata.shape, file.path)
    if file.use_normalize:
        _check_normalizable(adata, layer)
        _normalize(adata, layer, file.target_sum)
    return adata


def normalize_counts(
    adata: AnnData, file: ScreenFile, layer: str | None, *, is_log1p: bool = False
) -> None:
    """Normalise expression that is raw counts, in place, although ``--normalize`` was not given.

    Parameters
    ----------
    adata
        Screen, as :func:`read_screen` read it.
    file
        How it was asked to be read.
    layer
        Layer with the expression; ``None`` for ``X``.
    is_log1p
        Take integers for log1p values, and leave them.

    Raises
    ------
    ValueError
        When a sum is given to normalise to, and there are no counts.
    """
    is_there = layer is None or layer in adata.layers
    if file.use_normalize:
        return
    if is_log1p or not is_there or not holds_counts(adata, layer):
        if file.is_sum_given and is_there:
            raise ValueError(
                f"--target-sum would be ignored: {_name(layer)} is read as log1p values, and raw "
                "counts alone are normalised. Leave it out."
            )
        return
    logger.warning(
        "%s holds raw counts, all values are whole: they are normalised, as --normalize says "
        "outright.",
        _name(layer),
    )
    _normalize(adata, layer, file.target_sum)


def _read(file: ScreenFile) -> AnnData:
    if file.path.suffix == ".h5ad":
        return read_h5ad(file.path)
    if file.path.suffix == ".h5mu":
        import mudata

        return from_mudata(read_checked(file.path, mudata.read_h5mu, ".h5mu"), file.modality)
    raise ValueError(f"{file.path} is neither .h5ad nor .h5mu. Convert it with anndata first.")


def _name(layer: str | None) -> str:
    return "X" if layer is None else f"layers[{layer!r}]"


def _check_normalizable(adata: AnnData, layer: str | None) -> None:
    if layer is not None and layer not in adata.layers:
        found = [key for key in adata.layers if key is not None]
        raise ValueError(f"There is no layer {layer!r}. Layers found: {found}.")
    values = _get_values(adata, layer)
    if not np.array_equal(values, np.rint(values)):
        raise ValueError(
            f"--normalize expects raw counts, but {_name(layer)} holds values such as "
            f"{values[values != np.rint(values)][0]:g}. Leave it out if they are log1p values, "
            "or name the layer with the counts: --layer counts."
        )


def _normalize(adata: AnnData, layer: str | None, target_sum: float) -> None:
    """Normalise counts in place, and keep them beside unless they are there."""
    if COUNTS not in adata.layers:
        adata.layers[COUNTS] = get_matrix(adata, layer).copy()
    # numba, in scanpy, would leave all of OpenMP with its own number of threads: it is given back.
    with threadpool_limits(1, "openmp"):
        sc.pp.normalize_total(adata, target_sum=target_sum, layer=layer)
        sc.pp.log1p(adata, layer=layer)
    logger.info("Normalised %s to %g counts a cell, log1p.", _name(layer), target_sum)


def _get_values(adata: AnnData, layer: str | None) -> np.ndarray:
    rows = get_matrix(adata, layer)[:N_CHECKED_CELLS]
    return rows.data if sparse.issparse(rows) else np.asarray(rows)


def read_priors(files: PriorFiles, *, var_names: Sequence[str] | None = None) -> dict[str, Any]:
    """Read the files that are given.

    Parameters
    ----------
    files
        Their paths.
    var_names
        Genes of a screen, to log how many of them each file knows; models say it by themselves.

    Returns
    -------
    What they hold, by the names that models give it.

    Raises
    ------
    ValueError
        When STRING comes with one of its two files only, or a file cannot be read.
    """
    if (files.string_links is None) != (files.string_info is None):
        raise ValueError("STRING has two files: give both --string-links and --string-info.")
    known: dict[str, Any] = {}
    if files.gene_embedding is not None:
        known["gene_embedding"] = load_gene_embedding(files.gene_embedding, var_names=var_names)
    if files.string_links is not None and files.string_info is not None:
        known["gene_graph"] = load_string(
            files.string_links, files.string_info, var_names=var_names
        )
    if files.pathways is not None:
        known["gene_sets"] = load_gene_sets(files.pathways, var_names=var_names)
    if files.aliases is not None:
        known["aliases"] = load_aliases(files.aliases, var_names=var_names)
    if files.loci is not None:
        known["loci"] = _read_loci(files)
    if files.fasta is not None:
        known["fasta"] = files.fasta
    if files.locus_embedding is not None:
        known["encoder"] = TableEncoder(load_gene_embedding(files.locus_embedding))
    return known


def _read_loci(files: PriorFiles) -> Loci:
    if files.loci is None or files.assembly is None or files.coordinates is None:
        raise ValueError(
            "A table of loci says neither which genome it belongs to nor how it counts: give "
            "--assembly hg38 (or another) and --coordinates 0-based (or 1-based)."
        )
    return load_loci(
        files.loci,
        assembly=files.assembly,
        coordinates=files.coordinates,  # type: ignore[arg-type]
    )


def check_out_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise when a folder cannot be written to, or holds something that may not be replaced."""
    if folder.is_file():
        raise FileExistsError(f"{folder} is a file; --out names a folder.")
    if not overwrite and not is_free(folder):
        raise FileExistsError(f"{folder} is not empty. Replace what is there with --overwrite.")


def check_out_file(path: Path, *, overwrite: bool, suffixes: Sequence[str] = (".h5ad",)) -> None:
    """Raise when a file cannot be written, or may not be replaced."""
    if path.suffix not in suffixes:
        raise ValueError(f"--out {path} does not end in {' or '.join(suffixes)}.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists. Replace it with --overwrite.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} to.")


def hold_out(
    adata: AnnData, schema: ScreenSchema, holding: Holding
) -> tuple[AnnData, list[Targets] | None]:
    """Drop the cells that are held out, and those that a split sets aside.

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
        of = "cells of " if any(split.cell_share is not None for split in splits) else ""
        logger.info("Held out %s%d conditions (%d cells).", of, n_held, np.sum(~is_kept))
        # A copy of the rows also drops the categories that are now empty.
        adata = adata[is_kept].copy()
    return adata, _join_validation(splits) or None


def _join_validation(splits: Sequence[Split]) -> list[Targets]:
    # Where cells are held out, the others of a tested condition are there to stop on.
    whole = [split for split in splits if split.cell_share is None]
    tested = {targets for split in whole for targets in split.test}
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
        return _read_split_file(wanted, schema)
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


def _read_split_file(wanted: Splitting, schema: ScreenSchema) -> list[Split]:
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

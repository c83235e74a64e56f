"""What do the judges of the field read? Predicted and real cells as whole counts, in two files."""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from scipy import sparse

from scbig._annotations import checked
from scbig._constants import COUNTS_SUFFIX, JUDGE, SOURCE_SUFFIX
from scbig._writing import replacing
from scbig.data._conventions import infer_schema
from scbig.data._count_units import (
    check_log1p,
    find_count_units,
    get_counts,
    is_counts,
    round_to_counts,
)
from scbig.data._expression import get_gene_names, get_matrix
from scbig.data._fields import check_columns
from scbig.data._screen import make_screen
from scbig.labels import (
    ScreenSchema,
)

logger = logging.getLogger(__name__)

UNS_KEY = "cell_eval"
FindDonors = Callable[[], Mapping[str, np.ndarray]]
_FILES = ("predicted.h5ad", "real.h5ad")


@checked
def to_cell_eval(
    predicted: AnnData,
    real: AnnData | None = None,
    *,
    path: str | PathLike[str],
    layer: str | None = None,
    schema: ScreenSchema | None = None,
    use_overwrite: bool = False,
) -> dict[str, Path]:
    """Write cells for cell-eval2, the judge of the Virtual Cell Challenge, and cell-eval 0.8.2.

    Both read whole counts, the labels in ``obs["target"]``, and control cells that are called
    ``"non-targeting"``. A label that names one gene is that gene (``"A+ctrl"`` becomes ``"A"``).
    They leave the target of a condition out of some scores where its label is a measured gene;
    a combination ``"A+B"`` is none, and keeps both.
    They know no contexts: with ``context_keys`` in the schema ``obs["context"]`` names that of
    each cell, and each context is to be judged by itself, as `scbig benchmark --judge` does.

    The counts of the real cells are ``layers["counts"]``, or the expression itself if it is
    counts, or they are recovered from log1p values (any target sum). Those of the predicted ones
    are ``layers[layer + "_counts"]``, which `predict` writes, or the layer itself if it is counts.
    A prediction without counts (``sampling=False``, or another package's) is **rounded at the
    depth of its source cell**, ``rint(expm1(x) * depth / target_sum)``; the ratio is that of the
    control cell among ``predicted`` that ``obs[layer + "_source"]`` names, and otherwise that of
    the control cells of the context in turn. Which it was is logged and kept in
    ``uns["cell_eval"]``. A denoised mean, rounded, has few genes left: that is what such a judge
    sees of it.

    Parameters
    ----------
    predicted
        Predicted cells, and control cells unless ``real`` has them.
    real
        Measured cells of the same conditions, and their controls. If given, the predicted file
        has these very controls, from which effects are taken then on both sides, and both files
        have the conditions and genes of both, in the order of ``real``.
    path
        Folder for ``predicted.h5ad`` and ``real.h5ad``; made if it is not there.
    layer
        Layer of ``predicted`` with the prediction; ``None`` for ``X``.
    schema
        Where both sides keep their labels, and ``real`` its expression; by default recognised,
        see :func:`infer_schema`.
    use_overwrite
        Replace files that are there.

    Returns
    -------
    The path of each file that was written, by ``"predicted"`` and ``"real"``.

    Raises
    ------
    FileExistsError
        When a file is there.
    ValueError
        When labels, genes, control cells or counts are missing, or expression is neither counts
        nor log1p values (see :func:`check_expression`); the message says what was found.

    Examples
    --------
    >>> import scbig, tempfile
    >>> adata = scbig.data.simulate_screen(n_cells=400, n_genes=60, n_targets=8, n_doubles=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sorted(scbig.data.to_cell_eval(adata, adata, path=folder))
    ['predicted', 'real']
    """
    folder = Path(path)
    files = dict(zip(("predicted", "real"), (folder / name for name in _FILES), strict=True))
    if real is None:
        del files["real"]
    for file in files.values():
        if file.exists() and not use_overwrite:
            raise FileExistsError(f"{file} is there. Replace it with use_overwrite=True.")
    schema = schema or _infer_schema(predicted, real)
    sides = make_judged(predicted, real, schema, layer)
    folder.mkdir(parents=True, exist_ok=True)
    # Both are written before either takes its place: one goes with the other.
    with ExitStack() as both:
        for file, cells in zip(files.values(), sides, strict=False):
            cells.write_h5ad(both.enter_context(replacing(file)))
    return files


def _infer_schema(predicted: AnnData, real: AnnData | None) -> ScreenSchema:
    try:
        return infer_schema(predicted if real is None else real)
    except ValueError as error:
        instead = " The judges compare with control cells. If predicted has none, add them, or "
        instead += "give real=..., which has them."
        name, remedy = ("predicted", instead) if real is None else ("real", "")
        raise ValueError(f"{name}: {error}{remedy}") from error


def make_judged(
    predicted: AnnData,
    real: AnnData | None,
    schema: ScreenSchema,
    layer: str | None,
    truth: AnnData | None = None,
) -> tuple[AnnData, ...]:
    """Make what :func:`to_cell_eval` writes.

    Parameters
    ----------
    predicted, real, schema, layer
        See :func:`to_cell_eval`.
    truth
        What :func:`make_judged_real` made of ``real``, if that is known.

    Returns
    -------
    Predicted cells and, if they were given, real ones: counts in ``X``, and the labels of the
    judges in ``obs["target"]`` and ``obs["context"]``.
    """
    check_columns(predicted, schema, "predicted", layer)
    if real is None:
        counts = _count(predicted, layer, schema, dict)
        return (_check_controls(_label(predicted, schema, *counts), schema, "predicted"),)
    truth = make_judged_real(real, schema) if truth is None else truth
    donors = partial(_find_control_units, real, truth, schema)
    return _match(_label(predicted, schema, *_count(predicted, layer, schema, donors)), truth)


def make_judged_real(real: AnnData, schema: ScreenSchema) -> AnnData:
    """Make what :func:`to_cell_eval` writes of real cells.

    Parameters
    ----------
    real, schema
        See :func:`to_cell_eval`.

    Returns
    -------
    As :func:`make_judged`.
    """
    check_columns(real, schema, "real", schema.layer)
    cells = _label(real, schema, *get_counts(real, schema.layer, "real"))
    return _check_controls(cells, schema, "real")


def _check_controls(cells: AnnData, schema: ScreenSchema, name: str) -> AnnData:
    if not (cells.obs[JUDGE.TARGET] == JUDGE.CONTROL).any():
        instead = ", or give real=..., which has them" if name == "predicted" else ""
        raise ValueError(
            f"{name} has no control cells, with which the judges compare: none is "
            f"{schema.control!r} in obs[{schema.perturbation_key!r}]. Add them{instead}."
        )
    return cells


def _count(
    predicted: AnnData,
    layer: str | None,
    schema: ScreenSchema,
    find_donors: FindDonors,
) -> tuple[sparse.csr_matrix, str]:
    """Return the counts of predicted cells, and how they were had.

    ``find_donors`` says what one count of each real control cell is worth, by context.
    """
    where, matrix = "X" if layer is None else f"layers[{layer!r}]", get_matrix(predicted, layer)
    counts = f"{layer}{COUNTS_SUFFIX}"
    if layer is not None and counts in predicted.layers:
        where, matrix = f"layers[{counts!r}]", predicted.layers[counts]
        if not is_counts(matrix):
            raise ValueError(f"predicted.{where} holds values that are no counts.")
    if is_counts(matrix):
        return sparse.csr_matrix(matrix, dtype=np.float32), where
    if 0 not in matrix.shape and np.isfinite(lowest := matrix.min()) and lowest < 0:
        raise ValueError(
            f"predicted.{where} is neither counts nor log1p values: it reaches from "
            f"{lowest:g} to {matrix.max():g}. Below zero nothing is expressed: "
            f"predicted.{where} = predicted.{where}.clip(min=0)"
        )
    check_log1p(predicted, layer, "predicted")
    units, how = _find_depths(predicted, layer, schema, find_donors)
    logger.info("The judges read counts, which are not there: %s is %s.", where, how)
    return round_to_counts(matrix, units), f"{where} {how}"


def _find_depths(
    predicted: AnnData,
    layer: str | None,
    schema: ScreenSchema,
    find_donors: FindDonors,
) -> tuple[np.ndarray, str]:
    """Find what one count of each predicted cell is worth, ``target_sum / depth``.

    A cell that is log1p of counts has its own depth, another that of its source. Without a source
    control cells of its context stand in, in turn: depths differ then as among real cells.
    """
    screen = make_screen(predicted.obs, schema)
    units = find_count_units(get_matrix(predicted, layer))
    n_own = int((~np.isnan(units)).sum())
    if layer is not None and layer + SOURCE_SUFFIX in predicted.obs:
        sources = predicted.obs[layer + SOURCE_SUFFIX].astype(str)
        rows = np.flatnonzero(np.isnan(units))
        is_told = screen.is_control & ~np.isnan(units)
        # A control cell is its own source; handed out twice, it is as deep.
        told = pd.Series(units[is_told], sources[is_told]).groupby(level=0).first()
        units[rows] = sources.iloc[rows].map(told)
    known = ~np.isnan(units)
    n_source = int(known.sum()) - n_own
    donors = {} if known.all() else find_donors()
    for context, name in enumerate(screen.contexts):
        is_here = screen.context == context
        lacking = np.flatnonzero(is_here & ~known)
        is_donor = is_here & known & (screen.is_control if not n_source else True)
        found = units[is_donor] if is_donor.any() else donors.get(name, np.array([]))
        if len(lacking) and not len(found):
            raise ValueError(
                f"{len(lacking)} predicted cells of {name!r} have no counts, and no control cells "
                "that are log1p of normalised counts tell how deep they are. Give whole counts: "
                f"predicted.layers['{layer or 'NAME'}{COUNTS_SUFFIX}'] = ..."
                + ("" if layer else " beside the log1p values, and name these: layer='NAME'")
            )
        units[lacking] = np.resize(found, len(lacking))
    n_turn = predicted.n_obs - n_own - n_source
    return units, (
        f"taken for counts again in {n_own} cells, rounded at the depth of the source cell in "
        f"{n_source} and at those of control cells in turn in {n_turn}"
    )


def _find_control_units(
    real: AnnData, truth: AnnData, schema: ScreenSchema
) -> dict[str, np.ndarray]:
    """Find what one count of each real control cell is worth, by context.

    ``truth`` has the counts of ``real``, cell by cell.
    """
    screen, matrix = make_screen(real.obs, schema), get_matrix(real, schema.layer)
    if is_counts(matrix):
        return {}
    check_log1p(real[screen.is_control], schema.layer, "real")
    units = {}
    for context, name in enumerate(screen.contexts):
        rows = screen.get_controls(context)
        counts = truth.X[rows].sum(axis=1, dtype=np.float64)
        values = sparse.csr_matrix(matrix[rows], dtype=np.float64).expm1().sum(axis=1)
        is_there = np.ravel(counts) > 0
        units[name] = np.ravel(values)[is_there] / np.ravel(counts)[is_there]
    return units


def _label(
    adata: AnnData, schema: ScreenSchema, counts: sparse.csr_matrix, source: str
) -> AnnData:
    """Put counts, and labels as the judges write them, into an AnnData that has nothing else."""
    screen = make_screen(adata.obs, schema)
    if (JUDGE.CONTROL,) in screen.conditions:
        raise ValueError(
            f"{JUDGE.CONTROL!r} is a perturbation in obs[{schema.perturbation_key!r}], where the "
            f"control is {schema.control!r}; the judges call theirs so. Rename the perturbation."
        )
    labels = [schema.join(targets) if targets else JUDGE.CONTROL for targets in screen.conditions]
    obs = pd.DataFrame(
        {
            JUDGE.TARGET: np.array(labels, dtype=object)[screen.condition],
            JUDGE.CONTEXT: np.array(screen.contexts, dtype=object)[screen.context],
        },
        index=make_index_unique(adata.obs_names.astype(str)),
    )
    var = pd.DataFrame(index=get_gene_names(adata, schema.gene_key).astype(str))
    return AnnData(counts, obs=obs, var=var, uns={UNS_KEY: {"counts": source}})


def _match(predicted: AnnData, real: AnnData) -> tuple[AnnData, AnnData]:
    """Keep what both have, and put the real control cells on both sides."""
    columns = predicted.var_names.get_indexer(real.var_names)
    if missing := list(real.var_names[columns < 0]):
        raise ValueError(
            f"predicted lacks {len(missing)} of the {real.n_vars} genes of real: {missing[:5]}. "
            "Give the genes that both have: "
            "real = real[:, real.var_names.isin(predicted.var_names)].copy()"
        )
    asked, known = (
        pd.MultiIndex.from_frame(side.obs[[JUDGE.TARGET, JUDGE.CONTEXT]])
        for side in (predicted, real)
    )
    both = (
        asked[asked.get_level_values(JUDGE.TARGET) != JUDGE.CONTROL].intersection(known).unique()
    )
    if both.empty:
        raise ValueError(
            f"Nothing that real has is predicted: it has {_list(known)}, predicted {_list(asked)}."
        )
    is_control = (known.get_level_values(JUDGE.TARGET) == JUDGE.CONTROL) & known.get_level_values(
        JUDGE.CONTEXT
    ).isin(both.get_level_values(JUDGE.CONTEXT))
    is_left_out = ~known.isin(both) & (known.get_level_values(JUDGE.TARGET) != JUDGE.CONTROL)
    if is_left_out.any():
        logger.info("Left out, as they are not predicted: %s.", _list(known[is_left_out]))
    is_kept = asked.isin(both)
    obs = pd.concat([predicted.obs[is_kept], real.obs[is_control]])
    obs.index = make_index_unique(obs.index)
    x = sparse.vstack([predicted.X[is_kept][:, columns], real.X[is_control]], format="csr")
    made = AnnData(x, obs=obs, var=real.var, uns=predicted.uns)
    return made, real[known.isin(both) | is_control].copy()


def _list(groups: pd.MultiIndex) -> str:
    found = [f"{target} ({context})" for target, context in groups.unique()]
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")

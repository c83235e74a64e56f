"""Checks of labels and expression at the border: what was found, where, and what mends it."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig.data._expression import CHUNK_SIZE, get_matrix, is_csc
from scbig.data._screen import ScreenSchema, check_missing

logger = logging.getLogger(__name__)

MAX_LOG1P = 20


def check_expression(adata: AnnData, layer: str | None, *, is_log1p: bool = False) -> None:
    """Raise when expression is not finite, is negative, or looks like raw counts.

    Values are read in pieces, so that a backed file is never loaded whole. A piece counts as raw
    counts when all of its values are integers and the largest exceeds 20; log1p values of any
    usual normalisation stay far below that.

    Parameters
    ----------
    adata
        Annotated data; may be backed.
    layer
        Layer to check; ``None`` for ``X``.
    is_log1p
        ``True`` takes integer values for log1p values all the same.

    Returns
    -------
    Nothing; values that pass are log1p values as far as one can see.

    Raises
    ------
    ValueError
        When there is nothing to read, values are not numbers, NaN, infinite or negative, or
        look like raw counts; the message says where, and the line that mends it.
    """
    name = "X" if layer is None else f"layers[{layer!r}]"
    matrix = get_matrix(adata, layer)
    if matrix is None or 0 in matrix.shape:
        shape = "missing" if matrix is None else f"of shape {tuple(matrix.shape)}"
        raise ValueError(f"{name} is {shape}: there is no expression to read.")
    if np.dtype(matrix.dtype).kind not in "iuf":
        raise ValueError(
            f"{name} has dtype {matrix.dtype}; real numbers are expected. Convert it: "
            f"adata.{name} = adata.{name}.astype('float32')"
        )
    largest = 0.0
    for where, values in _iter_values(matrix):
        _check_finite(values, name, where)
        _check_sign(values, name, where, list(filter(None, adata.layers)))
        largest = max(largest, float(values.max()))
        if not is_log1p:
            _check_counts(values, name, where, layer)
    if largest > MAX_LOG1P and not is_log1p:
        logger.warning("%s reaches %g: is it log1p? If not: sc.pp.log1p(adata)", name, largest)


def check_labels(obs: pd.DataFrame, schema: ScreenSchema) -> None:
    """Raise when cells lack a label or a category has no cells."""
    keys = (schema.perturbation_key, *schema.context_keys)
    check_missing(obs, keys)
    for key in keys:
        column = obs[key]
        if isinstance(column.dtype, pd.CategoricalDtype):
            counts = column.value_counts()
            empty = [str(label) for label in counts.index[counts == 0]]
            if empty:
                raise ValueError(
                    f"{len(empty)} categories of obs[{key!r}] have no cells: {empty[:5]}. Drop "
                    f"them: adata.obs[{key!r}] = adata.obs[{key!r}].cat.remove_unused_categories()"
                )


def check_controls(is_control: np.ndarray, contexts: np.ndarray, names: list[str]) -> None:
    """Raise when a context has perturbed cells but no controls to match them with."""
    lacking = sorted(set(contexts[~is_control]) - set(contexts[is_control]))
    if lacking:
        raise ValueError(
            f"{len(lacking)} context(s) have perturbed cells but no control cells: "
            f"{[names[i] for i in lacking[:5]]}. Give fewer context_keys, or drop these cells."
        )


def _iter_values(matrix: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the stored values piece by piece, with the place of the piece; empty ones not."""
    # A piece has about the volume of CHUNK_SIZE cells, along the axis that is cheap to cut.
    by_gene = is_csc(matrix)
    n_cells, n_genes = matrix.shape
    n, step = (
        (n_genes, max(1, n_genes * CHUNK_SIZE // n_cells)) if by_gene else (n_cells, CHUNK_SIZE)
    )
    for start in range(0, n, step):
        stop = min(start + step, n)
        piece = matrix[:, start:stop] if by_gene else matrix[start:stop]
        values = piece.data if sparse.issparse(piece) else np.asarray(piece)
        if values.size:
            yield f"{'genes' if by_gene else 'cells'} {start} to {stop - 1}", values


def _check_finite(values: np.ndarray, name: str, where: str) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        n_nan, n_inf = int(np.isnan(values).sum()), int(np.isinf(values).sum())
        raise ValueError(
            f"{n_nan} NaN and {n_inf} infinite value(s) in {name}, {where}. Drop the cells: "
            f"adata = adata[np.isfinite(np.ravel(adata.{name}.sum(axis=1)))].copy()"
        )


def _check_sign(values: np.ndarray, name: str, where: str, layers: list[str]) -> None:
    if values.min() < 0:
        raise ValueError(
            f"Negative values (smallest {values.min():g}) in {name}, {where}. Scaled or centred "
            "data cannot be used. Name the log1p-normalised layer: layer='...'. "
            f"Layers found: {layers}."
        )


def _check_counts(values: np.ndarray, name: str, where: str, layer: str | None) -> None:
    largest = values.max()
    if largest > MAX_LOG1P and bool(np.all(values == np.rint(values))):
        copy = "" if layer is None else f"adata.X = adata.{name}.copy(); "
        instead = "" if layer is None else " and leave out layer"
        raise ValueError(
            f"{name} holds raw counts: all values of {where} are integers, up to {largest:g}. "
            f"Normalise them: {copy}sc.pp.normalize_total(adata, target_sum=1e4); "
            f"sc.pp.log1p(adata){instead}. If they are log1p values already, say so: is_log1p=True"
        )

"""Checks of user data at the border: each says what was found, where, and what mends it."""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig.data._expression import CHUNK_SIZE, get_matrix
from scbig.data._schema import ScreenSchema

MAX_LOG1P_INTEGER = 20
N_SAMPLED_CELLS = 1000


def check_names(names: pd.Index, where: str = "var_names") -> None:
    """Raise when gene names are empty or occur twice."""
    is_empty = names.isna() | (names.astype(str).str.strip() == "")
    if is_empty.any():
        raise ValueError(
            f"{where} has {int(is_empty.sum())} empty gene name(s), the first at position "
            f"{int(np.argmax(is_empty))}. Drop them: adata = adata[:, {where} != ''].copy()"
        )
    repeated = names[names.duplicated()].unique()
    if len(repeated):
        raise ValueError(
            f"{where} has {len(repeated)} duplicate gene name(s): {list(repeated[:5])}. "
            "Make them unique: adata.var_names_make_unique()"
        )


def check_labels(obs: pd.DataFrame, schema: ScreenSchema) -> None:
    """Raise when cells lack a label or a category has no cells."""
    for key in (schema.perturbation_key, *schema.context_keys):
        column = obs[key]
        if column.isna().any():
            raise ValueError(
                f"obs[{key!r}] is missing for {int(column.isna().sum())} cell(s). "
                f"Drop them: adata = adata[adata.obs[{key!r}].notna()].copy()"
            )
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


def check_expression(adata: AnnData, layer: str | None, *, is_log1p: bool = False) -> None:
    """Raise when expression is not finite, is negative, or looks like raw counts.

    Parameters
    ----------
    adata
        Annotated data; backed files are read in chunks.
    layer
        Layer to check; ``None`` for ``X``.
    is_log1p
        ``True`` takes integer values for log1p values all the same.
    """
    matrix = get_matrix(adata, layer)
    name = "X" if layer is None else f"layers[{layer!r}]"
    if matrix is None:
        raise ValueError(f"{name} is empty: there is no expression to read.")
    n_checked, is_integer, largest = 0, True, 0.0
    for start in range(0, adata.n_obs, CHUNK_SIZE):
        values = _stored_values(matrix[start : start + CHUNK_SIZE])
        _check_values(values, name, start)
        if n_checked < N_SAMPLED_CELLS and values.size:
            is_integer = is_integer and bool(np.all(values == np.rint(values)))
            largest = max(largest, float(values.max()))
            n_checked += min(CHUNK_SIZE, adata.n_obs - start)
    if not is_log1p and is_integer and largest > MAX_LOG1P_INTEGER:
        raise ValueError(
            f"{name} holds raw counts: all of the first {n_checked} cells have integer values, "
            f"up to {largest:g}. Normalise it: sc.pp.normalize_total(adata, target_sum=1e4); "
            "sc.pp.log1p(adata). If the values are log1p already: "
            "setup_anndata(adata, is_log1p=True)"
        )


def _stored_values(rows: Any) -> np.ndarray:
    values = rows.data if sparse.issparse(rows) else np.asarray(rows)
    if not np.issubdtype(values.dtype, np.number):
        raise ValueError(f"Expression has dtype {values.dtype}; numbers are expected.")
    return values


def _check_values(values: np.ndarray, name: str, start: int) -> None:
    span = f"{name}, cells {start} to {start + CHUNK_SIZE - 1}"
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        n_nan, n_inf = int(np.isnan(values).sum()), int(np.isinf(values).sum())
        raise ValueError(
            f"{n_nan} NaN and {n_inf} infinite value(s) in {span}. Drop or repair these cells; "
            "np.nan_to_num(adata.X) sets NaN to zero if that is what they mean."
        )
    if values.size and values.min() < 0:
        raise ValueError(
            f"Negative values (smallest {values.min():g}) in {span}. Scaled or centred data "
            "cannot be used: give the log1p-normalised layer, setup_anndata(adata, layer=...)."
        )

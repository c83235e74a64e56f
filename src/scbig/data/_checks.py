"""Checks of names and labels at the border: what was found, where, and what mends it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from scbig.data._schema import ScreenSchema


def check_names(names: pd.Index, where: str = "var_names") -> None:
    """Raise when gene names are empty or occur twice."""
    is_empty = names.isna() | (names.astype(str).str.strip() == "")
    if is_empty.any():
        raise ValueError(
            f"{where} has {int(is_empty.sum())} empty gene name(s), the first at position "
            f"{int(np.argmax(is_empty))}. Drop them: "
            f"adata = adata[:, adata.{where}.str.strip().fillna('') != ''].copy()"
        )
    repeated = names[names.duplicated()].unique()
    if len(repeated):
        remedy = (
            "Make them unique: adata.var_names_make_unique()"
            if where == "var_names"
            else f"Keep the first of each: adata = adata[:, ~adata.{where}.duplicated()].copy()"
        )
        raise ValueError(
            f"{where} has {len(repeated)} duplicate gene name(s): {list(repeated[:5])}. {remedy}"
        )


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


def check_missing(obs: pd.DataFrame, keys: Sequence[str]) -> None:
    """Raise when cells lack a value in one of the columns."""
    for key in keys:
        n_missing = int(obs[key].isna().sum())
        if n_missing:
            raise ValueError(
                f"obs[{key!r}] is missing for {n_missing} cell(s). "
                f"Drop them: adata = adata[adata.obs[{key!r}].notna()].copy()"
            )


def check_controls(is_control: np.ndarray, contexts: np.ndarray, names: list[str]) -> None:
    """Raise when a context has perturbed cells but no controls to match them with."""
    lacking = sorted(set(contexts[~is_control]) - set(contexts[is_control]))
    if lacking:
        raise ValueError(
            f"{len(lacking)} context(s) have perturbed cells but no control cells: "
            f"{[names[i] for i in lacking[:5]]}. Give fewer context_keys, or drop these cells."
        )

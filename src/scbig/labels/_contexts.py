"""In which context is each cell, and does it say so?"""

import logging
from collections.abc import Sequence

import pandas as pd

from scbig.labels._column import list_labels
from scbig.labels._reading import is_no_context

logger = logging.getLogger(__name__)

CONTEXT_JOIN = " | "


def get_context_names(obs: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    """Name the context of each cell: its values of the context keys, joined.

    Parameters
    ----------
    obs
        Cell annotations.
    keys
        Columns that make up a context.

    Returns
    -------
    Context names by cell; ``"all"`` for every cell when there are no keys.
    """
    if not keys:
        return pd.Series("all", index=obs.index)
    columns = [obs[key].astype(str) for key in keys]
    return columns[0].str.cat(columns[1:], sep=CONTEXT_JOIN) if len(columns) > 1 else columns[0]


def check_missing(obs: pd.DataFrame, keys: Sequence[str]) -> None:
    """Raise when cells lack a value in one of the columns."""
    for key in keys:
        n_missing = int(obs[key].isna().sum())
        if n_missing:
            raise ValueError(
                f"obs[{key!r}] is missing for {n_missing} cell(s). "
                f"Drop them: adata = adata[adata.obs[{key!r}].notna()].copy()"
            )


def check_contexts(obs: pd.DataFrame, keys: Sequence[str]) -> None:
    """Raise when the contexts of cells say that there is none.

    Parameters
    ----------
    obs
        Cell annotations.
    keys
        Columns that make up a context.

    Raises
    ------
    ValueError
        When values are such as ``nan``, ``None`` or ``unassigned``, or empty.
    """
    for key in keys:
        list_labels(obs[key])  # which are text
        if pd.api.types.is_numeric_dtype(obs[key]):
            continue
        _warn_of_writing(obs[key], key)
        values = obs[key].dropna().value_counts()
        found = {str(k): int(n) for k, n in values.items() if n and is_no_context(str(k))}
        if found:
            listed = ", ".join(f"{k!r} ({n} cells)" for k, n in found.items())
            column = f"adata.obs[{key!r}]"
            first = next(iter(found))
            raise ValueError(
                f"obs[{key!r}] is missing for {sum(found.values())} cell(s), by what their "
                f"contexts say: {listed}. If that is a context, give it a name: {column} = "
                f"{column}.astype(str).replace({{{first!r}: 'no {key}'}}). Otherwise drop them: "
                f"adata = adata[~{column}.astype(str).isin({list(found)})].copy()"
            )


def _warn_of_writing(column: pd.Series, key: str) -> None:
    """Warn of contexts that differ in spaces, large and small letters alone."""
    values = [str(one) for one in column.dropna().value_counts().index]
    first: dict[str, str] = {}
    # The largest number of cells first, and better without spaces around it.
    for value in sorted(values, key=lambda one: one != one.strip()):
        first.setdefault(value.strip().casefold(), value.strip())
    others = {v: own for v in values if v != (own := first[v.strip().casefold()])}
    others = {v: own for v, own in others.items() if own in values}
    if others:
        logger.warning(
            "obs[%r] has contexts that differ in spaces, large and small letters alone, and are "
            "taken for different ones: %s. If they are the same: adata.obs[%r] = "
            "adata.obs[%r].astype(str).replace(%s)",
            key,
            ", ".join(f"{value!r} and {own!r}" for value, own in others.items()),
            key,
            key,
            others,
        )

"""Whose control cells serve the contexts that have none of their own."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig.data._effects import compute_group_means
from scbig.data._expression import Expression
from scbig.data._screen import Screen, make_screen
from scbig.labels import (
    CONTEXT_JOIN,
    Perturbations,
    ScreenSchema,
)

logger = logging.getLogger(__name__)

#: Who lends control cells: the "nearest" context, all ("pooled"), or those that are named.
Lending: TypeAlias = str | Mapping[str, str | Sequence[str]]
WAYS = ("nearest", "pooled")
#: What to write where a context has no control cells.
REMEDY = "borrow_controls='nearest' (or 'pooled', or {'CONTEXT': 'OTHER'})"


def read_lending(how: Any) -> str | dict[str, list[str]] | None:
    """Read who is to lend control cells, or raise when that is not what was given.

    Parameters
    ----------
    how
        ``"nearest"``, ``"pooled"``, contexts by the context that borrows, or ``None`` for nobody.

    Returns
    -------
    The same, with lists of names.
    """
    if how is None or (isinstance(how, str) and how in WAYS):
        return how
    if isinstance(how, Mapping):
        listed = {str(k): [v] if isinstance(v, str) else list(v) for k, v in how.items()}
        if all(names and all(isinstance(one, str) for one in names) for names in listed.values()):
            return listed
    raise ValueError(
        f"borrow_controls={how!r} does not say whose control cells to take. Give 'nearest', "
        "'pooled', or names of contexts by the context that borrows: "
        "borrow_controls={'day 7': 'day 0'}."
    )


def lend_controls(
    adata: AnnData,
    schema: ScreenSchema,
    how: Lending | None,
    read: Callable[[], Expression],
    *,
    contexts: Sequence[str] = (),
) -> ScreenSchema:
    """Choose who lends control cells to the contexts that have perturbed cells and no controls.

    Parameters
    ----------
    adata
        Cells.
    schema
        Where they keep their labels.
    how
        Who lends. The nearest context agrees in most of the context keys; of several, its control
        cells have the mean expression nearest to that of the borrowing cells.
    read
        Reads the expression of the cells, where it is needed.
    contexts
        Further contexts that borrow, which have no cells.

    Returns
    -------
    The schema with the lenders, and those that it had.

    Raises
    ------
    ValueError
        When there are no context keys, a named lender has no control cells, or nothing tells
        which context is nearest.
    """
    how = read_lending(how)
    if how is None:
        return schema
    if not schema.context_keys:
        raise ValueError(
            f"borrow_controls={how!r} says whose control cells serve contexts that have none, but "
            "there are no contexts: name their columns, context_keys=['...'], or leave out "
            f"borrow_controls. Columns of obs: {list(adata.obs)}."
        )
    screen = make_screen(adata.obs, schema)
    names, has_own = screen.contexts, _find_own(screen)
    givers = [name for name, own in zip(names, has_own, strict=True) if own]
    lacking = [name for name, own in zip(names, has_own, strict=True) if not own]
    lacking += [name for name in contexts if name not in names]
    if not lacking or not givers:
        return schema
    lenders = dict(schema.lenders)
    for name in lacking:
        found = _choose(name, screen, schema.context_keys, givers, how, read)
        if found:
            lenders[name] = tuple(found)
            logger.info("Context %r has no control cells: those of %s serve.", name, _list(found))
    return replace(schema, lenders=tuple(lenders.items()))


def _find_own(screen: Screen) -> list[bool]:
    return [len(screen.get_own_controls(i)) > 0 for i in range(len(screen.contexts))]


def _choose(
    name: str,
    screen: Screen,
    keys: Sequence[str],
    givers: Sequence[str],
    how: str | dict[str, list[str]],
    read: Callable[[], Expression],
) -> Sequence[str]:
    """Name those who lend to a context; nobody where none is named."""
    if isinstance(how, dict):
        named = how.get(name, [])
        if wrong := [one for one in named if one not in givers]:
            raise ValueError(
                f"borrow_controls names {wrong} for {name!r}, where there are no control cells. "
                f"Contexts with control cells: {list(givers)}."
            )
        return named
    if how == "pooled":
        return givers
    shared = [_count_shared(name, giver, keys) for giver in givers]
    nearest = [giver for giver, n in zip(givers, shared, strict=True) if n == max(shared)]
    return nearest if len(nearest) == 1 else [_find_nearest(name, screen, nearest, read)]


def _find_nearest(
    name: str, screen: Screen, givers: Sequence[str], read: Callable[[], Expression]
) -> str:
    """Find whose control cells are most like the cells of a context, by their mean expression."""
    rows = np.empty(0, dtype=np.int64)
    if name in screen.contexts:
        rows = np.flatnonzero(screen.context == screen.contexts.index(name))
    if not len(rows):
        raise ValueError(
            f"There are no cells of {name!r} to tell which context is nearest. Name one, "
            f"borrow_controls={{{name!r}: {givers[0]!r}}}, or take all: borrow_controls='pooled'."
        )
    controls = [screen.get_own_controls(screen.contexts.index(giver)) for giver in givers]
    own, *others = compute_group_means(read(), [rows, *controls])
    return givers[int(np.argmin([np.square(other - own).sum() for other in others]))]


def _count_shared(one: str, other: str, keys: Sequence[str]) -> int:
    pairs = zip(split_context(one, keys), split_context(other, keys), strict=False)
    return sum(a == b for a, b in pairs)


def name_contexts(chosen: Perturbations) -> list[str]:
    """Name contexts that a user gives as names or as sequences of values."""
    listed = [chosen] if isinstance(chosen, str) else list(chosen)
    return [one if isinstance(one, str) else CONTEXT_JOIN.join(map(str, one)) for one in listed]


def find_chosen(
    chosen: Perturbations, names: Sequence[str], controls: Sequence[np.ndarray]
) -> set[int]:
    """Return the numbers of the contexts that a user names.

    Parameters
    ----------
    chosen
        Names, or sequences of values.
    names
        Names of all contexts.
    controls
        Row numbers of the control cells of each.

    Returns
    -------
    Their numbers.

    Raises
    ------
    ValueError
        When one has no control cells, or none is named.
    """
    wanted = name_contexts(chosen)
    known = {name: i for i, name in enumerate(names) if len(controls[i])}
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        what = f"Context(s) {unknown} have no control cells" if wanted else "No context is named"
        example = [next(iter(known), "...")]
        raise ValueError(
            f"{what}. Contexts with control cells: {list(known)}. Choose among them: "
            f"contexts={example}, leave contexts out for all, or predict from the control cells "
            f"of others: {REMEDY}."
        )
    return {known[name] for name in wanted}


def split_context(name: str, keys: Sequence[str]) -> list[str]:
    """Take the name of a context apart, into a value for each of its keys."""
    return name.split(CONTEXT_JOIN, max(len(keys) - 1, 0))


def write_contexts(
    obs: pd.DataFrame, keys: Sequence[str], names: Sequence[str], context: np.ndarray
) -> None:
    """Write the contexts that borrow into the columns of rows that other contexts lent.

    Parameters
    ----------
    obs
        Annotation of rows, changed in place.
    keys
        Columns that make up a context.
    names
        Names of the contexts.
    context
        Number of the context of each row that borrows, -1 where it has its own values.
    """
    for number in np.unique(context[context >= 0]):
        for key, value in zip(keys, split_context(names[number], keys), strict=True):
            column = obs[key].astype(object).where(context != number, value)
            obs[key] = column.astype(obs[key].dtype.name if _is_text(obs[key]) else "category")


def _is_text(column: pd.Series) -> bool:
    return not isinstance(column.dtype, pd.CategoricalDtype)


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (" and others" if len(names) > 5 else "")

"""Find names in a table of names, through aliases where these are given."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import sparse

from scbig.priors._aliases import GeneAliases


def match_names(
    names: Sequence[str], positions: Mapping[str, int], aliases: GeneAliases | None
) -> np.ndarray:
    """Position of each name in a table.

    Parameters
    ----------
    names
        The names to look for.
    positions
        Position of each known name.
    aliases
        Other names of the same genes; `None` matches exact names only.

    Returns
    -------
    Positions, shape (n_names,), with -1 where a name is unknown.
    """
    known = positions.keys()
    found = names if aliases is None else [aliases.resolve(name, known) for name in names]
    return np.array([positions.get(name, -1) if name else -1 for name in found], dtype=np.int64)


def make_selection(positions: np.ndarray, n_known: int) -> sparse.csr_array:
    """Matrix that picks rows of a table, and gives a zero row where a name is unknown.

    Parameters
    ----------
    positions
        Position of each name in the table, -1 where unknown, shape (n_names,).
    n_known
        Number of rows of the table.

    Returns
    -------
    0/1 matrix, shape (n_names, n_known), float32.
    """
    rows = np.flatnonzero(positions >= 0)
    ones = np.ones(rows.size, dtype=np.float32)
    shape = (positions.size, n_known)
    return sparse.csr_array((ones, (rows, positions[rows])), shape=shape)


def check_names(names: Iterable[object], where: str) -> tuple[str, ...]:
    """Check that gene names are unique, non-empty strings.

    Parameters
    ----------
    names
        The names to check.
    where
        What the names belong to, for the message.

    Returns
    -------
    The names as a tuple of plain strings.

    Raises
    ------
    ValueError
        When there is no name, or a name is empty, not a string, or there twice.
    """
    checked: dict[str, None] = {}
    for number, name in enumerate(names):
        if not isinstance(name, str):
            raise ValueError(
                f"{where}: name {number} is {name!r} ({type(name).__name__}); "
                "gene names must be strings"
            )
        if not name.strip():
            raise ValueError(f"{where}: name {number} is empty; every row needs a gene name")
        if name in checked:
            raise ValueError(f"{where}: the name {name!r} occurs twice; keep one row per gene")
        checked[str(name)] = None
    if not checked:
        raise ValueError(f"{where}: no genes found; give at least one named row")
    return tuple(checked)

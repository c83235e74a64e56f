"""Names of genes: other names of the same gene, and which names of a data set a prior has."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from scipy import sparse

from scbig.priors._tables import check_columns, read_header, read_table

logger = logging.getLogger(__name__)

_SYMBOL = "symbol"
_LIST_COLUMNS = ("alias_symbol", "prev_symbol")
_ENSEMBL = "ensembl_gene_id"
_VERSIONED_ENSEMBL = re.compile(r"(ENS[A-Z]*G\d+)\.\d+")
_N_SHOWN = 10


class GeneAliases(Mapping[str, str]):
    """Names of genes, each mapped to the approved symbol that it stands for.

    As a mapping it holds the names that stand for exactly one gene. A name that is an approved
    symbol always stands for its own gene, even where another gene has it as an alias. A name
    that several genes share as alias or previous symbol stands for none of them.

    Parameters
    ----------
    other_names
        For each approved symbol, the other names of the gene: previous symbols, aliases,
        Ensembl id.

    Examples
    --------
    >>> aliases = GeneAliases({"MAP3K21": ("KIAA1804", "MLK4")})
    >>> aliases["KIAA1804"]
    'MAP3K21'
    >>> aliases.resolve("MAP3K21", {"KIAA1804", "TP53"})
    'KIAA1804'
    """

    def __init__(self, other_names: Mapping[str, Sequence[str]]) -> None:
        self._other_names = {
            symbol: tuple(dict.fromkeys(others)) for symbol, others in other_names.items()
        }
        n_owners = Counter(name for others in self._other_names.values() for name in others)
        self._symbols = {
            name: symbol
            for symbol, others in self._other_names.items()
            for name in others
            if n_owners[name] == 1
        }
        self._symbols.update({symbol: symbol for symbol in self._other_names})

    def __getitem__(self, name: str) -> str:
        return self._symbols[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._symbols)

    def __len__(self) -> int:
        return len(self._symbols)

    def __repr__(self) -> str:
        return f"GeneAliases({len(self._other_names)} genes, {len(self)} unambiguous names)"

    def to_dict(self) -> dict[str, tuple[str, ...]]:
        """Return the other names of each approved symbol, as the constructor takes them."""
        return dict(self._other_names)

    def resolve(self, name: str, known: Set[str]) -> str | None:
        """Find the known name of the gene that a name stands for.

        Parameters
        ----------
        name
            Approved symbol, previous symbol, alias or Ensembl id; a version at the end of an
            Ensembl id is ignored.
        known
            The names to choose from.

        Returns
        -------
        The name itself when it is known; else the one known name of the same gene, its approved
        symbol first; `None` when there is none, or when more than one reading is possible.
        """
        if name in known:
            return name
        versioned = _VERSIONED_ENSEMBL.fullmatch(name)
        symbol = self._symbols.get(versioned[1] if versioned else name)
        if symbol is None or symbol in known:
            return symbol
        others = [
            other
            for other in self._other_names[symbol]
            if other in known and self._symbols.get(other) == symbol
        ]
        return others[0] if len(others) == 1 else None


def load_aliases(
    path: str | PathLike[str], *, var_names: Sequence[str] | None = None
) -> GeneAliases:
    """Read other names of genes from a table in the format of the HGNC complete set.

    Parameters
    ----------
    path
        Tab-separated text with a header line, plain or ``.gz``. The columns ``symbol``,
        ``alias_symbol`` and ``prev_symbol`` are needed and ``ensembl_gene_id`` is used where
        there is one; several names in one cell are separated by ``|``.
    var_names
        Gene names of a data set; if given, the log says how many of them the table knows.

    Returns
    -------
    The names of every gene.

    Raises
    ------
    ValueError
        When the file is empty, lacks a column, has a ragged line, or holds a symbol twice.

    Notes
    -----
    The table can be downloaded from https://www.genenames.org/download/ as
    ``hgnc_complete_set.txt``.
    """
    path = Path(path)
    header = read_header(path, "\t")
    check_columns(path, header, (_SYMBOL, *_LIST_COLUMNS))
    wanted = [_SYMBOL, *_LIST_COLUMNS, *([_ENSEMBL] if _ENSEMBL in header else [])]
    table = read_table(path, "\t", dict.fromkeys(wanted, str), quote_char='"')
    aliases = GeneAliases(_collect_names(path, *(table[column].to_pylist() for column in wanted)))
    logger.info("%s: %r", path.name, aliases)
    if var_names is not None:
        is_found = [name in aliases for name in var_names]
        log_coverage(make_coverage(path.name, var_names, is_found))
    return aliases


def _collect_names(
    path: Path, symbols: list[str], *columns: list[str]
) -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for symbol, *cells in zip(symbols, *columns, strict=True):
        if symbol in names:
            raise ValueError(f"{path}: the symbol {symbol!r} occurs twice; keep one row per gene")
        parts = (part.strip() for cell in cells for part in cell.split("|"))
        names[symbol] = tuple(part for part in parts if part)
    return names


@dataclass(frozen=True)
class Coverage:
    """How many of the wanted names a prior knows.

    Parameters
    ----------
    source
        What was searched, for example ``"STRING"`` or a file name.
    n_found
        Number of names that were found.
    n_total
        Number of names that were looked for.
    missing
        The names that were not found, in the order in which they were asked for.
    """

    source: str
    n_found: int
    n_total: int
    missing: tuple[str, ...]

    @property
    def fraction(self) -> float:
        """Share of the names that were found, in [0, 1]; 0 when none were asked for."""
        return self.n_found / self.n_total if self.n_total else 0.0

    def __str__(self) -> str:
        line = (
            f"{self.source}: {self.n_found} of {self.n_total} names matched ({self.fraction:.0%})"
        )
        if not self.missing:
            return line
        n_more = len(self.missing) - _N_SHOWN
        rest = f", ... and {n_more} more" if n_more > 0 else ""
        return f"{line}; missing: {', '.join(self.missing[:_N_SHOWN])}{rest}"


def make_coverage(source: str, names: Sequence[str], is_found: Iterable[bool]) -> Coverage:
    """Count the names that were found.

    Parameters
    ----------
    source
        What was searched.
    names
        The names that were looked for.
    is_found
        Whether each of them was found, one value per name.

    Returns
    -------
    The record of what was found and what is missing.
    """
    missing = tuple(name for name, found in zip(names, is_found, strict=True) if not found)
    return Coverage(source, len(names) - len(missing), len(names), missing)


def log_coverage(coverage: Coverage) -> None:
    """Log a coverage; as a warning when names were asked for and none was found.

    Parameters
    ----------
    coverage
        The record to log.
    """
    if coverage.n_total and not coverage.n_found:
        logger.warning(
            "%s. Are both sides symbols, or both Ensembl ids? If not, use aliases=load_aliases()",
            coverage,
        )
    else:
        logger.info("%s", coverage)


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

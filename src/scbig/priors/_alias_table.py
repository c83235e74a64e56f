"""Other names of genes from a table such as HGNC's."""

import logging
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from scbig._annotations import checked
from scbig.priors._aliases import GeneAliases
from scbig.priors._gene_embedding import log_coverage, make_coverage
from scbig.priors._tables import check_columns, read_header, read_table

logger = logging.getLogger(__name__)

_SYMBOL = "symbol"
_LIST_COLUMNS = ("alias_symbol", "prev_symbol")
_ENSEMBL = "ensembl_gene_id"


@checked
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

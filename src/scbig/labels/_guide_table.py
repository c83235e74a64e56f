"""Which gene is each guide of? Tables of guides in the forms that libraries have."""

import logging
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from scbig.labels._column import GUIDE_KEYS, list_labels
from scbig.labels._reading import DEFAULT_SEPARATOR, is_control_like, is_control_token

logger = logging.getLogger(__name__)

#: Which gene each guide is of.
Guides: TypeAlias = Mapping[str, str] | pd.Series | pd.DataFrame | Sequence[Sequence[str]]

_GENE_KEYS = ("gene", "target_gene", "gene_target", "gene_symbol", "symbol", "gene_name", "target")


def read_guides(
    table: Guides | None,
    obs: pd.DataFrame | None = None,
    perturbation_key: str | None = None,
    genes: Iterable[str] = (),
) -> tuple[tuple[str, str], ...]:
    """Read a table of guides.

    Parameters
    ----------
    table
        Label by guide, a series of labels with guides as its index, a frame with columns of guides
        and labels, or pairs of both.
    obs
        Cell annotations, which tell guides from genes: those that cells have are guides. Without,
        guides come first.
    perturbation_key
        Column of ``obs`` with the guides; any where it is not named.
    genes
        Measured genes, which tell the column of genes of a frame.

    Returns
    -------
    Pairs of guide and label, without spaces around them, each once.

    Raises
    ------
    ValueError
        When it is no such table, something is missing, or a guide has two labels.
    """
    if table is None:
        return ()
    if isinstance(table, str):
        raise ValueError(_describe_text(table, obs))
    labels, known = _list_labels(obs, perturbation_key), set(genes)
    given = _list_pairs(table, labels, known)
    pairs = [one for pair in given for one in _write_several(pair, labels, known)]
    if len(pairs) > len(given) or any(one != pair for one, pair in zip(pairs, given, strict=True)):
        # Beside lists of the guides of each gene, a gene with one guide has it as text.
        pairs = [_put_guide_first(pair, given, labels) for pair in pairs]
    if bad := [pair for pair in pairs if not _is_pair(pair)]:
        filled = isinstance(table, pd.DataFrame | pd.Series) and _lacks_gene(bad[0])
        fill = "; if guides without a gene are controls: guide_to_gene=table.fillna('control')"
        raise ValueError(
            f"guide_to_gene has {bad[0]!r} where a guide and its gene are expected, both as text. "
            "Give a dictionary, guide_to_gene={'STAT1_g1': 'STAT1', 'NT_g1': 'control'}, or a "
            f"frame of two columns{fill if filled else ''}."
        )
    found = _put_guides_first([(str(a).strip(), b.strip()) for a, b in pairs], labels, known)
    genes_of = dict(list(found))
    if twice := [guide for guide, gene in found if genes_of[guide] != gene]:
        raise ValueError(
            f"guide_to_gene has two genes for {len(twice)} guide(s): {twice[:5]}. Keep one of "
            "them; a guide of two genes stands for 'A+B'."
        )
    return tuple(found)


def _describe_text(table: str, obs: pd.DataFrame | None) -> str:
    if obs is not None and table in obs:
        return (
            f"guide_to_gene={table!r} is a column of obs, and no table. If it has the genes, take "
            f"it for the labels, without guide_to_gene: perturbation_key={table!r}"
        )
    told = "" if obs is None else f" Columns of obs: {list(obs)}; name the one with the genes."
    return (
        f"guide_to_gene={table!r} is text where a guide and its gene are expected, in a table."
        f"{told} Of a file: guide_to_gene=pandas.read_csv({table!r})"
    )


def _list_labels(obs: pd.DataFrame | None, key: str | None) -> set[str]:
    """Return what cells have in the column of guides, or in any."""
    if obs is None or (key is not None and key not in obs):
        return set()
    columns = [obs[key]] if key is not None else [obs[k] for k in obs if _is_text(obs[k])]
    return {one.strip() for column in columns for one in list_labels(column)}


def _is_text(column: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(column):
        return pd.api.types.is_integer_dtype(column)
    return column.dtype != object or all(isinstance(one, Hashable) for one in column)


def _list_pairs(table: Any, labels: set[str], genes: Collection[str]) -> list[Any]:
    if isinstance(table, pd.DataFrame):
        return _list_rows(table, labels, genes)
    if isinstance(table, Mapping | pd.Series):
        return list(table.items())
    if not isinstance(table, Iterable):
        return [(table,)]
    return [one if isinstance(one, str) else _as_tuple(one) for one in table]


def _as_tuple(one: Any) -> tuple[Any, ...]:
    return tuple(one) if isinstance(one, Iterable) else (one,)


def _list_rows(
    table: pd.DataFrame, labels: set[str], genes: Collection[str]
) -> list[tuple[Any, ...]]:
    """Take guides and genes from a frame, wherever they stand in it."""
    is_header = not labels.isdisjoint(map(str, table.columns)) and not any(
        str(key).casefold() in (*GUIDE_KEYS, *_GENE_KEYS) for key in table
    )
    if is_header:
        first = list(map(str, table.columns))
        logger.info("guide_to_gene has no header: %s is read as its first row.", first)
        rows = [first, *table.to_numpy().tolist()]
        table = pd.DataFrame(rows, index=None if _is_counted(table) else ["", *table.index])
    columns = [(str(key).casefold(), table[key].tolist()) for key in table]
    if len(columns) < 2 or not _is_counted(table):
        index = str(table.index.name or "").casefold(), table.index.tolist()
        columns.insert(0 if len(columns) < 2 else len(columns), index)
    if len(columns) < 2:
        return [(one,) for one in columns[0][1]]

    def is_gene(column: tuple[str, list[Any]]) -> tuple[bool, int, int]:
        return column[0] in _GENE_KEYS, *_count_known(column[1], genes)

    def is_guide(column: tuple[str, list[Any]]) -> tuple[int, bool]:
        return _count_in(column[1], labels), column[0] in GUIDE_KEYS

    # Of equals the first: where nothing tells, the first two columns, as they stand.
    gene = max(columns, key=is_gene)
    if not any(is_gene(gene)):
        guide = max(columns, key=is_guide)
        gene = next(column for column in columns if column is not guide)
    guide = max((column for column in columns if column is not gene), key=is_guide)
    return list(zip(guide[1], gene[1], strict=True))


def _is_counted(table: pd.DataFrame) -> bool:
    return isinstance(table.index, pd.RangeIndex)


def _count_in(values: Sequence[Any], labels: Collection[str]) -> int:
    return len({str(one).strip() for one in values}.intersection(labels))


def _count_known(values: Iterable[Any], genes: Collection[str]) -> tuple[int, int]:
    """Count the values that are genes, and those that look like controls."""
    texts = {one for one in values if isinstance(one, str)}
    return len(texts.intersection(genes)), sum(map(is_control_like, texts))


def _write_several(pair: Any, labels: Collection[str], genes: Collection[str]) -> list[Any]:
    """Write the genes of a guide that has several as one label, or the guides of a gene each."""
    if len(pair) != 2 or isinstance(pair[1], str) or not isinstance(pair[1], list | tuple | set):
        return [pair]
    first, listed = pair[0], sorted(pair[1]) if isinstance(pair[1], set) else list(pair[1])
    if not listed or not all(isinstance(one, str) for one in listed):
        return [pair]
    is_gene = first not in labels or first in genes or is_control_token(str(first))
    if isinstance(first, str) and is_gene and any(one in labels for one in listed):
        return [(guide, first) for guide in listed]
    return [(first, DEFAULT_SEPARATOR.join(listed))]


def _put_guide_first(pair: Any, given: Sequence[Any], labels: Collection[str]) -> Any:
    """Turn a pair around that stands as gene and guide where others have lists of guides."""
    is_text = len(pair) == 2 and all(isinstance(one, str) for one in pair)
    if not is_text or pair not in given or pair[0] in labels or pair[1] not in labels:
        return pair
    return pair[1], pair[0]


def _put_guides_first(
    pairs: Sequence[tuple[str, str]], labels: Collection[str], genes: Collection[str]
) -> list[tuple[str, str]]:
    """Turn pairs around where cells have what stands second, and genes stand first."""
    firsts, seconds = ({pair[i] for pair in pairs} for i in (0, 1))
    are_genes = _count_known(firsts, genes) > _count_known(seconds, genes)
    if are_genes and not seconds.isdisjoint(labels):
        logger.info("guide_to_gene has genes before guides: it was turned around.")
        pairs = [(second, first) for first, second in pairs]
    return list(dict.fromkeys(pairs))


def _lacks_gene(pair: Any) -> bool:
    return len(pair) == 2 and bool(pd.isna(pair[1]))


def _is_pair(pair: Any) -> bool:
    is_guide = len(pair) == 2 and isinstance(pair[0], str | int | float | np.integer)
    return is_guide and isinstance(pair[1], str) and all(str(one).strip() for one in pair)

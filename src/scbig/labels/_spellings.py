"""Is a name only another way to write a gene that has a name already?"""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from scbig.labels._doubts import is_ensembl
from scbig.labels._errors import LabelColumn
from scbig.labels._remedies import write_table

logger = logging.getLogger(__name__)

# Cyrillic and Greek letters that look as Latin ones do: capitals, then small ones.
_LIKE_LATIN = str.maketrans(
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0423\u0406\u0408\u0405"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455",
    "ABEKMHOPCTXYIJSABEZHIKMNOPTYXaeopcyxijs",
)
_N_LISTED = 24


def cut_version(name: str) -> str:
    """Return an Ensembl id without its version, and other names as they are."""
    return name.partition(".")[0] if is_ensembl(name) else name


def _fold(name: str) -> str:
    """Write a name without cases, kinds of hyphens, versions, and the ``X`` of R."""
    text = unicodedata.normalize("NFKC", cut_version(name)).translate(_LIKE_LATIN).casefold()
    text = re.sub(r"[\W_]+", "-", text).strip("-")
    return re.sub(r"^x(?=\d)", "", text)


def _squeeze(name: str) -> str:
    """Leave out hyphens, too, but those between digits, which tell genes apart."""
    return re.sub(r"(?<!\d)-|-(?!\d)", "", _fold(name))


def find_written_otherwise(
    names: Iterable[str], known: Collection[str], *, is_loose: bool = False
) -> dict[str, str]:
    """Find names that differ from one known name in how they are written alone.

    Parameters
    ----------
    names
        Names, known or not.
    known
        Known names.
    is_loose
        Whether hyphens may be left out, too.

    Returns
    -------
    The known name of each that is not known as it is, where there is exactly one.

    Examples
    --------
    >>> find_written_otherwise(["HLA.A", "stat1", "KLF1"], {"HLA-A", "STAT1"})
    {'HLA.A': 'HLA-A', 'stat1': 'STAT1'}
    """
    unknown = [name for name in names if name not in known]
    found: dict[str, str] = {}
    rules: tuple[Callable[[str], str], ...] = (_fold, _squeeze) if is_loose else (_fold,)
    for rule in rules if unknown else ():
        folded = {one: rule(one) for one in known}
        counts, own = Counter(folded.values()), {form: one for one, form in folded.items()}
        for name in unknown:
            form = rule(name)
            if form and counts[form] == 1:
                found.setdefault(name, own[form])
    return found


def check_one_name(
    read: Mapping[str, list[str]],
    column: LabelColumn,
    known: Collection[str],
    rows: Mapping[str, str],
) -> None:
    """Raise when a gene goes by two names, or a name in other writing is split.

    Parameters
    ----------
    read
        Targets by label.
    column
        The labels.
    known
        Names that are what they are: measured genes, and what the user told.
    rows
        The gene that is measured under a name, such as the symbol of an Ensembl id.

    Raises
    ------
    ValueError
        With the line that writes one name.
    """
    _check_split_names(read, column, known)
    targets = dict.fromkeys(target for label in column.n_cells for target in read[label])
    otherwise = find_written_otherwise(targets, known)
    told = {guide for guide, label in column.schema.guides if guide == label}

    def get_gene(target: str) -> str:
        if target in told:
            return target
        gene = otherwise.get(target, target)
        return rows.get(gene, rows.get(cut_version(gene), gene if gene in known else ""))

    groups: dict[str, list[str]] = {}
    for target in targets:
        groups.setdefault(get_gene(target) or cut_version(target), []).append(target)
    is_id = 2 * sum(map(is_ensembl, targets)) > len(targets)
    others: dict[str, str] = {}
    for group in groups.values():
        own = max(group, key=lambda one: (is_ensembl(one) == is_id, one in known, one == group[0]))
        others |= {target: own for target in group if target != own}
    _raise_two_names(others, read, column)


def _raise_two_names(
    others: Mapping[str, str], read: Mapping[str, list[str]], column: LabelColumn
) -> None:
    labels = {k: group for k, group in read.items() if not others.keys().isdisjoint(group)}
    if not labels:
        return
    target, own = next(iter(others.items()))
    mended = _write_others(labels, others, column)
    guides = dict(column.schema.guides)
    told = (
        f"{len(others)} target(s) of obs[{column.key!r}] are genes that go by another name, too, "
        f"such as {own!r} and {target!r}: {column.count(labels)}. Write one name for each: "
        f"{column.rewrite(mended)}"
    )
    if not any(map(is_ensembl, (target, own))):
        both = {one: one for pair in others.items() for one in pair}
        told = f"{told}\nOr, if they are different targets: {write_table(both)}"
    if any(label in guides for label in labels):
        genes = {guide: mended.get(guide, label) for guide, label in guides.items()}
        told = f"{told}\nOr in the table: {write_table(genes)}"
    raise ValueError(told)


def _write_others(
    labels: Mapping[str, list[str]], others: Mapping[str, str], column: LabelColumn
) -> dict[str, str]:
    return {
        label: column.join.join(dict.fromkeys(others.get(one, one) for one in group))
        for label, group in labels.items()
    }


def _check_split_names(
    read: Mapping[str, list[str]], column: LabelColumn, known: Collection[str]
) -> None:
    """Raise when a label was split that is a gene in other writing, as ``HLA_A`` at ``_``."""
    guides = dict(column.schema.guides)
    split = [k for k, v in read.items() if len(v) > 1 and not all(one in known for one in v)]
    found = find_written_otherwise([k for k in split if k not in guides], known)
    if found:
        first, gene = next(iter(found.items()))
        raise ValueError(
            f"separator={column.join!r} splits {len(found)} label(s) of obs[{column.key!r}] that "
            f"are perhaps genes in other writing: {column.count(found)}; {first!r} could be "
            f"{gene!r}. Write the genes: {column.rewrite(found)}"
        )


def warn_of_spellings(
    read: Mapping[str, list[str]], column: LabelColumn, known: Collection[str]
) -> None:
    """Warn of targets that differ from a measured gene in how they are written alone."""
    targets = {target for group in read.values() for target in group}
    others = find_written_otherwise(sorted(targets), known, is_loose=True)
    labels = {k: group for k, group in read.items() if not others.keys().isdisjoint(group)}
    if not labels:
        return
    target, gene = next(iter(others.items()))
    guides = dict(column.schema.guides)
    mended = _write_others(labels, others, column)
    if any(label in guides for label in labels):
        line = write_table({guide: mended.get(guide, label) for guide, label in guides.items()})
    else:
        line = column.rewrite(mended) if len(mended) <= _N_LISTED else ""
    logger.warning(
        "%d target(s) of obs[%r] are no measured genes, but differ from one only in how they are "
        "written, such as %r from %r.%s",
        len(others),
        column.key,
        target,
        gene,
        f" If they are these: {line}" if line else "",
    )

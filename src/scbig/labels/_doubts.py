"""Why may a name that was read from a label be no target, and what is to be written instead?"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from scbig.labels._distorted import (
    find_beside_control,
    find_date_gene,
    find_half,
    find_joined,
    unwrap,
)
from scbig.labels._reading import (
    CLEAR_SEPARATORS,
    DEFAULT_SEPARATOR,
    WEAK_SEPARATORS,
    has_guide_mark,
    is_control_like,
    is_missing_like,
    split_label,
)

MISSING, CONTROL, GUIDE, COMBINATION = "missing", "control", "guide", "combination"
DATE, LISTED = "date", "listed"

_GUIDE_PART = re.compile(
    r"(?:sg|sgrna|g|grna|guide|oligo|crrna|cr|sh|shrna|si|sirna|esi|kd|ko)?#?\d+|p[12](?:p2)?|[acgtun]{15,}"
    r"|(?:ens[a-z]*[gt]|n[mr])\d{5,}|ko|kd|oe|np|crispr[ain]?|(?:si|sh)rna|i\d+|rep\d+",
    re.IGNORECASE,
)
# A letter, a strand, or a word without its number.
_GUIDE_REST = re.compile(r"[a-z+]|sg|sgrna|grna|guide|nm|nr", re.IGNORECASE)
_ENSEMBL = re.compile(r"ENS[A-Z]*G\d{6,}(?:\.\d+)?")
# What ends a word, and is in few names of genes.
_CLEAR_ENDS = re.compile(r"[_ |;,:/()\[\]=]+")
_MAX_PIECES = 32
# Of guides and RNAs against a gene, small letters beside its own.
_PREFIX = re.compile(r"(?:(?:sg|si|sh|esi|cr|g)(?:RNA)?|\u0394|\u2206|delta)[-_ ]?")
_SEQUENCE = re.compile(r"[ACGTU]{17,40}", re.IGNORECASE)
# Names of genes of zebrafish, and of proteins with one that shines.
_COLON_NAME = re.compile(
    r"(?:zgc|si|wu|im|sb|id|zmp|ch\d*|rp\d*):.+|.+:[a-z]?[A-Z]?(?:[GRYCB]FP|Cherry|Tomato)\d*"
)
_SYMBOL = re.compile(r"[A-Za-z][A-Za-z0-9._-]+")


# What no name of a gene has, such as the brackets and quotes of a list that was written as text.
_MARK = re.compile(r"[^\w.\-+/:;,|&#@]")
_WORD = re.compile(r"\w[\w.\-]*")


def is_ensembl(name: str) -> bool:
    """Whether a name is an Ensembl id of a gene."""
    return _ENSEMBL.fullmatch(name) is not None


@dataclass(frozen=True)
class Doubt:
    """Why a name may be no target.

    Attributes
    ----------
    kind
        What it looks like.
    parts
        Targets or gene that it seems to name.
    separator
        What stands between them.
    """

    kind: str
    parts: tuple[str, ...] = ()
    separator: str = ""


def find_doubt(  # noqa: C901 -- one question after another
    target: str,
    label: str,
    names: Collection[str],
    controls: Collection[str],
    separator: str | None,
    *,
    is_strict: bool = True,
    clear: Iterable[str] = CLEAR_SEPARATORS,
    alone: Collection[str] = frozenset(),
) -> Doubt | None:
    """Find out why a target may be none.

    Parameters
    ----------
    target
        What was read as a target and is not known.
    label
        The label that it was read from.
    names, controls
        Names that are known, and labels of control cells.
    separator
        Separator of the screen.
    is_strict
        Whether ``-`` and ``.`` are looked at, too, and parts that only look like genes.
    clear
        Separators at which parts need only look like genes.
    alone
        Targets that are perturbed alone: two of them, side by side, look like a combination.

    Returns
    -------
    The doubt; ``None`` where there is none.
    """
    if is_missing_like(target):
        return Doubt(MISSING)
    if is_control_like(target):
        return Doubt(CONTROL)
    if (gene := find_date_gene(target, names)) is not None:
        return Doubt(DATE, (gene,) if gene else ())
    if (listed := unwrap(target)) is not None:
        return Doubt(LISTED, tuple(listed))
    if target != label and is_guide_part(target) and not is_ensembl(target):
        return Doubt(GUIDE)
    if (gene := find_guide(target, names)) is not None:
        return Doubt(GUIDE, tuple(gene.split(DEFAULT_SEPARATOR)) if gene else ())
    if is_strict and (half := find_half(target, names)):
        return Doubt(MISSING, half)
    words = [word for word in _CLEAR_ENDS.split(target) if word]
    if _is_marked_control(words, names):
        return Doubt(CONTROL)
    found = find_combination(
        target, names, controls, separator=separator, is_strict=is_strict, clear=clear
    ) or find_joined(target, names.__contains__, is_strict=is_strict, alone=alone)
    found = found or find_beside_control(target, names)
    if found is not None:
        return Doubt(COMBINATION, tuple(found[1]), found[0])
    if any(len(word) > 1 and is_control_like(word) for word in words):
        if any(word in names and not is_control_like(word) for word in words):
            parts = [word for word in words if word in names or is_control_like(word)]
            if len(parts) == len(words):
                # STAT1 (ctrl) is STAT1 beside a control.
                return Doubt(COMBINATION, tuple(parts), target[len(words[0]) :][:1])
        return Doubt(CONTROL)
    return _find_mark(target, names)


def _is_marked_control(words: Collection[str], names: Collection[str]) -> bool:
    """Whether a label names controls, beside the letters of a library, as p_INTERGENIC12 does."""
    rest = [word for word in words if len(word) == 1 or not is_control_like(word)]
    is_rest = all(_GUIDE_REST.fullmatch(word) and word not in names for word in rest)
    return 0 < len(rest) < len(words) and is_rest


def _find_mark(target: str, names: Collection[str]) -> Doubt | None:
    """Find known names among characters that no name has."""
    mark = _MARK.search(target)
    inside = tuple(word for word in _WORD.findall(target) if word in names)
    if mark is None or not inside:
        return None
    return Doubt(COMBINATION if len(inside) > 1 else GUIDE, inside, mark[0])


def check_target(
    target: str, label: str, names: Collection[str], controls: tuple[str, ...], separator: str
) -> None:
    """Raise when a target that is asked for, and not known, may be none.

    Parameters
    ----------
    target, label, names, controls, separator
        See :func:`find_doubt`.

    Raises
    ------
    ValueError
        When it looks like something else; the message says what to write.
    """
    doubt = find_doubt(target, label, names, controls, separator)
    if doubt is None:
        return
    where = repr(target) if target == label else f"{target!r} of {label!r}"
    if doubt.kind == COMBINATION:
        instead = (separator or DEFAULT_SEPARATOR).join(doubt.parts)
        raise ValueError(
            f"{where} is no known target; it looks like {' and '.join(doubt.parts)}, with "
            f"{doubt.separator!r} between them. The screen has {separator!r}: write {instead!r}."
        )
    if doubt.kind in (DATE, LISTED):
        instead = (separator or DEFAULT_SEPARATOR).join(doubt.parts)
        what = "a date, as spreadsheets make of genes" if doubt.kind == DATE else "a list as text"
        raise ValueError(
            f"{where} is no known target; it looks like {what}. Write "
            f"{instead or 'the name of the gene'!r}."
        )
    if doubt.kind == GUIDE:
        gene = doubt.parts[0] if doubt.parts else "GENE"
        raise ValueError(
            f"{where} is no known target; it looks like the name of a guide. Name the gene: "
            f"{gene!r}; or tell at setup which gene a guide is of: "
            f"guide_to_gene={{{target!r}: {gene!r}}}"
        )
    if doubt.kind == CONTROL:
        raise ValueError(
            f"{where} looks like a label of control cells, but those are {controls[0]!r}. Write "
            f"{controls[0]!r}, or name all at setup: control={[*controls[:3], target]}"
        )
    raise ValueError(f"{where} says that nothing is perturbed. Name a target, or leave it out.")


def find_combination(
    label: str,
    names: Collection[str],
    controls: Collection[str],
    *,
    separator: str | None,
    is_strict: bool,
    clear: Iterable[str] = CLEAR_SEPARATORS,
) -> tuple[str, list[str]] | None:
    """Find a separator at which a label that is not known looks like a combination.

    Parameters
    ----------
    label
        What was read as the name of one target.
    names, controls
        Known targets and genes, and labels of control cells.
    separator
        That of the screen, at which the label was split before.
    is_strict
        Whether ``-`` and ``.`` are looked at, too, and parts that only look like genes.
    clear
        Separators where it is enough that all parts look like symbols of genes; elsewhere all
        must be known, or one a control.

    Returns
    -------
    The separator and the parts; ``None`` where there is none.
    """

    def is_control(part: str) -> bool:
        return part in controls or is_control_like(part)

    def is_whole(name: str) -> bool:
        return name != label and (name in names or is_control(name))

    # Whatever stands between letters and digits.
    runs = re.findall(r"[^A-Za-z0-9]+", label) + re.findall(r"[^A-Za-z0-9]", label)
    weak = () if is_strict else (*WEAK_SEPARATORS, " ")
    joins = (one for one in dict.fromkeys((" and ", *runs)) if one in label)
    for join in joins:
        if join in (separator, *weak):
            continue
        parts = split_label(label, join, is_whole)
        if len(parts) < 2 or not all(parts):
            continue
        is_known = all(part in names or is_control(part) for part in parts)
        is_symbols = is_strict and join in clear and all(map(_SYMBOL.fullmatch, parts))
        is_symbols = is_symbols and not (join == ":" and _COLON_NAME.fullmatch(label))
        has_control = any(map(is_control, parts)) and not any(map(_has_digit_first, parts))
        if is_known or is_symbols or has_control:
            return join, parts
    return None


def _has_digit_first(part: str) -> bool:
    return part[:1].isdigit()


def is_guide_part(part: str) -> bool:
    """Whether a part of a label tells guides apart, such as ``g2``, ``1`` or ``P1P2``."""
    return _GUIDE_PART.fullmatch(part) is not None


def find_guide(label: str, names: Collection[str]) -> str | None:
    """Find the gene of a label that looks like the name of a guide.

    Parameters
    ----------
    label
        Label that is not known.
    names
        Known names.

    Returns
    -------
    The gene, or ``A+B`` where guides of two are named; an empty text if it looks like a guide of
    an unknown one, and ``None`` if it does not look like a guide.

    Examples
    --------
    >>> find_guide("STAT1_g2", {"STAT1"}), find_guide("GATA1-A", {"GATA1", "A"})
    ('STAT1', None)
    """
    if is_ensembl(label):
        return None
    if _SEQUENCE.fullmatch(label):
        return ""
    found = None if (prefix := _PREFIX.match(label)) is None else label[prefix.end() :]
    if found is not None and len(found) > 1 and found in names:
        return found
    # The name of a gene may begin so, too.
    genes = (_find_gene(one, names) for one in (label, found) if one)
    return next((gene for gene in genes if gene), "" if has_guide_mark(label) else None)


def _find_gene(rest: str, names: Collection[str]) -> str:
    """Find the gene, or ``A+B``, of the name of a guide without what it begins with."""
    # STAT1g2, STAT1KO, STAT1-/-
    if (found := re.fullmatch(r"(.+?)(?:g\d+|KO|KD|OE|[-+]/[-+])", rest)) and found[1] in names:
        return found[1]
    pieces = re.split(r"([_|:;,/ .#@-]+)", rest)[:_MAX_PIECES]
    for start in range(0, len(pieces), 2):
        for stop in range(len(pieces), start, -2):
            gene = "".join(pieces[start:stop])
            others = [one for one in pieces[:start:2] + pieces[stop + 1 :: 2] if one]
            is_told = any(map(is_guide_part, others)) and all(
                is_guide_part(one) or _GUIDE_REST.fullmatch(one) for one in others
            )
            if gene in names and is_told:
                return gene
    return DEFAULT_SEPARATOR.join(_find_genes(pieces, names))


def _find_genes(pieces: list[str], names: Collection[str]) -> list[str]:
    """Find the known genes of a label that names several guides."""
    genes: dict[str, None] = {}
    is_told, start = False, 0
    while start < len(pieces):
        stops = range(len(pieces), start, -1)
        stop = next((k for k in stops if "".join(pieces[start:k]) in names), 0)
        if stop:
            genes["".join(pieces[start:stop])] = None
        elif pieces[start] and not _GUIDE_REST.fullmatch(pieces[start]):
            if not is_guide_part(pieces[start]):
                return []
            is_told = True
        start = max(stop, start + 1) + 1
    return list(genes) if is_told else []


def find_genes_inside(targets: Iterable[str], names: Collection[str]) -> dict[str, str]:
    """Find a known gene in names of targets that are not known, as in ``TP53_R175H``."""
    found = {}
    for target in targets:
        pieces = re.split(r"[_#@:|()\[\]\s]+", target)
        gene = next((one for one in pieces if len(one) > 1 and one in names), None)
        if gene is not None and len(pieces) > 1:
            found[target] = gene
    return found

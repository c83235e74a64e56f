"""What happened to a label on its way: a date, a list written as text, a join of other kind."""

import re
from collections.abc import Callable, Collection, Iterable

from scbig.labels._reading import (
    SEPARATORS,
    WEAK_SEPARATORS,
    is_control_like,
    is_missing_like,
    split_label,
)

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january januar",
            "feb february februar",
            "mar march mrz mär märz",
            "apr april",
            "may mai",
            "jun june juni",
            "jul july juli",
            "aug august",
            "sep sept september",
            "oct october okt oktober",
            "nov november",
            "dec december dez dezember",
        ),
        start=1,
    )
    for name in names.split()
}
# Families of genes that spreadsheets take for dates, by their names of today and before.
_FAMILIES = {3: ("MARCHF", "MARCH", "MTARC", "MARC"), 9: ("SEPTIN", "SEPT", "SEP")}
_SINGLES = {
    (12, 1): ("DELEC1", "DEC1", "BHLHE40"),
    (12, 2): ("BHLHE41", "DEC2"),
    (10, 1): ("POU2F1", "OCT1"),
    (10, 2): ("POU2F2", "OCT2"),
    (10, 4): ("POU5F1", "OCT4"),
    (10, 6): ("POU3F1", "OCT6"),
}
_TIME = r"(?:[T ]00:00(?::00(?:\.0+)?)?)?"
_DAY_MONTH = re.compile(r"(\d{1,2})(?:\. ?|[-/ ])([A-ZÄa-zä]{3,9})\.?(?:[-/ ]\d{2,4})?")
_MONTH_DAY = re.compile(r"([A-Z][a-zä]{2,8})[-/ ](\d{1,2})(?:[-/, ]+\d{2,4})?")
_ISO = re.compile(rf"\d{{4}}[-/](\d{{1,2}})[-/](\d{{1,2}}){_TIME}")
_SLASHED = re.compile(rf"(\d{{1,2}})/(\d{{1,2}})/\d{{2,4}}{_TIME}")

# Brackets and quotes around all of a label.
_WRAPPED = re.compile(
    r"[bu]?(?:(?:frozenset|set|list|tuple|array)\s*\(|[\[({<'\"`]).*[\])}>'\"`]\s*", re.DOTALL
)
_TOKEN = re.compile(r"[^\s\[\](){}<>'\"`,;|+&]+")
_NO_TOKENS = frozenset(("frozenset", "set", "list", "tuple", "array", "dtype=object"))

_JOIN_WORDS = ("x", "amp", "and", "plus", "vs", "versus", "with", "or")
_JOINT = re.compile(rf"[\W_]*(?:{'|'.join(_JOIN_WORDS)})?[\W_]*", re.IGNORECASE)
_MAX_LENGTH = 200
# Names of genes end with NT or WT alone.
_GLUED = re.compile(
    r"(?:controls?|ctrl|non[-_ ]?target(?:ing)?|ntc|neg(?:ative)?[-_]?(?:ctrl|control)|scrambled?"
    r"|unperturbed)[-_]?\d*",
    re.IGNORECASE,
)


def find_date_gene(name: str, names: Collection[str]) -> str | None:
    """Find the gene that a spreadsheet made a date of.

    Parameters
    ----------
    name
        Name such as ``1-Mar``, ``Sep-02`` or ``2023-03-01 00:00:00``.
    names
        Known names, of which one is taken where there is one.

    Returns
    -------
    Its likely name, an empty text where a date could be no gene that is known to suffer, and
    ``None`` if it is no date.

    Examples
    --------
    >>> find_date_gene("1-Mar", ()), find_date_gene("2023-09-02", {"Sept2"})
    ('MARCHF1', 'Sept2')
    """
    day = _read_date(name)
    if day is None:
        return None
    likely = [*_SINGLES.get(day, ()), *(f"{stem}{day[1]}" for stem in _FAMILIES.get(day[0], ()))]
    own = [form for one in likely for form in (one, one.capitalize()) if form in names]
    return next(iter([*own, *likely]), "")


def _read_date(name: str) -> tuple[int, int] | None:
    """Return the month and day of a date."""
    text = name.strip()
    month, day = 0, 0
    if found := _DAY_MONTH.fullmatch(text):
        month, day = _MONTHS.get(found[2].casefold(), 0), int(found[1])
    elif found := _MONTH_DAY.fullmatch(text):
        month, day = _MONTHS.get(found[1].casefold(), 0), int(found[2])
    elif found := _ISO.fullmatch(text):
        month, day = int(found[1]), int(found[2])
    elif found := _SLASHED.fullmatch(text):
        first, second = int(found[1]), int(found[2])
        is_usual = first in _FAMILIES or (second not in _FAMILIES and first <= 12)
        month, day = (first, second) if is_usual else (second, first)
    return (month, day) if 1 <= month <= 12 and 1 <= day <= 31 else None


def unwrap(label: str) -> list[str] | None:
    """Read a list that was written as text, such as ``['A', 'B']`` or ``"A+B"`` in quotes.

    Parameters
    ----------
    label
        Label.

    Returns
    -------
    What it lists, without what says that there is none; ``None`` if it is no list.
    """
    if not _WRAPPED.fullmatch(label.strip()):
        return None
    # Without the letter before b'text', and no tuples of a drug, its dose and unit.
    text = re.sub(r"\b[bu](?=['\"])", "", label)
    listed = [one for one in _TOKEN.findall(text) if one not in _NO_TOKENS]
    if any(re.fullmatch(r"-?\d+(?:\.\d*)?", one) for one in listed):
        return None
    return [one for one in listed if not is_missing_like(one)]


def find_joined(
    label: str,
    is_name: Callable[[str], bool],
    *,
    is_strict: bool = True,
    alone: Collection[str] = frozenset(),
) -> tuple[str, list[str]] | None:
    """Find known names in a label that stand beside each other, or with a word between them.

    Parameters
    ----------
    label
        Label that is not known.
    is_name
        Whether a part is known.
    is_strict
        Whether names may have ``-``, ``.`` or a space alone between them.
    alone
        Targets that are perturbed alone, which are known where nothing is between them, too.

    Returns
    -------
    What stands between the first two, and the names; ``None`` where there is no such reading.

    Examples
    --------
    >>> find_joined("STAT1xJAK2", {"STAT1", "JAK2"}.__contains__)
    ('x', ['STAT1', 'JAK2'])
    """
    if len(label) > _MAX_LENGTH:
        return None
    for stop in range(len(label) - 1, 0, -1):
        first = label[:stop]
        if not is_name(first):
            continue
        for start in range(stop, len(label)):
            joint, rest = label[stop:start], label[start:]
            if is_name(rest) and _is_joint(joint, (first, rest), alone, is_strict=is_strict):
                return joint, [first, rest]
            if joint and _is_joint(joint, (first, rest), alone, is_strict=is_strict):
                further = find_joined(rest, is_name, is_strict=is_strict)
                if further is not None:
                    return joint, [first, *further[1]]
    return None


def _is_joint(
    joint: str, sides: tuple[str, str], alone: Collection[str], *, is_strict: bool
) -> bool:
    if not joint:
        return all(side in alone and len(side) > 2 for side in sides)
    if not _JOINT.fullmatch(joint):
        return False
    marks = re.sub(r"[^\W_]", "", joint)
    if len(marks) < len(joint) and not (joint[0] in marks and joint[-1] in marks):
        # Letters beside letters are a word only where they are small.
        return joint.islower() and all(len(side) > 1 for side in sides)
    return is_strict or len(marks) < len(joint) or not set(joint) <= {*WEAK_SEPARATORS, " "}


def find_beside_control(label: str, names: Collection[str]) -> tuple[str, list[str]] | None:
    """Find a known name in a label that has a name of controls beside it, or an ``x`` between.

    Parameters
    ----------
    label
        Label that is not known, such as ``STAT1ctrl`` or ``STAT1xNT``.
    names
        Known names.

    Returns
    -------
    What stands between, and the two parts; ``None`` where there is no such reading.
    """
    for stop in range(2, len(label) - 1) if len(label) <= _MAX_LENGTH else ():
        first, rest = label[:stop], label[stop:]
        beyond = rest[1:] if rest.startswith("x") else ""
        joint = "x" if beyond and (beyond in names or is_control_like(beyond)) else ""
        last = rest[len(joint) :]
        is_first = last in names and len(last) > 1
        control = first if is_first else last
        if not is_first and first not in names:
            continue
        if is_control_like(control) if joint else _GLUED.fullmatch(control):
            return joint, [first, last]
    return None


def find_half(
    label: str, names: Collection[str], separators: Iterable[str] = (*SEPARATORS, "-", ".")
) -> tuple[str, ...]:
    """Find the known names of a label of which another part says that there is none.

    Parameters
    ----------
    label
        Label such as ``STAT1_nan``.
    names
        Known names.
    separators
        What may stand between its parts.

    Returns
    -------
    The known names; none where there is no such reading.
    """
    for join in separators:
        if join not in label:
            continue
        parts = split_label(label, join, lambda name: name != label and name in names)
        if not all(parts[1:-1]):
            continue  # of another separator, such as "--"
        known = tuple(part for part in parts if part in names)
        if 0 < len(known) < len(parts) and all(p in names or is_missing_like(p) for p in parts):
            return known
    return ()

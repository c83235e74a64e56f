"""Which known name may an unknown one mean, and do two lists of names speak one language?"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches

_ENSEMBL = re.compile(r"ENS[A-Z]*[GTP]\d{6,}(\.\d+)?", re.IGNORECASE)
_VERSION = re.compile(r"(ENS[A-Z]*[GTP]\d{6,})\.\d+", re.IGNORECASE)
# Of difflib's ratio: one letter of five that is another, or of two names nothing in common.
_CLOSE = 0.75
# Names of a list that tell its language, and unknown names that nearest ones are looked for.
_N_TOLD, _N_ASKED, _N_SHOWN = 2000, 5, 3

#: How to rewrite a pandas index, and one name alike.
REWRITINGS: Mapping[str, Callable[[str], str]] = {
    ".str.upper()": str.upper,
    ".str.lower()": str.lower,
    ".str.capitalize()": str.capitalize,
    ".str.split('.').str[0]": lambda name: _VERSION.sub(r"\1", name),
}


def find_nearest(name: str, known: Collection[str]) -> str | None:
    """Find the known name that an unknown one is most likely to mean.

    Parameters
    ----------
    name
        The unknown name.
    known
        The names to choose from.

    Returns
    -------
    The first of them that is the same in other cases, or but for punctuation, the version of an
    Ensembl id and the order of targets in ``A+B``; else the closest by
    :func:`difflib.get_close_matches`. ``None`` where none is close: identifiers that are numbers
    are close to what they do not mean.
    """
    for simplify in (str.casefold, _simplify):
        wanted = simplify(name)
        same = sorted(other for other in known if simplify(other) == wanted)
        if same and wanted:
            return same[0]
    if name_language([name]) != "symbols":
        return None
    folded = {other.casefold(): other for other in sorted(known, reverse=True)}
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=_CLOSE)
    return folded[close[0]] if close else None


def describe_nearest(unknown: Sequence[str], known: Collection[str]) -> str:
    """Ask whether known names are meant, as in ``"Did you mean 'STAT1'? "``, or be silent."""
    nearest = {name: find_nearest(name, known) for name in unknown[:_N_ASKED]}
    found = [(name, other) for name, other in nearest.items() if other is not None]
    if not found:
        return ""
    if len(unknown) == 1:
        return f"Did you mean {found[0][1]!r}? "
    listed = ", ".join(f"{other!r} (for {name!r})" for name, other in found)
    return f"Did you mean {listed}? "


def find_spellings(names: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Find names that are known in other cases, or with another version of an Ensembl id.

    Parameters
    ----------
    names
        Names, known or not.
    known
        The known names.

    Returns
    -------
    The known spelling of each name that is not known as it is; names of which several known ones
    are a spelling are left out.
    """
    folded = Counter(map(_fold, known))
    spelling = {_fold(other): other for other in known}
    return {
        name: spelling[_fold(name)]
        for name in names
        if name not in known and folded.get(_fold(name)) == 1
    }


def find_rewriting(names: Collection[str], known: Sequence[str]) -> tuple[str, int]:
    """Find how known names are to be rewritten to be those that are looked for.

    Parameters
    ----------
    names
        Names that are looked for.
    known
        Known names.

    Returns
    -------
    One of ``REWRITINGS``, and how many names are known after it; empty and 0 where none makes any
    known, or makes two names one.
    """
    wanted, best = set(names), ("", 0)
    for code, rewrite in REWRITINGS.items():
        rewritten = list(map(rewrite, known))
        n_found = len(wanted & set(rewritten))
        if n_found > best[1] and len(set(rewritten)) == len(rewritten):
            best = code, n_found
    return best


def name_language(names: Sequence[str]) -> str:
    """Say what most of some names are: ``"symbols"``, ``"Ensembl ids"`` or ``"numbers"``."""
    told = Counter(_name_one(name) for name in names[:_N_TOLD])
    return told.most_common(1)[0][0] if told else "symbols"


def explain_missing(names: Sequence[str], known: Sequence[str]) -> str:
    """Say why names may not be known: other spelling, other identifiers; empty if neither.

    Parameters
    ----------
    names
        Names that are looked for.
    known
        Known names.
    """
    if spellings := find_spellings(names, set(known)):
        shown = ", ".join(f"{a!r} of {b!r}" for a, b in list(spellings.items())[:_N_SHOWN])
        return f"{len(spellings)} are written otherwise: {shown}"
    own, other = name_language(names), name_language(known)
    if own != other:
        return f"these are {own} such as {names[0]!r}, and those {other} such as {known[0]!r}"
    return ""


def _name_one(name: str) -> str:
    if _ENSEMBL.fullmatch(name):
        return "Ensembl ids"
    return "numbers" if name.isdecimal() else "symbols"


def _fold(name: str) -> str:
    return _VERSION.sub(r"\1", name).casefold()


def _simplify(name: str) -> str:
    """Leave out cases, punctuation, the version of an Ensembl id, and the order of ``A+B``."""
    return "+".join(sorted(re.sub(r"[\W_]", "", part) for part in _fold(name).split("+")))

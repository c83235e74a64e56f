"""How is one label read: its targets, its controls, and what about it is doubtful?

Text alone is read here. Which labels a screen has, and what it measures, is given.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

CONTROL_LABELS = (
    "control",
    "ctrl",
    "non-targeting",
    "non_targeting",
    "nontargeting",
    "NT",
    "NTC",
    "unperturbed",
)
DEFAULT_SEPARATOR = "+"
#: What is taken for a separator where one label splits into known targets.
SEPARATORS = (DEFAULT_SEPARATOR, "_", "|", ";", ",", "&", ":", "/")
#: Names of genes have these, too: taken where all labels that have them split so.
WEAK_SEPARATORS = ("-", ".")
#: No name of a gene has one of these.
CLEAR_SEPARATORS = tuple(SEPARATORS[2:])

# Few names are so long; more is no name in parts.
_MAX_ATOMS = 8
_CONTROL_TOKENS = frozenset(label.casefold() for label in CONTROL_LABELS)
_CONTROL = re.compile(
    # SG is a gene, and SG_control its cells.
    r"(?:(?-i:(?:sg|si|sh|esi|cr|g)(?:RNA|rna)?|[Gg]uide)[-_ ]?)?"
    r"(?P<stem>controls?|ctrl|ctl|no[nt]?[-_ .]?target(?:ing|s)?|nt|ntc|scrambled?"
    r"|(?:un|non[-_ ]?)(?:perturbed|edited|transduced|transfected|infected)|empty[-_ ]?vector"
    r"|neg(?:ative)?[-_ .]?(?:ctrl|control|ctl)|safe(?:[-_ ]?(?:harbou?r|target(?:ing)?))?|neg"
    r"|intergenic|(?:(?:no|one)[-_ ]?)?non[-_ ]?gene(?:[-_ ]?site)?|(?:no|one)[-_ ]?site"
    r"|mock|untreated|vehicle|dmso|parental|wt(?!\d)"
    r"|wild[-_ ]?type)"
    r"(?:[-_ ]?(?:controls?|ctrl|guides?|sgrna|grna|(?:for[-_ ]?)?(?:human|mouse)))*"
    # NT5E is a gene, and NT-5e is none.
    r"(?:[-_ .#]+(?:sg|g|guide|grna|sgrna|rep|replicate)?[-_ .#]*\d+(?:[-_.]\d+)*[a-z]?"
    r"|(?:sg|g|guide|grna|sgrna)?\d+(?:[-_.]\d+)*)?",
    re.IGNORECASE,
)
# What programs write where a cell has no label, or more than one.
_MISSING = re.compile(
    r"|[(\[{]\s*[)\]}]"
    r"|na(?:[-_ ]\d+)?|nan|n[/.]a\.?|nat|<na>|none|null|-+|\*+|\.+|\?+|missing|negative"
    r"|#(?:n/a|name\??|ref!?|value!?|null!?|num!?|div/0!?)|(?:un|not[ _-]?)det(?:ermined|ected)"
    r"|none[ _-](?:detected|assigned|found)|no[ _-]?(?:feature[ _-]?)?calls?"
    r"|unknown(?:[-_ ]?\d+)?|undefined|other|filtered|low[ _-]?quality|(?:un|not[ _-]?)assigned"
    r"|doublets?|multiplets?|multi(?:ple)?(?:[ _-]guides?)?|ambig(?:uous)?"
    r"|no[ _-]?guides?",
    re.IGNORECASE,
)
# Of contexts, too; "other" or "negative" may be one.
# Cells without a treatment have "none"; "None" is what Python writes.
_NO_CONTEXT = re.compile(
    r"|na|nan|n[/.]a\.?|nat|<na>|#n/a|(?-i:None)|null|-+|\?|missing|undefined"
    r"|(?:un|not[ _-]?)assigned",
    re.IGNORECASE,
)
_CONTROL_JOINS = re.compile(r"__|[+_|;,&:/ -]")
# Strand and position, or transcripts, as libraries of guides for whole genomes write them.
_GUIDE_MARK = re.compile(r"_[+-]_\d+|[_-]P1P2(?:[_-]|$)|_P[12](?:[_-]|$)|.[_-]ENS[A-Z]*[GT]\d")


def is_control_token(token: str) -> bool:
    """Whether a label, or one part of a label such as the ``ctrl`` of ``A+ctrl``, is a control."""
    return token.casefold() in _CONTROL_TOKENS


@lru_cache(maxsize=1 << 16)
def get_control_stem(label: str) -> str | None:
    """Return what a control-like label is a number of; ``None`` for others.

    ``non-targeting_00001`` and ``NonTargeting2`` have the stem ``nontargeting``, and
    ``NegCtrl0_NegCtrl1`` has ``negctrl``.
    """
    if found := _CONTROL.fullmatch(label.strip()):
        return re.sub(r"[-_ .]", "", found["stem"]).casefold()
    # Of several parts all are controls or numbers, at least one is a control.
    for join in dict.fromkeys(_CONTROL_JOINS.findall(label)):
        parts = [part for part in label.split(join) if not part.isdecimal()]
        stems = {get_control_stem(part) or "" for part in parts}
        if stems and "" not in stems:
            return "+".join(sorted(stems))
    return None


def is_control_like(label: str) -> bool:
    """Whether a label is a control token, with or without a number, or several of them."""
    return get_control_stem(label) is not None


@lru_cache(maxsize=1 << 16)
def is_missing_like(label: str) -> bool:
    """Whether a label says that there is none."""
    return _MISSING.fullmatch(label.strip()) is not None


def is_no_context(value: str) -> bool:
    """Whether the value of a context says that there is none."""
    return _NO_CONTEXT.fullmatch(value.strip()) is not None


def has_guide_mark(label: str) -> bool:
    """Whether a label names a strand and a position, or a transcript, as guides are named."""
    return _GUIDE_MARK.search(label) is not None


def has_guide_number(label: str) -> bool:
    """Whether a label looks as names of guides do, as ``STAT1g2``, ``STAT1_2``, ``sgSTAT1``."""
    return (
        re.fullmatch(r".*[A-Z0-9](?:[_-]?s?g\d+|_\d+)|(?:sg|si|sh|esi|cr|g)[A-Z].*", label)
        is not None
    )


def read_controls(control: str | Sequence[str]) -> tuple[str, ...]:
    """Return the labels of control cells as text, whether one is given or several."""
    if isinstance(control, str) or not isinstance(control, Iterable):
        return (str(control),)
    control = sorted(control) if isinstance(control, set | frozenset) else control
    return tuple(dict.fromkeys(map(str, control)))


def split_label(label: str, separator: str, is_whole: Callable[[str], bool]) -> list[str]:
    """Split a label; names that contain the separator are kept whole, the longest first."""
    atoms = [atom.strip() for atom in label.split(separator)]
    parts, start = [], 0
    while start < len(atoms):
        for stop in range(min(len(atoms), start + _MAX_ATOMS), start, -1):
            name = separator.join(atoms[start:stop])
            if stop == start + 1 or is_whole(name):
                break
        parts.append(name)
        start = stop
    return parts


def take_once(label: str) -> str:
    """Return ``A_B`` of ``A_B__A_B``: the ``guide_identity`` of Norman et al. says all twice."""
    first, _, second = label.partition("__")
    return first if first == second and first else label


@lru_cache(maxsize=64)
def get_control_parts(controls: frozenset[str], separator: str | None) -> frozenset[str]:
    """Return the parts of control labels such as ``NegCtrl0_NegCtrl0`` that stand for controls."""
    found: set[str] = set()
    for label in controls if separator else ():
        parts = [part.strip() for part in label.split(str(separator))]
        is_told = all(map(is_control_like, parts)) or len(set(parts)) == 1
        if len(parts) > 1 and all(parts) and is_told and not _CONTROL.fullmatch(label):
            found.update(parts)
    return frozenset(found)


def list_targets(
    label: str,
    *,
    controls: frozenset[str],
    separator: str | None,
    names: Collection[str] = frozenset(),
    guides: Mapping[str, str] | None = None,
) -> list[str]:
    """Read a label as its targets, in the order in which it names them.

    Parameters
    ----------
    label
        Label such as ``"A+B"``.
    controls
        The control labels of the screen.
    separator
        What stands between two targets; ``None`` or ``""`` when labels name one target each.
    names
        Known names, which are kept whole where they contain the separator.
    guides
        Label that each guide stands for.

    Returns
    -------
    Target names without controls, some of them perhaps twice.

    Raises
    ------
    ValueError
        When the label, or a part of it, is empty.
    """
    guides = guides or {}
    told = frozenset(guide for guide, stands_for in guides.items() if guide == stands_for)
    known: dict[str, Any] = {"controls": controls, "separator": separator}
    parts = list_parts(label, **known, names=names, guides=guides)
    own = get_control_parts(controls, separator)
    if len(parts) == 1:
        [part] = parts
        if part in controls or part in own:
            return []
        if part in guides and part not in told:
            stands_for = _split_genes(guides[part], separator)
            if len(stands_for) > 1:
                return [one for one in stands_for if one not in controls]
            return list_targets(guides[part], **known, names=names)
        return parts

    def is_control(part: str) -> bool:
        if part in told:
            return False
        if part in controls or part in own or is_control_token(part):
            return True
        return part not in names and is_control_like(part)

    read = (
        list_targets(part, **known, names=names, guides={part: guides[part]})
        if part in guides
        else [part]
        for part in parts
    )
    return [part for part in chain.from_iterable(read) if not is_control(part)]


def _split_genes(label: str, separator: str | None) -> list[str]:
    """Split what a guide stands for at ``+``, where the separator of the screen is another."""
    if not separator or separator == DEFAULT_SEPARATOR:
        return [label]
    return [part.strip() for part in label.split(DEFAULT_SEPARATOR)]


def list_parts(
    label: str,
    *,
    controls: Collection[str],
    separator: str | None,
    names: Collection[str] = frozenset(),
    guides: Collection[str] = frozenset(),
) -> list[str]:
    """Take a label apart, into targets, controls and guides as it writes them.

    Parameters
    ----------
    label, controls, separator, names, guides
        See :func:`list_targets`.

    Returns
    -------
    The parts; one where the label is a name.

    Raises
    ------
    ValueError
        When the label, or a part of it, is empty.
    """
    text = label.strip()
    text = take_once(text) if separator == "_" and text not in names else text
    own = get_control_parts(frozenset(controls), separator)
    if text in controls or text in own or text in guides:
        return [text]
    if not text:
        raise ValueError(
            f"A perturbation label is empty: {label!r}. Label its cells or drop them."
        )
    if not separator or text in names:
        return [text]

    def is_whole(name: str) -> bool:
        return (
            name in names or name in controls or name in guides or bool(_CONTROL.fullmatch(name))
        )

    parts = split_label(text, str(separator), is_whole)
    if not all(parts):
        raise ValueError(
            f"The perturbation label {label!r} has an empty target. Write labels as "
            f"'A{separator}B', or say that none is a combination: separator=''"
        )
    return parts


def list_readings(label: str, separator: str, is_known: Callable[[str], bool]) -> list[list[str]]:
    """List all ways to split a label into parts that are known."""
    atoms = [atom.strip() for atom in label.split(separator)]
    if len(atoms) > _MAX_ATOMS:
        return []
    found: list[list[list[str]]] = [[[]]]
    for stop in range(1, len(atoms) + 1):
        ends = ((start, separator.join(atoms[start:stop])) for start in range(stop))
        found.append(
            [[*before, name] for start, name in ends if is_known(name) for before in found[start]]
        )
    return found[-1]


def parse_perturbation(
    label: str, *, control: str | Sequence[str], separator: str | None
) -> tuple[str, ...]:
    """Read a perturbation label as the sorted set of its targets.

    Parameters
    ----------
    label
        Label such as ``"A"``, ``"A+B"``, ``"A+ctrl"`` or the control label.
    control
        The control label of the screen, or all of them.
    separator
        What stands between two targets; ``None`` or ``""`` when labels name one target each.

    Returns
    -------
    Target names, sorted, without controls. Empty for control cells. The order of targets in
    the label does not matter, and a target that is named twice counts once. A label of one part
    is a control only if it is the control label itself, or a part of it: of two control labels,
    the one that was not named is a perturbation like any other.

    Raises
    ------
    ValueError
        When the label, or a part of it, is empty.

    Examples
    --------
    >>> parse_perturbation("B+A", control="control", separator="+")
    ('A', 'B')
    >>> parse_perturbation("A+ctrl", control="ctrl", separator="+")
    ('A',)
    """
    controls = frozenset(name.strip() for name in read_controls(control))
    return tuple(sorted(set(list_targets(label, controls=controls, separator=separator))))

"""Which column of a screen has the labels, and which of them are of control cells?"""

import logging
import re
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from itertools import chain

import pandas as pd

from scbig.labels._distorted import unwrap
from scbig.labels._reading import (
    CONTROL_LABELS,
    DEFAULT_SEPARATOR,
    SEPARATORS,
    WEAK_SEPARATORS,
    get_control_stem,
    is_control_like,
    is_control_token,
    split_label,
)
from scbig.labels._remedies import count, rewrite, write_controls

logger = logging.getLogger(__name__)

PERTURBATION_KEYS = (
    "perturbation",
    "condition",
    "perturbation_name",
    "perturbations",
    "target_gene",
    "gene_target",
    "target",
    "gene",
    "guide_identity",
    "guide_id",
    "assigned_guide",
    "guide_assignment",
)
#: Labels of a column that says only whether there is a perturbation.
ANY_PERTURBATION = frozenset(("perturbed", "targeting", "treated", "true", "false", "1", "1.0"))
#: Columns with the name of the guide rather than of the gene.
GUIDE_KEYS = (
    "guide_identity",
    "guide_id",
    "assigned_guide",
    "guide_assignment",
    "guide",
    "guides",
    "guide_name",
    "grna",
    "sgrna",
    "sgid_ab",
    "gene_transcript",
    "feature_call",
)


# What is targeted, added or expressed where nothing is to happen.
_STAND_IN = re.compile(
    r"(?:sg)?(?:SCR|EV|h?AAVS1|h?ROSA26|CLYBL|CCR5|LacZ|E?[GY]FP|mCherry|tdTomato|RFP|BFP|puro"
    r"|(?:firefly|renilla|[fr])?[-_ ]?luc(?:iferase)?|PBS|saline)[-_ ]?\d*",
    re.IGNORECASE,
)


def is_stand_in(name: str) -> bool:
    """Whether a target is usually one where nothing is to happen, such as ``AAVS1``."""
    return _STAND_IN.fullmatch(name) is not None


def list_labels(column: pd.Series) -> list[str]:
    """Return the distinct labels of a column as text, without missing ones."""
    if not _has_hashable(column):
        raise ValueError(_describe_lists(column))
    return list(dict.fromkeys(map(str, column.dropna().unique())))


def _has_hashable(column: pd.Series) -> bool:
    return column.dtype != object or all(isinstance(one, Hashable) for one in column)


def _describe_lists(column: pd.Series) -> str:
    """Say that labels are lists, and how to write them as text."""
    first = next(one for one in column if not isinstance(one, Hashable))
    obs, join = f"adata.obs[{column.name!r}]", f"{DEFAULT_SEPARATOR!r}.join(map(str, x))"
    return (
        f"obs[{column.name!r}] has values of type {type(first).__name__}, such as {first!r:.80}, "
        f"where each cell has one text. Write them as text: {obs} = {obs}.map(lambda x: {join} "
        "if hasattr(x, '__iter__') and not isinstance(x, str) else x)"
    )


def read_number(label: str) -> float | None:
    """Read a label that is a number; ``None`` for others."""
    try:
        return float(label)
    except ValueError:
        return None


def match_numbers(named: Iterable[str], labels: Iterable[str]) -> list[str]:
    """Write numbers as labels do: ``0`` is ``0.0`` in a column of such numbers."""
    known = list(labels)
    numbers = {read_number(label): label for label in known}
    numbers.pop(None, None)
    found = set(known)
    return [one if one in found else numbers.get(read_number(one), one) for one in named]


def count_cells(column: pd.Series) -> dict[str, int]:
    """Count the cells of each label, without spaces around it; the largest number first."""
    found: dict[str, int] = {}
    for label, n in column.value_counts().items():
        if n:
            found[str(label).strip()] = found.get(str(label).strip(), 0) + int(n)
    return found


def shorten(labels: Sequence[str], n_shown: int = 8) -> str:
    """Write labels as a list, or the first of them and how many more there are."""
    shown = ", ".join(map(repr, labels[:n_shown]))
    return f"[{shown}{f' and {len(labels) - n_shown} more' * (len(labels) > n_shown)}]"


def find_perturbation_key(
    obs: pd.DataFrame,
    named: Sequence[str],
    guides: Mapping[str, str],
    genes: Collection[str] = frozenset(),
) -> str:
    """Find the one conventional column that has control cells.

    Parameters
    ----------
    obs
        Cell annotations.
    named
        Control labels, where they are named.
    guides
        Label that each guide stands for, where there is a table.
    genes
        Names of the measured genes, which tell the likely column of several.

    Returns
    -------
    Name of the column. Copies of one, and columns that name guides or say only whether there is
    a perturbation, give way to others.

    Raises
    ------
    ValueError
        When there is none, or several; the message lists them.
    """
    found_as = {str(name).casefold(): name for name in reversed(list(obs))}
    present = [found_as[key] for key in (*PERTURBATION_KEYS, *GUIDE_KEYS) if key in found_as]
    present = list(dict.fromkeys(present))
    present = [key for key in present if _has_hashable(obs[key])] or present
    # A name that stands for itself is no guide.
    if own := {guide: label for guide, label in guides.items() if guide != label}:
        return _find_guide_key(obs, present, own)
    usual = [key for key in present if str(key).casefold() in PERTURBATION_KEYS]
    found = _keep_best([key for key in usual if _has_control(obs[key], named)], obs)
    if not found and not named:
        # Numbered controls, and columns of guides, only where there is nothing else.
        found = [key for key in present if any(map(is_control_like, list_labels(obs[key])))]
        found = _keep_best(found, obs)
    if len(found) > 1 and "perturbation" in found and "nperts" in found_as:
        return "perturbation"  # files of scPerturb, which keep the columns of their sources
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise ValueError(
            f"More than one column of obs could hold the perturbations: {found}. "
            f"Name it: {_name_columns(found, obs, genes)}"
        )
    if usual:
        labels = list_labels(obs[usual[0]])
        raise ValueError(_describe_absent(f"obs column(s) {usual}", labels, named, usual[0]))
    raise ValueError(
        f"No column of obs is recognised as the perturbation. Columns found: {list(obs)}. "
        f"{_name_likely(obs, genes)}"
    )


def _name_columns(keys: Iterable[str], obs: pd.DataFrame, genes: Collection[str]) -> str:
    """Name columns, those with the largest number of measured genes first."""
    by_genes = sorted(keys, key=lambda key: -len(set(list_labels(obs[key])).intersection(genes)))
    return ", or ".join(f"perturbation_key={key!r}" for key in by_genes[:4])


def _name_likely(obs: pd.DataFrame, genes: Collection[str]) -> str:
    """Name the columns of any name that have controls, or measured genes."""
    texts = (k for k in obs if not pd.api.types.is_numeric_dtype(obs[k]) and _has_hashable(obs[k]))
    labels = {key: list_labels(obs[key]) for key in texts}
    like = [k for k, v in labels.items() if any(map(is_control_like, v))]
    like = like or [k for k, v in labels.items() if not set(v).isdisjoint(genes)]
    if like:
        return f"Name it: {_name_columns(like, obs, genes)}"
    return "Name the one that has the perturbations, with perturbation_key"


def _keep_best(keys: list[str], obs: pd.DataFrame) -> list[str]:
    """Leave out columns that say less than others: guides, copies, and whether at all."""
    of_genes = [key for key in keys if str(key).casefold() not in GUIDE_KEYS]
    telling = [
        key
        for key in of_genes or keys
        if not all(
            is_control_like(one) or one.casefold() in ANY_PERTURBATION
            for one in list_labels(obs[key])
        )
    ]
    kept: list[str] = []
    for key in telling or of_genes or keys:
        if not any((obs[key].astype(str) == obs[other].astype(str)).all() for other in kept):
            kept.append(key)
    return kept


def _find_guide_key(obs: pd.DataFrame, usual: Sequence[str], guides: Mapping[str, str]) -> str:
    """Return the column whose labels are in a table of guides."""
    others = [key for key in obs if not pd.api.types.is_float_dtype(obs[key])]
    for keys in (usual, others):
        labels = {key: list_labels(obs[key]) for key in keys}
        found = [
            k for k in keys if not set(match_numbers(guides, labels[k])).isdisjoint(labels[k])
        ]
        found = found or [
            k for k in keys if any(find_guides_inside(one, guides) for one in labels[k])
        ]
        if len(found) == 1:
            return found[0]
    what = f"Several columns of obs hold guides of guide_to_gene: {found}"
    what = what if found else f"No column of obs holds a guide of guide_to_gene: {list(obs)}"
    raise ValueError(f"{what}. Name it: perturbation_key={next(iter(found), '...')!r}")


def find_guides_inside(label: str, guides: Collection[str]) -> list[str]:
    """List the guides of a label of several, such as ``g1|g3``; none where a part is no guide."""
    for join in (*SEPARATORS, *WEAK_SEPARATORS) if label not in guides else ():
        parts = split_label(label, join, guides.__contains__)
        if len(parts) > 1 and all(part in guides for part in parts):
            return parts
    return []


def _has_any(labels: Sequence[str], named: Iterable[str]) -> bool:
    return not set(match_numbers(named, labels)).isdisjoint(labels)


def _has_control(column: pd.Series, named: Sequence[str]) -> bool:
    labels = list_labels(column)
    if named:
        return _has_any(labels, named)
    return any(is_control_token(label) for label in labels)


def check_named(named: Sequence[str], labels: Sequence[str], key: str) -> tuple[str, ...]:
    """Return the control labels that were named, or raise when no cell has one of them.

    Parts of control labels, such as the ``NegCtrl0`` of ``NegCtrl0_NegCtrl0``, may be named too.
    """
    found, named = set(labels), match_numbers(named, labels)
    absent = [label for label in named if label not in found]
    joined = (split_label(one, s, found.__contains__) for one in labels for s in SEPARATORS)
    if (
        named
        and len(absent) == len(named)
        and not any(set(parts) <= set(named) for parts in joined)
    ):
        raise ValueError(_describe_absent(f"obs[{key!r}]", labels, named, key))
    if absent:
        logger.warning("No cell is labelled %s in obs[%r].", ", ".join(map(repr, absent)), key)
    return tuple(named)


def find_controls(
    labels: Sequence[str], key: str, genes: Collection[str], n_cells: Mapping[str, int]
) -> tuple[str, ...]:
    """Find the one control label, or all numbers of one.

    Parameters
    ----------
    labels
        Distinct labels.
    key
        Their column.
    genes
        Names of the measured genes, which only look like controls.
    n_cells
        Number of cells by label.

    Returns
    -------
    The labels, first one without a number.

    Raises
    ------
    ValueError
        When there is none, or labels of several kinds; the message lists them.
    """
    exact = [label for label in labels if is_control_token(label)]
    stems = {label: stem for label in labels if (stem := get_control_stem(label))}
    found = {k: set(v.split("+")) for k, v in stems.items() if k in exact or k not in genes}
    if not found:
        raise ValueError(_describe_absent(f"obs[{key!r}]", labels, (), key))
    common = set.intersection(*found.values())
    if len(exact) <= 1 and common:
        return tuple(sorted(found, key=lambda label: (label not in exact, label)))

    def is_less_likely(label: str) -> tuple[bool, int, bool, str]:
        is_usual = label in CONTROL_LABELS
        return label in genes, -n_cells.get(label.strip(), 0), not is_usual, label

    listed = sorted(exact if len(exact) > 1 else found, key=is_less_likely)
    own = [label for label in listed if label in genes]
    measured = f" ({shorten(own)[1:-1]} {'are' if own[1:] else 'is'} also measured)" if own else ""
    rest = " or ".join(f"control={label!r}" for label in listed[: 1 if own else 3])
    rest += f", if {own[0]!r} is the gene that was perturbed" if own else ""
    shown = count({label: n_cells.get(label.strip(), 0) for label in listed})
    raise ValueError(
        f"More than one label of obs[{key!r}] could be the control: {shown}{measured}. "
        f"Name it: {rest}, or all that are: {write_controls(listed, key)}"
    )


def _describe_absent(where: str, labels: Sequence[str], named: Sequence[str], key: str) -> str:
    """Say that there are no control cells, and how to name them."""
    wanted = repr(named[0]) if len(named) == 1 else f"any of {list(named or CONTROL_LABELS)}"
    told = (
        f"No control cells in {where}: no cell has the control label {wanted}. "
        f"Labels found: {shorten(labels)[1:-1]}. "
    )
    lists = {label: listed for label in labels if (listed := unwrap(label))}
    if any(map(is_control_like, chain.from_iterable(lists.values()))):
        mended = {label: DEFAULT_SEPARATOR.join(listed) for label, listed in lists.items()}
        line = rewrite(key, mended, labels, joins=(",", DEFAULT_SEPARATOR))
        return f"{told}They are lists as text. Take off brackets and quotes: {line}"
    like = [label for label in labels if is_control_like(label)]
    like = like or [label for label in labels if _has_control_word(label)]
    if not like:
        return f"{told}Name that of the control cells with the argument control"
    return f"{told}Name it: control={like if 1 < len(like) <= 12 else like[0]!r}"


def _has_control_word(label: str) -> bool:
    """Whether a word of a label is a name of controls, or of what takes their part."""
    words = re.findall(r"[A-Za-z]+\d*", label)
    words += [word[2:] for word in words if word[:2] in ("si", "sh")]
    return any(is_stand_in(word) or is_control_like(word) for word in words)

"""Does a table of guides name genes? What it says is doubted as labels are."""

from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Any

from scbig.labels._column import read_number
from scbig.labels._distorted import unwrap
from scbig.labels._doubts import (
    COMBINATION,
    CONTROL,
    DATE,
    GUIDE,
    LISTED,
    MISSING,
    Doubt,
    find_doubt,
    find_guide,
)
from scbig.labels._errors import LabelColumn
from scbig.labels._reading import (
    DEFAULT_SEPARATOR,
    is_control_like,
    is_missing_like,
    list_parts,
    list_targets,
)
from scbig.labels._remedies import write_table

_NUMBER, _CASE = "number", "case"
_WHAT = {
    MISSING: "says that there is none",
    CONTROL: "is like a control",
    GUIDE: "is like a guide",
    COMBINATION: "is like a combination",
    DATE: "is a date, as spreadsheets make of genes",
    LISTED: "is a list as text",
    _NUMBER: "is a number",
    _CASE: "is written in other letters elsewhere",
}
_N_LISTED = 24


def check_guide_table(
    column: LabelColumn, known: Collection[str], *, is_strict: bool, is_place: bool
) -> None:
    """Raise when a table says of guides that cells have what is no name of a gene.

    Parameters
    ----------
    column
        The labels, with the table.
    known
        Names that are what they are: measured genes, and what the user told.
    is_strict
        Whether the separator was found and not named.
    is_place
        Whether targets are places, which may be numbers.

    Raises
    ------
    ValueError
        The message lists guides with what is said of them, and has the table that mends it.
    """
    schema = column.schema
    given = {k: v for k, v in schema.guides if k != v}
    table = {k: given[k] for k in _list_used(column, given)}
    own: dict[str, Any] = {
        "controls": frozenset(one.strip() for one in schema.controls),
        "separator": schema.separator,
    }
    doubts: dict[str, dict[str, Doubt]] = {}
    for guide, label in table.items():
        if label not in known and (listed := unwrap(label)):
            doubts[guide] = {label: Doubt(LISTED, tuple(listed))}
        elif _has_gap(label, column):
            doubts[guide] = {label: _fill(label, column)}
    read = {
        k: [v] if k in doubts else list_targets(k, names=known, guides={k: v}, **own)
        for k, v in table.items()
    }
    singles = {v[0] for k, v in read.items() if len(v) == 1 and k not in doubts}
    names = {one for one in singles if not find_guide(one, known)}.union(known)
    cases = _find_cases(read, known)
    for guide, targets in read.items():
        is_read = guide not in doubts and not is_control_like(table[guide])
        for target in targets if is_read else ():
            if target in known:
                continue
            found = cases.get(target)
            if found is None and read_number(target) is not None:
                found = None if is_place else Doubt(_NUMBER)
            elif found is None:
                label = target if len(targets) == 1 else table[guide]
                rest = names.difference((target,)), *own.values()
                found = find_doubt(target, label, *rest, is_strict=is_strict, alone=singles)
            if found is not None:
                doubts.setdefault(guide, {})[target] = found
    _raise_table(doubts, read, column)


def _list_used(column: LabelColumn, table: Mapping[str, str]) -> list[str]:
    """List the guides that cells have, alone or in pairs."""
    schema = column.schema
    given: dict[str, Any] = {"controls": schema.controls, "separator": schema.separator}
    parts = (
        [label]
        if not label or (schema.separator and not all(label.split(schema.separator)))
        else list_parts(label, guides=table, **given)
        for label in column.n_cells
    )
    used = set(chain.from_iterable(parts))
    return [guide for guide in table if guide in used]


def _has_gap(label: str, column: LabelColumn) -> bool:
    """Whether a part of what a guide stands for says that there is none."""
    parts = [part.strip() for part in label.split(column.join)]
    return len(parts) > 1 and any(map(is_missing_like, parts)) and not is_control_like(label)


def _fill(label: str, column: LabelColumn) -> Doubt:
    parts = [part.strip() for part in label.split(column.join)]
    return Doubt(MISSING, tuple(part for part in parts if not is_missing_like(part)))


def _find_cases(read: Mapping[str, Iterable[str]], known: Collection[str]) -> dict[str, Doubt]:
    """Find targets that are written in large and in small letters, and are not all known."""
    alike: dict[str, dict[str, None]] = {}
    for target in chain.from_iterable(read.values()):
        alike.setdefault(target.casefold(), {})[target] = None
    found: dict[str, Doubt] = {}
    for group in alike.values():
        own = next((one for one in group if one in known), next(iter(group)))
        found |= {one: Doubt(_CASE, (own,)) for one in group if one != own}
    return found


def _raise_table(
    doubts: Mapping[str, Mapping[str, Doubt]], read: Mapping[str, list[str]], column: LabelColumn
) -> None:
    if not doubts:
        return
    guides = dict(column.schema.guides)
    shown = [
        f"{guide!r}: {guides[guide]!r}, which {_WHAT[next(iter(of_targets.values())).kind]}"
        for guide, of_targets in list(doubts.items())[:8]
    ]
    rest = f"; and {len(doubts) - 8} more" if len(doubts) > 8 else ""
    mended = {
        guide: DEFAULT_SEPARATOR.join(
            dict.fromkeys(
                one
                for target in read[guide]
                for one in (of_targets[target].parts if target in of_targets else (target,))
            )
        )
        for guide, of_targets in doubts.items()
    }
    own = {
        target: target
        for of_targets in doubts.values()
        for target, doubt in of_targets.items()
        if doubt.kind != MISSING
    }
    table = write_table(guides | mended) if all(mended.values()) else write_table(mended)
    if len(guides) > _N_LISTED and len(mended) <= _N_LISTED and all(mended.values()):
        table = f"guide_to_gene={{**guide_to_gene, **{mended}}}"
    if len(guides) + len(own) <= _N_LISTED:
        told = write_table(guides | own)
    else:
        told = f"guide_to_gene={{**guide_to_gene, **{dict(list(own.items())[:_N_LISTED])}}}"
    is_name = f" If they are names of targets as they are, say so: {told}" if own else ""
    raise ValueError(
        f"guide_to_gene has no name of a gene for {len(doubts)} guide(s) of obs[{column.key!r}]: "
        f"{'; '.join(shown)}{rest}. Write the genes in the table: {table}.{is_name}"
    )

"""Is every label of a screen understood? What is not is listed, with what mends it."""

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Any

import pandas as pd

from scbig.labels._column import ANY_PERTURBATION, count_cells, read_number
from scbig.labels._distorted import unwrap
from scbig.labels._doubts import (
    COMBINATION,
    CONTROL,
    DATE,
    GUIDE,
    MISSING,
    Doubt,
    find_doubt,
    find_guide,
)
from scbig.labels._errors import (
    LabelColumn,
    raise_cases,
    raise_combined,
    raise_controls,
    raise_dates,
    raise_guides,
    raise_halves,
    raise_lists,
    raise_missing,
    raise_missing_genes,
    raise_numbers,
    raise_table,
    raise_telling,
)
from scbig.labels._reading import (
    CLEAR_SEPARATORS,
    DEFAULT_SEPARATOR,
    WEAK_SEPARATORS,
    has_guide_number,
    is_control_like,
    is_missing_like,
    list_targets,
    split_label,
    take_once,
)
from scbig.labels._schema import ScreenSchema
from scbig.labels._spellings import check_one_name, warn_of_spellings
from scbig.labels._table_audit import check_guide_table
from scbig.labels._two_readings import describe_readings, find_readings

#: Labels of this column name places, as guides may, and not genes.
LOCUS_KEY = "locus"


def check_labels(
    obs: pd.DataFrame,
    schema: ScreenSchema,
    known: Collection[str],
    *,
    separator: str | None,
    is_blind: bool,
    rows: Mapping[str, str] | None = None,
) -> set[str]:
    """Raise when labels look like something else than what they are read as.

    Parameters
    ----------
    obs
        Cell annotations of a screen.
    schema
        Where it keeps its labels.
    known
        Names of genes.
    separator
        What the user says it is; then ``-`` and ``.`` may be in names. Empty if all labels are
        names of targets as they are.
    is_blind
        Whether the names of genes are in another language than labels are.
    rows
        The gene that is measured under each name, where genes have several.

    Returns
    -------
    The targets that labels name.

    Raises
    ------
    ValueError
        When labels are missing or numbers, or look like guides or combinations.
    """
    column = LabelColumn(obs, schema, count_cells(obs[schema.perturbation_key]))
    guides, controls = dict(schema.guides), frozenset(one.strip() for one in schema.controls)
    _check_missing_like(column, guides)
    own: dict[str, Any] = {"controls": controls, "separator": schema.separator}
    names = {*known, *(label for guide, label in guides.items() if label == guide)}
    own_names, is_place = frozenset(names), schema.perturbation_key.casefold() == LOCUS_KEY
    is_strict = separator is None
    if separator != "":
        _check_genotypes(column, own_names)
        check_guide_table(column, own_names, is_strict=is_strict, is_place=is_place)
    stand_for = (list_targets(k, names=names, guides=guides, **own) for k in guides)
    names |= set(chain.from_iterable(stand_for))
    if separator != "":
        _check_written(column, names | guides.keys())
    read = {k: list_targets(k, names=names, guides=guides, **own) for k in column.n_cells}
    targets = {target for group in read.values() for target in group}
    if separator == "":
        return targets
    raise_numbers([] if is_place else _find_numbers(column, names), column)
    _check_telling(targets - names, column)
    _check_readings(column, names, read)
    if not is_place:
        _check_cases(read, names, column)
    _check_table(read, names, column)
    doubts = _find_doubts(read, names, schema, is_strict=is_strict, is_blind=is_blind)
    _raise_doubts(doubts, read, names, column, is_place=is_place)
    check_one_name(read, column, own_names, rows or {})
    warn_of_spellings(read, column, own_names)
    return targets


def _check_written(column: LabelColumn, known: Collection[str]) -> None:
    """Raise when labels are lists as text, or say of a part that there is none."""
    given = [k for k in column.n_cells if k not in known and k not in column.schema.controls]
    lists = {k: found for k in given if (found := unwrap(k))}
    raise_lists({k: column.join.join(found) for k, found in lists.items()}, column)
    if not column.schema.separator:
        return

    def is_whole(name: str) -> bool:
        return name in known or is_control_like(name)

    halves = {}
    for label in given:
        text = take_once(label) if column.join == "_" else label
        parts = split_label(text, column.join, is_whole)
        kept = [part for part in parts if is_whole(part) or not is_missing_like(part)]
        if len(kept) < len(parts) > 1 and not is_control_like(label):
            halves[label] = column.join.join(kept)
    raise_halves(halves, column)


def _check_genotypes(column: LabelColumn, known: Collection[str]) -> None:
    """Raise when labels are genotypes, whose ``+`` is no separator."""
    found = {
        label: gene if gene in known else ""
        for label in column.n_cells
        if (gene := re.sub(r"[-_ (]*[-+]/[-+]\)?$", "", label)) not in ("", label)
        and label not in known
        and label not in dict(column.schema.guides)
    }
    raise_guides(found, {k: v or k for k, v in found.items()}, column)


def _check_readings(
    column: LabelColumn, names: Collection[str], read: Mapping[str, list[str]]
) -> None:
    """Raise when a label can be read in two ways, of which all parts are known."""
    schema, alone = column.schema, {k for k, targets in read.items() if targets == [k]}
    given: dict[str, Any] = {"controls": schema.controls, "separator": schema.separator}
    guides = dict(schema.guides)
    known = alone.union(names)
    found = {
        label: readings
        for label in column.n_cells
        if (readings := find_readings(label, names=known, guides=guides, alone=alone, **given))
    }
    if found:
        where = f"{len(found)} label(s) of obs[{column.key!r}]"
        raise ValueError(describe_readings(found, where, names=names, **given))


def _check_cases(
    read: Mapping[str, list[str]], names: Collection[str], column: LabelColumn
) -> None:
    """Raise when targets differ in large and small letters only, and are not all known."""
    alike: dict[str, list[str]] = {}
    for label in column.n_cells:  # the largest number of cells first
        for target in read[label]:
            group = alike.setdefault(target.casefold(), [])
            group.extend([target] if target not in group else [])
    others: dict[str, str] = {}
    for group in alike.values():
        own = next((target for target in group if target in names), group[0])
        others |= {target: own for target in group if target != own and target not in names}
    labels = {k: v for k, v in read.items() if not others.keys().isdisjoint(v)}
    mended = {k: _join([others.get(one, one) for one in v], column) for k, v in labels.items()}
    raise_cases(others, mended, column)


def _join(targets: Iterable[str], column: LabelColumn) -> str:
    return column.join.join(dict.fromkeys(targets)) or column.schema.control


def _raise_doubts(
    doubts: Mapping[str, dict[str, Doubt]],
    read: Mapping[str, list[str]],
    names: Collection[str],
    column: LabelColumn,
    *,
    is_place: bool,
) -> None:
    """Raise what is doubted of labels, by its kind; labels of places may look like guides."""
    mended = {
        label: _join(
            chain.from_iterable(
                of_targets[one].parts or (one,) if one in of_targets else (one,)
                for one in read[label]
            ),
            column,
        )
        for label, of_targets in doubts.items()
    }
    kinds: dict[str, dict[str, Doubt]] = {}
    for label, of_targets in doubts.items():
        for doubt in of_targets.values():
            kinds.setdefault(doubt.kind, {}).setdefault(label, doubt)
    missing = kinds.get(MISSING, {})
    raise_halves({k: mended[k] if v.parts else "" for k, v in missing.items()}, column)
    raise_controls(kinds.get(CONTROL, ()), column)
    raise_dates({k: mended[k] for k in kinds.get(DATE, ())}, column)
    guides = {} if is_place else kinds.get(GUIDE, {})
    genes = {
        target: DEFAULT_SEPARATOR.join(doubt.parts)
        for label in guides
        for target, doubt in doubts[label].items()
        if doubt.kind == GUIDE
    }
    raise_guides(genes, {k: mended[k] for k in guides}, column)
    combined = kinds.get(COMBINATION, {})
    told = {*column.schema.controls, *dict(column.schema.guides)}
    is_used = any(
        len(group) > 1 or (column.join in label and group != [label] and label not in told)
        for label, group in read.items()
    )
    raise_combined(
        combined,
        {k: mended[k] for k in combined},
        column,
        names,
        is_used=is_used,
    )


def _find_doubts(
    read: Mapping[str, list[str]],
    names: Collection[str],
    schema: ScreenSchema,
    *,
    is_strict: bool,
    is_blind: bool,
) -> dict[str, dict[str, Doubt]]:
    """Find the labels with targets that are not known and look like something else."""
    clear = (*CLEAR_SEPARATORS, "_") if is_blind else CLEAR_SEPARATORS
    singles = {label for label, targets in read.items() if targets == [label]}
    numbered = sorted(one for one in singles.difference(names) if has_guide_number(one))
    # Names of genes end so, too, but not most of them.
    is_most = 3 * len(numbered) >= 2 * len(singles) and len(numbered) > 2
    doubts = {one: {one: Doubt(GUIDE)} for one in (numbered if is_most else ())}
    known = {k for k in singles if k in names or find_guide(k, names) is None}.union(names)
    controls = frozenset(one.strip() for one in schema.controls)
    unknown = [(k, one) for k, group in read.items() for one in group if one not in names]
    # What is doubted itself is no name by which others are known.
    for label, target in sorted(unknown, key=lambda pair: pair[1] not in singles):
        is_single = target in singles
        is_known = target in known
        known.discard(target)
        found = find_doubt(
            target,
            target if is_single else label,
            known,
            controls,
            schema.separator,
            is_strict=is_strict,
            clear=clear,
            alone=singles,
        )
        if found is None and not is_single and schema.separator in WEAK_SEPARATORS:
            found = Doubt(COMBINATION, (), str(schema.separator))
        known.update((target,) if is_known else ())
        # Labels that are names of controls are listed elsewhere.
        if found is not None and not (found.kind == CONTROL and is_control_like(target)):
            doubts.setdefault(label, {})[target] = found
            known.discard(target)
    return doubts


def check_other_controls(obs: pd.DataFrame, schema: ScreenSchema, genes: Collection[str]) -> None:
    """Raise when perturbations look like control cells that were not named.

    Parameters
    ----------
    obs
        Cell annotations of a screen.
    schema
        Where it keeps its labels.
    genes
        Names of the measured genes, which are no controls.

    Raises
    ------
    ValueError
        When there are some; the message lists them.
    """
    left = find_other_controls(obs, schema, genes)
    raise_controls(left, LabelColumn(obs, schema, left))


def find_other_controls(
    obs: pd.DataFrame, schema: ScreenSchema, genes: Collection[str]
) -> dict[str, int]:
    """Count the cells of labels that look like controls and are none."""
    n_cells = count_cells(obs[schema.perturbation_key])
    told = {guide for guide, label in schema.guides if guide == label}.union(genes)
    like = {k: n for k, n in n_cells.items() if k not in told and is_control_like(k)}
    return {k: n for k, n in like.items() if schema.parse(k)}


def _check_missing_like(column: LabelColumn, guides: Mapping[str, str]) -> None:
    n_cells, taken = column.n_cells, {*column.schema.controls, *guides}
    found = [k for k in n_cells if k not in taken and is_missing_like(k)]
    raise_missing(found, column, int(column.obs[column.key].isna().sum()))
    told = {k: v for k, v in guides.items() if k in n_cells and is_missing_like(v)}
    raise_missing_genes({k: v for k, v in told.items() if v not in taken}, column)


def _find_numbers(column: LabelColumn, known: Collection[str]) -> list[str]:
    """List labels that are numbers, and name neither genes nor guides."""
    understood = {*known, *column.schema.controls, *dict(column.schema.guides)}
    return [
        label
        for label in column.n_cells
        if label not in understood and read_number(label) is not None
    ]


def _check_telling(unknown: Collection[str], column: LabelColumn) -> None:
    """Raise when labels say only whether cells are perturbed."""
    if unknown and all(target.casefold() in ANY_PERTURBATION for target in unknown):
        raise_telling([one for one in sorted(unknown) if one in column.n_cells], column)


def _check_table(
    read: Mapping[str, list[str]], names: Collection[str], column: LabelColumn
) -> None:
    """Raise when guides are in no table that was given."""
    # What says only how a label is split is no table of guides.
    guides = {k for k, v in column.schema.guides if k != v and DEFAULT_SEPARATOR not in v}
    if guides.isdisjoint(column.n_cells):
        return
    left = {k: [one for one in group if one not in names] for k, group in read.items()}
    raise_table({k: group for k, group in left.items() if group}, column)

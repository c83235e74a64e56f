"""Is every label of a screen understood? What is not is listed, with what mends it."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pandas as pd

from scbig.data._doubts import COMBINATION, CONTROL, GUIDE, MISSING, Doubt, find_doubt
from scbig.data._label_column import count_cells, list_labels, shorten
from scbig.data._labels import (
    CLEAR_SEPARATORS,
    DEFAULT_SEPARATOR,
    WEAK_SEPARATORS,
    has_guide_number,
    is_control_like,
    is_missing_like,
    list_targets,
)
from scbig.data._schema import ScreenSchema, Targets
from scbig.data._screen import get_context_names

#: Labels of this column name places, as guides may, and not genes.
LOCUS_KEY = "locus"


def check_labels(
    obs: pd.DataFrame,
    schema: ScreenSchema,
    known: Collection[str],
    *,
    separator: str | None,
    is_blind: bool,
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

    Returns
    -------
    The targets that labels name.

    Raises
    ------
    ValueError
        When labels are missing or numbers, or look like guides or combinations.
    """
    column = obs[schema.perturbation_key]
    n_cells = count_cells(column)
    guides, controls = dict(schema.guides), frozenset(one.strip() for one in schema.controls)
    _check_missing_like(n_cells, column, schema)
    own: dict[str, Any] = {"controls": controls, "separator": schema.separator}
    names = {*known, *(label for guide, label in guides.items() if label == guide)}
    names |= {t for label in guides.values() for t in list_targets(label, names=names, **own)}
    read = {label: list_targets(label, names=names, guides=guides, **own) for label in n_cells}
    singles = {label for label, targets in read.items() if targets == [label]}
    targets = {target for group in read.values() for target in group}
    if separator == "":
        return targets
    _check_numbers(n_cells, schema, known)
    if any(guide in n_cells for guide in guides):
        _check_table(read, names, n_cells, schema)
    clear = (*CLEAR_SEPARATORS, "_") if is_blind else CLEAR_SEPARATORS
    doubts: dict[str, Doubt] = {}
    for label, group in read.items():
        for target in group:
            if target in names or (target != label and target in singles):
                continue
            if target != label and schema.separator in WEAK_SEPARATORS:
                doubts[label] = Doubt(COMBINATION, (), str(schema.separator))
            given = target, label, names | singles, controls, schema.separator
            doubt = find_doubt(*given, is_strict=separator is None, clear=clear)
            if doubt is not None and doubt.kind != CONTROL:
                doubts[label] = doubt
    numbered = sorted(one for one in singles - names if has_guide_number(one))
    # Names of genes end so, too, but not most of them.
    if 3 * len(numbered) >= 2 * len(singles) and len(numbered) > 2:
        doubts = dict.fromkeys(numbered, Doubt(GUIDE)) | doubts
    _raise_missing({k: n_cells[k] for k, v in doubts.items() if v.kind == MISSING}, schema, 0)
    if schema.perturbation_key.casefold() != LOCUS_KEY:
        of_guides = {k: v for k, v in doubts.items() if v.kind == GUIDE}
        _raise_guides(of_guides, n_cells, obs, schema)
    combined = {k: v for k, v in doubts.items() if v.kind == COMBINATION}
    _raise_combined(combined, n_cells, schema, any(len(group) > 1 for group in read.values()))
    return targets


def describe_labels(obs: pd.DataFrame, schema: ScreenSchema) -> str:
    """Say what was read from the labels of a screen, in two lines for the log.

    Parameters
    ----------
    obs
        Cell annotations.
    schema
        Where they keep their labels.

    Returns
    -------
    Numbers of control cells, of targets perturbed alone and of combinations, with examples as
    they are written; then the contexts, with the largest first.
    """
    n_cells = count_cells(obs[schema.perturbation_key])
    read = {label: schema.list_targets(label) for label in sorted(n_cells)}
    of_size: dict[int, dict[Targets, str]] = {1: {}, 2: {}}
    for label, targets in read.items():
        if targets:
            of_size[min(len(targets), 2)].setdefault(tuple(sorted(targets)), label)
    controls = [label for label, targets in read.items() if not targets]
    singles, combined = (
        f"{len(found)} {name}{_give_examples(found, schema)}"
        for name, found in zip(("targets alone", "combinations"), of_size.values(), strict=True)
    )
    contexts = get_context_names(obs, schema.context_keys).value_counts()
    shown = ", ".join(f"{name} ({n} cells)" for name, n in contexts.head(4).items())
    rest = f" and {len(contexts) - 4} more" if len(contexts) > 4 else ""
    n_controls, named = sum(n_cells[one] for one in controls), shorten(controls, 3)[1:-1]
    return (
        f"Read {n_controls} control cells ({named}), {singles} and {combined}."
        f"\nIn {len(contexts)} context(s): {shown}{rest}."
    )


def _give_examples(found: Mapping[Targets, str], schema: ScreenSchema, n_shown: int = 3) -> str:
    """Show some labels, with what they are read as where that is something else."""
    shown = [
        repr(label) if label == schema.join(targets) else f"{label!r} is {' and '.join(targets)}"
        for targets, label in list(found.items())[:n_shown]
    ]
    rest = " ..." if len(found) > n_shown else ""
    return f" ({', '.join(shown)}{rest})" if shown else ""


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
    if left := find_other_controls(obs, schema, genes):
        column = f"adata.obs[{schema.perturbation_key!r}]"
        listed = str([*schema.controls, *left])
        start = next(iter(left)).rstrip("0123456789")
        if len(left) > 12 and all(label.startswith(start) for label in left):
            listed = f"[x for x in {column}.unique() if x.startswith({start!r})]"
            listed = f"{list(schema.controls[:3])} + {listed}"
        raise ValueError(
            f"{len(left)} label(s) of obs[{schema.perturbation_key!r}] look like controls, which "
            f"are {shorten(schema.controls)[1:-1]}: {_count(left)}. Name all that are: "
            f"control={listed}; or drop the cells: "
            f"{_drop(schema.perturbation_key, left)}"
        )


def find_other_controls(
    obs: pd.DataFrame, schema: ScreenSchema, genes: Collection[str]
) -> dict[str, int]:
    """Count the cells of labels that look like controls and are none."""
    n_cells = count_cells(obs[schema.perturbation_key])
    like = {k: n for k, n in n_cells.items() if k not in genes and is_control_like(k)}
    return {k: n for k, n in like.items() if schema.parse(k)}


def _check_missing_like(
    n_cells: Mapping[str, int], column: pd.Series, schema: ScreenSchema
) -> None:
    taken = {*schema.controls, *(guide for guide, _ in schema.guides)}
    found = {k: n for k, n in n_cells.items() if k not in taken and is_missing_like(k)}
    labels = dict(schema.guides)
    found |= {k: n_cells[k] for k, v in labels.items() if k in n_cells and is_missing_like(v)}
    _raise_missing(found, schema, int(column.isna().sum()))


def _raise_missing(found: Mapping[str, int], schema: ScreenSchema, n_missing: int) -> None:
    if not found:
        return
    key = schema.perturbation_key
    listed = _count(found) + (f", NaN ({n_missing} cells)" if n_missing else "")
    empty = "A perturbation label is empty: ''. " if "" in found else ""
    own = next((label for label in found if label), None)
    is_control = f"If those are controls, name them: control={own!r}. " if own else ""
    raise ValueError(
        f"{empty}obs[{key!r}] is missing for {sum(found.values()) + n_missing} cell(s), by what "
        f"their labels say: {listed}. {is_control}Otherwise drop them: "
        f"{_drop(key, found, is_missing=bool(n_missing))}"
    )


def _check_numbers(
    n_cells: Mapping[str, int], schema: ScreenSchema, known: Collection[str]
) -> None:
    """Raise when labels are numbers that name neither genes nor guides."""
    understood = {*known, *schema.controls, *dict(schema.guides)}
    unknown = {k: n for k, n in n_cells.items() if k not in understood and _is_number(k)}
    if unknown and schema.perturbation_key.casefold() != LOCUS_KEY:
        key, first = schema.perturbation_key, next(iter(unknown))
        raise ValueError(
            f"obs[{key!r}] holds numbers, which name no gene: {_count(unknown)}. Tell what they "
            f"stand for: guide_to_gene={{{first!r}: 'GENE', ...}}; or, where all labels are "
            "names of targets as they are: separator=''"
        )


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _check_table(
    read: Mapping[str, list[str]],
    names: Collection[str],
    n_cells: Mapping[str, int],
    schema: ScreenSchema,
) -> None:
    """Raise when guides are in no table that was given."""
    left = {k: n_cells[k] for k, group in read.items() if not all(one in names for one in group)}
    if left:
        raise ValueError(
            f"{len(left)} label(s) of obs[{schema.perturbation_key!r}] are neither in "
            f"guide_to_gene nor measured genes: {_count(left)}. Add them to the table, as guides "
            f"of a gene or of {schema.control!r}, or drop the cells: "
            f"{_drop(schema.perturbation_key, left)}"
        )


def _raise_guides(
    doubts: Mapping[str, Doubt],
    n_cells: Mapping[str, int],
    obs: pd.DataFrame,
    schema: ScreenSchema,
) -> None:
    if not doubts:
        return
    key, first = schema.perturbation_key, next(iter(doubts))
    gene = "".join(doubts[first].parts) or "GENE"
    better = [
        other for other in obs if other != key and _names_genes(obs[other], obs[key], doubts)
    ]
    column = f"Name the column that has the gene: perturbation_key={better[0]!r}" if better else ""
    raise ValueError(
        f"{len(doubts)} label(s) of obs[{key!r}] look like guides and not like genes: "
        f"{_count({k: n_cells[k] for k in doubts})}. {column + '; or tell' if better else 'Tell'} "
        f"which gene each guide is of: guide_to_gene={{{first!r}: {gene!r}, ...}}. If all labels "
        "are names of targets as they are: separator=''"
    )


def _names_genes(column: pd.Series, guides: pd.Series, doubtful: Collection[str]) -> bool:
    """Whether a column has controls, and the gene in the name of nearly each guide."""
    if pd.api.types.is_numeric_dtype(column):
        return False
    has_control = any(map(is_control_like, list_labels(column)))
    pairs = pd.DataFrame({"gene": column, "guide": guides}).dropna().drop_duplicates()
    pairs = pairs.astype(str)[pairs["guide"].astype(str).isin(doubtful)]
    n_found = sum(
        gene != guide and gene in guide
        for gene, guide in zip(pairs["gene"], pairs["guide"], strict=True)
    )
    return has_control and 10 * n_found >= 9 * len(pairs)


def _raise_combined(
    doubts: Mapping[str, Doubt], n_cells: Mapping[str, int], schema: ScreenSchema, is_used: bool
) -> None:
    if not doubts:
        return
    key, (first, doubt) = schema.perturbation_key, next(iter(doubts.items()))
    listed = _count({k: n_cells[k] for k in doubts})
    own = schema.separator or DEFAULT_SEPARATOR
    if not doubt.parts:
        raise ValueError(
            f"separator={own!r} splits {len(doubts)} label(s) of obs[{key!r}] into parts that are "
            f"neither measured nor perturbed alone: {listed}. Where it belongs to a name, say "
            f"which: guide_to_gene={{{first!r}: {first!r}}}; if no label is a combination: "
            "separator=''"
        )
    remedy = f"Name what joins targets: separator={doubt.separator!r}"
    if is_used:
        remedy = (
            f"Write all alike: adata.obs[{key!r}] = adata.obs[{key!r}].astype(str).str.replace("
            f"{doubt.separator!r}, {own!r}, regex=False)"
        )
    raise ValueError(
        f"{len(doubts)} label(s) of obs[{key!r}] look like combinations, and would be read as one "
        f"target each, as the separator is {own!r}: {listed}; {first!r} could be "
        f"{' and '.join(doubt.parts)}. If they are names of targets as they are: separator=''. "
        f"{remedy}"
    )


def _count(labels: Mapping[str, int], n_shown: int = 8) -> str:
    """List labels with their numbers of cells."""
    shown = ", ".join(f"{k!r} ({n} cells)" for k, n in list(labels.items())[:n_shown])
    return shown if len(labels) <= n_shown else f"{shown} and {len(labels) - n_shown} more"


def _drop(key: str, labels: Iterable[str], *, is_missing: bool = False) -> str:
    """Write the line that drops the cells of some labels."""
    column, listed = f"adata.obs[{key!r}]", list(labels)
    dropped = f"~{column}.astype(str).str.strip().isin({listed})"
    dropped = f"{column}.notna() & {dropped}" if is_missing else dropped
    return f"adata = adata[{dropped}].copy()"

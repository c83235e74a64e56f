"""What is said about labels that are not understood: which, and the line that mends them."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pandas as pd

from scbig.labels._column import list_labels, shorten
from scbig.labels._doubts import Doubt
from scbig.labels._reading import DEFAULT_SEPARATOR, is_control_like, split_label
from scbig.labels._remedies import (
    count,
    drop,
    rewrite,
    take_genes,
    write_controls,
    write_table,
)
from scbig.labels._schema import ScreenSchema

_WORD = re.compile(r"[^\W_]+")
_NAMES_AS_THEY_ARE = "If they are names of targets as they are: separator=''"


@dataclass(frozen=True)
class LabelColumn:
    """The labels of a screen.

    Attributes
    ----------
    obs
        Cell annotations.
    schema
        Where they keep their labels.
    n_cells
        Number of cells by label.
    """

    obs: pd.DataFrame
    schema: ScreenSchema
    n_cells: Mapping[str, int]

    @property
    def key(self) -> str:
        """Name of the column."""
        return self.schema.perturbation_key

    @property
    def join(self) -> str:
        """What is written between two targets."""
        return self.schema.separator or DEFAULT_SEPARATOR

    def count(self, labels: Collection[str]) -> str:
        """List labels with their numbers of cells."""
        return count({label: self.n_cells[label] for label in labels})

    def rewrite(self, mended: Mapping[str, str], old: str = "") -> str:
        """Write the line that puts others in the place of some labels."""
        return rewrite(self.key, mended, self.n_cells, joins=(old, self.join))

    def drop(self, labels: Collection[str]) -> str:
        """Write the line that drops the cells of some labels."""
        return drop(self.key, labels)


def raise_missing(found: Collection[str], column: LabelColumn, n_missing: int) -> None:
    """Raise when labels say that there is none."""
    if not found:
        return
    listed = column.count(found) + (f", NaN ({n_missing} cells)" if n_missing else "")
    empty = "A perturbation label is empty: ''. " if "" in found else ""
    own = [label for label in found if label]
    named = [*column.schema.controls, *own]
    is_control = f"If those are controls, name them: control={named}. " if own else ""
    n_cells = sum(column.n_cells[label] for label in found) + n_missing
    raise ValueError(
        f"{empty}obs[{column.key!r}] is missing for {n_cells} cell(s), by what "
        f"their labels say: {listed}. {is_control}Otherwise drop them: "
        f"{drop(column.key, found, is_missing=bool(n_missing))}"
    )


def raise_missing_genes(found: Mapping[str, str], column: LabelColumn) -> None:
    """Raise when a table of guides says of some that they have no gene."""
    if not found:
        return
    guides = dict(column.schema.guides)
    listed = ", ".join(f"{guide!r} is {gene!r}" for guide, gene in list(found.items())[:8])
    table = guides | dict.fromkeys(found, column.schema.control)
    given = f"give them to {column.schema.control!r}: {write_table(table)}"
    raise ValueError(
        f"guide_to_gene says of {len(found)} guide(s) that they have no gene: {listed}. If those "
        f"are controls, {given}. Otherwise drop their cells: {column.drop(found)}"
    )


def raise_halves(mended: Mapping[str, str], column: LabelColumn) -> None:
    """Raise when a part of a label says that there is none, beside one that names a target."""
    if not mended:
        return
    # Nothing between two separators is a slip; nothing beside one may be a gap.
    inner = {k: new for k, new in mended.items() if k[:1].isalnum() and k[-1:].isalnum()}
    if loose := {k: new for k, new in inner.items() if _WORD.findall(k) == _WORD.findall(new)}:
        first, new = next(iter(loose.items()))
        raise ValueError(
            f"{len(loose)} label(s) of obs[{column.key!r}] have a separator too many, with "
            f"nothing beside it: {column.count(loose)}. To read {first!r} as {new!r}: "
            f"{column.rewrite(loose)}"
        )
    n_cells = sum(column.n_cells[label] for label in mended)
    told = (
        f"obs[{column.key!r}] is missing for {n_cells} cell(s), by what a part of their labels "
        f"says: {column.count(mended)}"
    )
    if whole := {label: new for label, new in mended.items() if new}:
        first, new = next(iter(whole.items()))
        told += f". To read {first!r} as {new!r}: {column.rewrite(whole)}\nOr drop them"
    else:
        told += ". Drop them"
    raise ValueError(f"{told}: {column.drop(mended)}")


def raise_lists(mended: Mapping[str, str], column: LabelColumn) -> None:
    """Raise when labels are lists or quotes that were written as text."""
    if not mended:
        return
    first, new = next(iter(mended.items()))
    targets = " and ".join(new.split(column.join))
    raise ValueError(
        f"{len(mended)} label(s) of obs[{column.key!r}] have brackets or quotes around them, as "
        f"lists that were written as text: {column.count(mended)}; {first!r} could be {targets}. "
        f"Take them off: {column.rewrite(mended, ',')}"
    )


def raise_controls(left: Collection[str], column: LabelColumn) -> None:
    """Raise when perturbations look like control cells that were not named."""
    if not left:
        return
    named = write_controls(left, column.key, column.schema.controls)
    raise ValueError(
        f"{len(left)} label(s) of obs[{column.key!r}] look like controls, which "
        f"are {shorten(column.schema.controls)[1:-1]}: {column.count(left)}. Name all that are: "
        f"{named}; or drop the cells: {column.drop(left)}"
    )


def raise_dates(mended: Mapping[str, str], column: LabelColumn) -> None:
    """Raise when labels are dates."""
    if not mended:
        return
    told = (
        f"{len(mended)} label(s) of obs[{column.key!r}] are dates, as spreadsheets make of genes"
    )
    if genes := {label: new for label, new in mended.items() if new != label}:
        first, new = next(iter(genes.items()))
        raise ValueError(
            f"{told}: {column.count(mended)}; {first!r} was likely {new}, perhaps under its "
            f"earlier name. Write the genes: {column.rewrite(genes)}"
        )
    raise ValueError(
        f"{told}: {column.count(mended)}. Write the genes in their place, or drop the cells: "
        f"{column.drop(mended)}"
    )


def raise_numbers(unknown: Collection[str], column: LabelColumn) -> None:
    """Raise when labels are numbers."""
    if unknown:
        raise ValueError(
            f"obs[{column.key!r}] holds numbers, which name no gene: {column.count(unknown)}. "
            f"Tell what they stand for: {write_table(dict.fromkeys(unknown, ''))}; "
            "or, where all labels are names of targets as they are: separator=''"
        )


def raise_telling(found: Collection[str], column: LabelColumn) -> None:
    """Raise when labels say only whether cells are perturbed."""
    raise ValueError(
        f"obs[{column.key!r}] says only whether cells are perturbed: {column.count(found)}. "
        f"Columns found: {list(column.obs)}. Name the one with the targets: "
        "perturbation_key='...'; or, if that is the name of one: separator=''"
    )


def raise_cases(others: Mapping[str, str], mended: Mapping[str, str], column: LabelColumn) -> None:
    """Raise when targets are written in large and in small letters."""
    if not others:
        return
    first, own = next(iter(others.items()))
    both = {name: name for pair in others.items() for name in pair}
    raise ValueError(
        f"{len(others)} target(s) of obs[{column.key!r}] are written in two ways, with large and "
        f"with small letters, such as {own!r} and {first!r}: {column.count(mended)}. If they are "
        f"different targets: {write_table(both)}. If not, write them alike: "
        f"{column.rewrite(mended)}"
    )


def raise_table(left: Mapping[str, Collection[str]], column: LabelColumn) -> None:
    """Raise when guides are in no table that was given.

    Parameters
    ----------
    left
        Targets that are not known, by label.
    column
        The labels.
    """
    if left:
        own = {name: name for names in left.values() for name in names}
        own = dict(column.schema.guides) | own
        raise ValueError(
            f"{len(left)} label(s) of obs[{column.key!r}] are neither in guide_to_gene nor "
            f"measured genes: {column.count(left)}. If they are names of targets, say so: "
            f"{write_table(own)}. Otherwise add them to the table, as "
            f"guides of a gene or of {column.schema.control!r}, or drop the cells: "
            f"{column.drop(left)}"
        )


def raise_guides(genes: Mapping[str, str], mended: Mapping[str, str], column: LabelColumn) -> None:
    """Raise when labels look like names of guides.

    Parameters
    ----------
    genes
        The likely gene of each guide, or an empty text.
    mended
        Labels with the genes in place of guides.
    column
        The labels.
    """
    if not mended:
        return
    obs, key = column.obs, column.key
    better = [
        other for other in obs if other != key and _names_genes(obs[other], obs[key], mended)
    ]
    named = f"Name the column that has the gene: perturbation_key={''.join(better[:1])!r}; or tell"
    likely = {label: new if new != label else "" for label, new in mended.items()}
    are_labels = genes.keys() <= mended.keys()
    line, found = (are_labels and take_genes(key, likely, column.n_cells)) or ("", {})
    genes = {guide: gene or found.get(guide, "") for guide, gene in genes.items()}
    write = f". Or write the genes: {line}" if line and len(mended) > 1 else ""
    raise ValueError(
        f"{len(mended)} label(s) of obs[{key!r}] look like guides and not like genes: "
        f"{column.count(mended)}. {named if better else 'Tell'} which gene each guide is of: "
        f"{write_table(genes)}. If all labels are names of targets as they are: "
        f"separator=''{write}"
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


def raise_combined(
    doubts: Mapping[str, Doubt],
    mended: Mapping[str, str],
    column: LabelColumn,
    known: Collection[str],
    *,
    is_used: bool,
) -> None:
    """Raise when labels look like combinations.

    Parameters
    ----------
    doubts
        Why each may be one.
    mended
        How each is to be written.
    column
        The labels.
    known
        Names that are known.
    is_used
        Whether other labels are combinations at the separator of the screen.
    """
    if not doubts:
        return
    first, doubt = next(iter(doubts.items()))
    listed = column.count(doubts)
    if not doubt.parts:
        own = {label: label for label in doubts}
        raise ValueError(
            f"separator={column.join!r} splits {len(doubts)} label(s) of obs[{column.key!r}] into "
            f"parts that are neither measured nor perturbed alone: {listed}. Where it belongs to "
            f"a name, say which: {write_table(own)}; if no label is a combination: separator=''"
        )
    old = doubt.separator
    if not is_used and _does_split(old, doubts, column, known):
        remedy = f"Name what joins targets: separator={old!r}"
    else:
        remedy = f"Write all alike: {column.rewrite(mended, old)}"
    raise ValueError(
        f"{len(doubts)} label(s) of obs[{column.key!r}] look like combinations, and would be read "
        f"as one target each, as the separator is {column.join!r}: {listed}; {first!r} could be "
        f"{' and '.join(doubt.parts)}. {_NAMES_AS_THEY_ARE}. {remedy}"
    )


def _does_split(
    join: str, doubts: Mapping[str, Doubt], column: LabelColumn, known: Collection[str]
) -> bool:
    """Whether a separator splits all labels as is meant, and no other."""

    def is_whole(name: str) -> bool:
        return name in known or is_control_like(name)

    return (
        bool(join)
        and not (join[0].isalnum() or join[-1].isalnum())
        and all(
            split_label(label, join, is_whole) == list(doubts[label].parts)
            if label in doubts
            else join not in label or is_whole(label)
            for label in column.n_cells
        )
    )

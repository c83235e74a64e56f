"""Tables of places in the genome: found by id, guide or gene, and read from files."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from difflib import get_close_matches
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from scbig._annotations import checked
from scbig.priors._locus import Coordinates, Locus, parse_guide, parse_locus, to_half_open
from scbig.priors._tables import read_header, read_table

logger = logging.getLogger(__name__)

_N_SHOWN = 5
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


@dataclass(frozen=True, eq=False)
class Loci:
    """Places in one genome, found by their id, guide or gene.

    Parameters
    ----------
    records
        The places; ids are unique.
    assembly
        The genome that the coordinates belong to, for example ``"hg19"``.
    source
        Where they come from, for messages.

    Raises
    ------
    ValueError
        When there are none, an id occurs twice, or the assembly is not named.
    """

    records: tuple[Locus, ...]
    assembly: str
    source: str = "loci"

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", tuple(self.records))
        if not self.records:
            raise ValueError(f"{self.source}: there are no loci; give at least one")
        if not self.assembly:
            raise ValueError(f"{self.source}: name the genome, for example assembly='hg38'")
        seen: set[str] = set()
        for locus in self.records:
            if locus.id in seen:
                raise ValueError(
                    f"{self.source}: the locus id {locus.id!r} occurs twice; make ids unique"
                )
            seen.add(locus.id)

    @classmethod
    def from_text(
        cls, texts: Iterable[str], *, assembly: str, coordinates: Coordinates = "1-based"
    ) -> "Loci":
        """Places such as ``"chr8:127735434"``, which become their ids too.

        Parameters
        ----------
        texts
            Places as :func:`parse_locus` reads them.
        assembly
            The genome that they belong to.
        coordinates
            How they count, see :func:`parse_locus`.

        Returns
        -------
        The places.
        """
        records = tuple(parse_locus(text, coordinates=coordinates) for text in texts)
        return cls(records, assembly, source="given places")

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Locus]:
        return iter(self.records)

    def __getitem__(self, id: str) -> Locus:
        return self.take([id]).records[0]

    def __contains__(self, id: object) -> bool:
        return id in self._by_id

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids in order."""
        return tuple(locus.id for locus in self.records)

    @cached_property
    def _by_id(self) -> dict[str, Locus]:
        return {locus.id: locus for locus in self.records}

    @cached_property
    def _by_label(self) -> dict[str, tuple[Locus, ...]]:
        found: defaultdict[str | None, list[Locus]] = defaultdict(list)
        by_guide: defaultdict[str | None, list[Locus]] = defaultdict(list)
        for locus in self.records:
            found[locus.gene].append(locus)
            by_guide[locus.guide].append(locus)
        found.update(by_guide)  # a guide goes before a gene of the same name, an id before both
        found.update((locus.id, [locus]) for locus in self.records)
        return {label: tuple(loci) for label, loci in found.items() if label is not None}

    def match(self, labels: Iterable[str]) -> dict[str, tuple[Locus, ...]]:
        """Places of each label of a screen.

        Parameters
        ----------
        labels
            Locus ids, guides or genes, looked for in this order. A gene has all of its places.

        Returns
        -------
        The places of each label, one or more.

        Raises
        ------
        ValueError
            When labels are unknown; the message lists them.
        """
        wanted = dict.fromkeys(labels)
        missing = [label for label in wanted if label not in self._by_label]
        if missing:
            self._refuse(missing, self._by_label, "locus id, guide or gene")
        return {label: self._by_label[label] for label in wanted}

    def take(self, ids: Sequence[str]) -> "Loci":
        """Some of the places, in the given order.

        Parameters
        ----------
        ids
            Their ids.

        Returns
        -------
        A table of these.

        Raises
        ------
        ValueError
            When ids are unknown; the message lists them.
        """
        missing = [id for id in ids if id not in self._by_id]
        if missing:
            self._refuse(missing, self._by_id, "locus id")
        return Loci(tuple(self._by_id[id] for id in ids), self.assembly, self.source)

    def _refuse(self, missing: Sequence[str], known: Iterable[str], kind: str) -> None:
        close = get_close_matches(str(missing[0]), list(known), n=3, cutoff=0.5)
        hint = f"; did you mean {close}?" if close else f"; it has {list(known)[:_N_SHOWN]}, ..."
        shown = f"{missing[:_N_SHOWN]}" + (", ..." if len(missing) > _N_SHOWN else "")
        raise ValueError(
            f"{self.source} ({len(self)} loci) has no {kind} for {len(missing)} labels: "
            f"{shown}{hint}"
        )

    def to_frame(self) -> pd.DataFrame:
        """The table, as :func:`make_loci` reads it with ``coordinates="0-based"``.

        Returns
        -------
        One row per locus with the columns ``locus``, ``chrom``, ``start``, ``end``, ``strand``,
        ``gene``, ``tss_label`` and ``guide``.
        """
        columns = ["locus", *(field.name for field in fields(Locus)[1:])]
        return pd.DataFrame([astuple(locus) for locus in self.records], columns=columns)

    def group(self, width: int) -> np.ndarray:
        """Groups that a fair split of loci keeps together.

        Two places are in one group when they have the same gene or when their windows overlap,
        and with either of them whatever is in its group.

        Parameters
        ----------
        width
            Width of a window, in bases.

        Returns
        -------
        Number of each locus's group, shape (n_loci,).
        """
        frame = self.to_frame()
        centre = (frame["start"] + frame["end"]) // 2
        by_place = frame.assign(centre=centre).sort_values(["chrom", "centre"])
        is_near = (by_place["centre"].diff() < width) & (
            by_place["chrom"] == by_place["chrom"].shift()
        )
        named = frame["gene"].fillna(pd.Series(self.ids)).sort_values(kind="stable")
        is_same = frame["gene"].notna()[named.index] & (named == named.shift())
        pairs = [_pair(by_place.index, is_near), _pair(named.index, is_same)]
        left, right = np.concatenate(pairs, axis=1)
        edges = coo_array((np.ones(left.size), (left, right)), shape=(len(self), len(self)))
        return connected_components(edges, directed=False)[1]


def _pair(order: pd.Index, is_linked: pd.Series) -> np.ndarray:
    """Rows that are linked with the row before them, and these, shape (2, n_links)."""
    linked = np.flatnonzero(is_linked)
    return np.stack([order[linked - 1], order[linked]])


@checked
def load_loci(path: str | PathLike[str], *, assembly: str, coordinates: Coordinates) -> Loci:
    """Read places in the genome from a table.

    Parameters
    ----------
    path
        ``.tsv``, ``.txt`` or ``.csv``, also with ``.gz``, or ``.parquet``, with the columns that
        :func:`make_loci` lists.
    assembly
        The genome that the coordinates belong to, for example ``"hg19"``. Coordinates of
        different genomes must never be mixed.
    coordinates
        How the file counts: ``"0-based"``, end excluded, as in BED, or ``"1-based"``, end
        included, as in GTF.

    Returns
    -------
    The places, 0-based and half-open.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the suffix is unknown or the table is not as :func:`make_loci` wants it.
    """
    path = Path(path)
    frame = _read_frame(path)
    loci = make_loci(frame, assembly=assembly, coordinates=coordinates, source=path.name)
    n_genes = len({locus.gene for locus in loci} - {None})
    logger.info("%s: %d loci of %d genes in %s", path.name, len(loci), n_genes, assembly)
    return loci


def _read_frame(path: Path) -> pd.DataFrame:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    if suffix == ".parquet":
        return pd.read_parquet(path)
    if suffix not in _SEPARATORS:
        known = ", ".join([*_SEPARATORS, ".parquet"])
        raise ValueError(f"{path} has an unknown suffix; known are {known}")
    separator = _SEPARATORS[suffix]
    header = read_header(path, separator)
    table = read_table(path, separator, dict.fromkeys(header, str), quote_char='"')
    return table.to_pandas()


@checked
def make_loci(
    frame: pd.DataFrame, *, assembly: str, coordinates: Coordinates, source: str = "table"
) -> Loci:
    """Make places in the genome of a data frame.

    Parameters
    ----------
    frame
        One row per locus, with the columns

        - ``chrom``, named as in the FASTA;
        - ``start`` and ``end``, or ``position``;
        - optionally ``locus`` (unique ids, else the guides), ``strand``, ``gene``,
          ``tss_label`` and ``guide``. Others are ignored.

        Where the frame has neither ``position`` nor ``start``, guides named as
        :func:`parse_guide` reads them give position, strand (the guide's), gene and TSS.
    assembly
        The genome that the coordinates belong to.
    coordinates
        How the frame counts, see :func:`load_loci`.
    source
        Name of the table, for messages.

    Returns
    -------
    The places, 0-based and half-open.

    Raises
    ------
    ValueError
        When a column is missing, a row is wrong (it is named), or an id occurs twice.
    """
    frame = frame.astype(object).where(frame.notna(), None)
    if "guide" in frame and not {"position", "start"} & set(frame.columns):
        frame = _fill_from_guides(frame, source)
    if "locus" not in frame and "guide" in frame:
        frame = frame.assign(locus=frame["guide"])
    _check_columns(frame, source)
    records = []
    for number, row in enumerate(frame.to_dict("records"), start=1):
        try:
            records.append(_make_locus(row, coordinates))
        except ValueError as error:
            raise ValueError(f"{source}, row {number} after the header: {error}") from error
    return Loci(tuple(records), assembly, source)


def _fill_from_guides(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    try:
        names = [parse_guide(str(guide)) for guide in frame["guide"]]
    except ValueError as error:
        raise ValueError(f"{source} has no position, nor start and end, and {error}") from error
    parts = ("position", "strand", "gene", "tss_label")
    stated = {part: [getattr(name, part) for name in names] for part in parts}
    absent = {part: values for part, values in stated.items() if part not in frame}
    return frame.assign(**{part: pd.Series(v, frame.index, object) for part, v in absent.items()})


def _check_columns(frame: pd.DataFrame, source: str) -> None:
    missing = [column for column in ("locus", "chrom") if column not in frame]
    if "position" not in frame and not {"start", "end"} <= set(frame.columns):
        missing.append("position (or start and end)")
    if missing:
        hint = "; guide names do not state the chromosome" if "chrom" in missing else ""
        raise ValueError(f"{source} lacks the columns {missing}; it has {list(frame)}{hint}")


def _make_locus(row: dict[Any, Any], coordinates: Coordinates) -> Locus:
    if row.get("start") is None:
        first, last = _to_int(row, "position"), None
    else:
        first, last = _to_int(row, "start"), _to_int(row, "end")
    start, end = to_half_open(first, last, coordinates)
    gene, tss_label, guide = (_to_name(row.get(key)) for key in ("gene", "tss_label", "guide"))
    return Locus(
        id=_to_name(row["locus"]) or "",
        chrom=_to_name(row["chrom"]) or "",
        start=start,
        end=end,
        strand=_to_name(row.get("strand")) or ".",
        gene=gene,
        tss_label=tss_label,
        guide=guide,
    )


def _to_name(value: object) -> str | None:
    return None if value is None else str(value).strip() or None


def _to_int(row: dict[Any, Any], column: str) -> int:
    value = row.get(column)
    # A column of numbers with a gap comes as floats; whole ones are meant as they stand.
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if not text.strip().isascii() or not text.strip().isdigit():
        raise ValueError(f"{column} is {value!r}; it must be a whole number of bases")
    return int(text)

"""Places in the genome from tables."""

import logging
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from scbig.priors._loci import Loci
from scbig.priors._locus import Coordinates, Locus, parse_guide, to_half_open
from scbig.priors._tables import read_header, read_table

logger = logging.getLogger(__name__)

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


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

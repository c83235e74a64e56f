"""A place in the genome, and the texts and guide names that state one."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from scbig._annotations import checked

# Within scbig every interval is 0-based and half-open, as in BED. What is read says which it is.
Coordinates = Literal["0-based", "1-based"]

STRANDS = ("+", "-", ".")

_REGION = re.compile(
    r"(?P<chrom>[^\s:]+):(?P<start>\d[\d,]*)(?:-(?P<end>\d[\d,]*))?(?::(?P<strand>[+-]))?"
)
_GUIDE = re.compile(
    r"(?P<gene>\S+?)_(?P<strand>[+-])_(?P<position>\d+)(?:\.(?P<length>\d+))?(?:-(?P<tss>\S+))?"
)


@dataclass(frozen=True)
class Locus:
    """A place in the genome.

    Parameters
    ----------
    id
        Its name, unique in a table.
    chrom
        Chromosome, named as in the FASTA.
    start
        First base, counted from 0.
    end
        One past the last base. A place known by a single position ends at `start` + 1.
    strand
        ``"+"``, ``"-"`` or, where it has none, ``"."``.
    gene
        The gene that it regulates.
    tss_label
        Which transcription start site of the gene, for example ``"P1P2"``.
    guide
        Name of the guide that targets it.

    Raises
    ------
    ValueError
        When a name is empty, the interval is empty or negative, or the strand is another.
    """

    id: str
    chrom: str
    start: int
    end: int
    strand: str = "."
    gene: str | None = None
    tss_label: str | None = None
    guide: str | None = None

    def __post_init__(self) -> None:
        if not self.id or not self.chrom:
            raise ValueError(f"a locus needs an id and a chromosome; found {self!r}")
        if not 0 <= self.start < self.end:
            raise ValueError(
                f"the locus {self.id!r} runs from {self.start} to {self.end} (0-based, "
                "half-open): start must be at least 0 and less than end"
            )
        if self.strand not in STRANDS:
            raise ValueError(
                f"the locus {self.id!r} has strand {self.strand!r}; it must be one of {STRANDS}"
            )


@dataclass(frozen=True)
class GuideName:
    """What the name of a guide says.

    Parameters
    ----------
    gene
        Targeted gene.
    strand
        Strand of the guide, ``"+"`` or ``"-"``; that of the gene is not in the name.
    position
        Position on the chromosome, as it is written.
    length
        Length of the target with its PAM, in bases, if stated.
    tss_label
        Targeted transcription start site, if stated.
    """

    gene: str
    strand: str
    position: int
    length: int | None
    tss_label: str | None


@checked
def parse_guide(name: str) -> GuideName:
    """Read the name of a guide as the libraries hCRISPRi-v2 and hCRISPRa-v2 write it.

    Parameters
    ----------
    name
        ``GENE_strand_position.length-TSS``, for example ``"CCNE2_+_95907328.23-P1P2"``. The
        length and the TSS may be missing. The chromosome is not part of such a name.

    Returns
    -------
    The parts of the name.

    Raises
    ------
    ValueError
        When the name is not of this form.
    """
    match = _GUIDE.fullmatch(name)
    if match is None:
        raise ValueError(
            f"{name!r} is not a guide name of the form GENE_+_95907328.23-P1P2; give columns "
            "with chrom, position, strand and gene instead"
        )
    length = match["length"]
    return GuideName(
        gene=match["gene"],
        strand=match["strand"],
        position=int(match["position"]),
        length=None if length is None else int(length),
        tss_label=match["tss"],
    )


@checked
def parse_locus(text: str, *, coordinates: Coordinates = "1-based") -> Locus:
    """Read a place such as ``"chr8:127735434"``.

    Parameters
    ----------
    text
        ``chrom:position`` or ``chrom:start-end``, with ``:+`` or ``:-`` behind it for a strand.
        Commas between thousands are allowed.
    coordinates
        How the text counts: ``"1-based"``, end included, as genome browsers do, or
        ``"0-based"``, end excluded, as BED files do.

    Returns
    -------
    A locus whose id is the text.

    Raises
    ------
    ValueError
        When the text is not of this form, or the interval is empty or negative.
    """
    match = _REGION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not a place in the genome; write chr8:127735434, "
            "chr8:127735434-127735457 or chr8:127735434-127735457:-"
        )
    first = int(match["start"].replace(",", ""))
    last = None if match["end"] is None else int(match["end"].replace(",", ""))
    start, end = to_half_open(first, last, coordinates)
    return Locus(
        id=text, chrom=match["chrom"], start=start, end=end, strand=match["strand"] or "."
    )


def to_half_open(first: int, last: int | None, coordinates: Coordinates) -> tuple[int, int]:
    """Turn stated coordinates into a 0-based, half-open interval.

    Parameters
    ----------
    first
        Position, or start of an interval.
    last
        End of the interval; `None` for a single position.
    coordinates
        How they count.

    Returns
    -------
    Start and end.

    Raises
    ------
    ValueError
        When `coordinates` is not one of the two conventions.
    """
    if coordinates not in get_args(Coordinates):
        raise ValueError(
            f"coordinates={coordinates!r}; write coordinates='0-based' (end excluded, as in BED) "
            "or coordinates='1-based' (end included, as in GTF and genome browsers)"
        )
    start = first - (coordinates == "1-based")
    return start, start + 1 if last is None else last

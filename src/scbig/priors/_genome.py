"""DNA around places in the genome, from an indexed FASTA of the assembly that they belong to."""

import re
from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np

from scbig._annotations import checked
from scbig.priors._fasta_index import open_fasta
from scbig.priors._loci import Loci
from scbig.priors._locus import Locus
from scbig.priors._windows import UNKNOWN, Windows, encode_dna, reverse_complement

_N_SHOWN = 5
_LETTERS = frozenset("ACGTUNRYSWKMBDHVacgtunryswkmbdhv")

_ALIASES = {
    "grch37": "hg19", "grch38": "hg38", "grcm38": "mm10", "grcm39": "mm39",
    "chm13v2.0": "hs1", "t2t-chm13v2.0": "hs1",
}  # fmt: skip

# A few chromosomes suffice to tell genomes apart (lengths from UCSC's chrom.sizes).
_LENGTHS: Mapping[str, Mapping[str, int]] = {
    "hg19": {
        "1": 249250621, "2": 243199373, "3": 198022430, "4": 191154276, "5": 180915260,
        "6": 171115067, "7": 159138663, "8": 146364022, "9": 141213431, "10": 135534747,
        "11": 135006516, "12": 133851895, "13": 115169878, "14": 107349540, "15": 102531392,
        "16": 90354753, "17": 81195210, "18": 78077248, "19": 59128983, "20": 63025520,
        "21": 48129895, "22": 51304566, "X": 155270560,
    },
    "hg38": {
        "1": 248956422, "2": 242193529, "3": 198295559, "4": 190214555, "5": 181538259,
        "6": 170805979, "7": 159345973, "8": 145138636, "9": 138394717, "10": 133797422,
        "11": 135086622, "12": 133275309, "13": 114364328, "14": 107043718, "15": 101991189,
        "16": 90338345, "17": 83257441, "18": 80373285, "19": 58617616, "20": 64444167,
        "21": 46709983, "22": 50818468, "X": 156040895,
    },
    "hs1": {"1": 248387328, "8": 146259331, "X": 154259566},
    "mm10": {"1": 195471971, "2": 182113224, "X": 171031299},
    "mm39": {"1": 195154279, "2": 181755017, "X": 169476592},
}  # fmt: skip

_STATED = re.compile(r"\b(GRC[hm]\d+|hg\d+|mm\d+|hs1|(?:T2T-)?CHM13v2\.0)\b", re.IGNORECASE)


class Genome:
    """A FASTA of chromosomes, read by index. Needs the extra ``dna``.

    Parameters
    ----------
    path
        The FASTA. Its index, ``<path>.fai``, is written beside it if it is not there, or is not
        that of the file.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ImportError
        When pyfaidx is not installed.
    ValueError
        When the file is not a FASTA, or has a chromosome twice.

    Examples
    --------
    >>> with Genome("hg38.fa") as genome:  # doctest: +SKIP
    ...     windows = genome.get_windows(loci, width=8192)
    """

    @checked
    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no FASTA at {self.path}.")
        self._fasta = open_fasta(self.path)
        if not self.lengths:
            raise ValueError(f"{self.path} holds no sequence; its first line must begin with '>'")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; windows that were read stay."""
        self._fasta.close()

    @cached_property
    def lengths(self) -> Mapping[str, int]:
        """Length of each chromosome, in bases."""
        return {name: int(record.rlen) for name, record in self._fasta.faidx.index.items()}

    def check(self, loci: Loci) -> None:
        """Refuse places that are not in this genome.

        Parameters
        ----------
        loci
            The places.

        Raises
        ------
        ValueError
            When a chromosome is missing, a place lies outside of its chromosome, or the file is
            of another genome by the lengths or the headers of its chromosomes.
        """
        wanted = sorted({locus.chrom for locus in loci})
        missing = [chrom for chrom in wanted if chrom not in self.lengths]
        if missing:
            raise ValueError(
                f"{self.path} has no chromosome {missing[:_N_SHOWN]}, which {loci.source} names; "
                f"it has {list(self.lengths)[:_N_SHOWN]}, ... Name them as the FASTA does."
            )
        headers = {chrom: self._fasta[chrom].long_name for chrom in wanted}
        check_assembly(loci.assembly, self.lengths, headers, str(self.path))
        for locus in loci:
            if locus.end > self.lengths[locus.chrom]:
                raise ValueError(
                    f"the locus {locus.id!r} at {locus.chrom}:{locus.start}-{locus.end} lies "
                    f"outside of its chromosome, which has {self.lengths[locus.chrom]:,} bases in "
                    f"{self.path}; is it of the assembly {loci.assembly}?"
                )

    def get_windows(self, loci: Loci, width: int, *, target_flank: int = 250) -> Windows:
        """Read the DNA around places, each along its own strand.

        The middle base of a place is at ``width // 2`` of its window on either strand. Bases
        beyond the end of a chromosome are unknown.

        Parameters
        ----------
        loci
            The places.
        width
            Number of bases of a window.
        target_flank
            A place of a single base stands for the bases within this distance of it, which are
            then all marked as perturbed; a longer place stands for itself.

        Returns
        -------
        One window per place.

        Raises
        ------
        ValueError
            When `width` or `target_flank` is impossible, or as in :meth:`check`.
        """
        if width < 1 or target_flank < 0:
            raise ValueError(
                f"width={width}, target_flank={target_flank}; a window needs at least one base, "
                "and a flank cannot be negative"
            )
        self.check(loci)
        shape = len(loci), width
        codes = np.full(shape, UNKNOWN, dtype=np.uint8)
        is_inside, is_target = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        for row, locus in enumerate(loci):
            start = _get_window_start(locus, width)
            length = self.lengths[locus.chrom]
            inside = _clip(0, length, start, width)
            flank = target_flank if locus.end - locus.start == 1 else 0
            target = _clip(locus.start - flank, locus.end + flank, start, width)
            codes[row, inside] = self.read(locus.chrom, start + inside.start, start + inside.stop)
            is_inside[row, inside] = True
            is_target[row, target] = True
            if locus.strand == "-":
                codes[row] = reverse_complement(codes[row])
                is_inside[row] = is_inside[row, ::-1]
                is_target[row] = is_target[row, ::-1]
        return Windows(loci.ids, codes, is_inside, is_target & is_inside)

    def read(self, chrom: str, start: int, end: int) -> np.ndarray:
        """Read a stretch of a chromosome along its forward strand.

        Parameters
        ----------
        chrom
            Name of the chromosome.
        start, end
            First base, counted from 0, and one past the last.

        Returns
        -------
        Bases as 0 to 3 for A, C, G and T, 4 where they are not known, ``(end - start,)``.

        Raises
        ------
        ValueError
            When the file holds other letters there than those of DNA, or fewer.
        """
        try:
            text = str(self._fasta[chrom][start:end])
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path}: {chrom} is no DNA: {error}") from error
        strange = sorted(set(text) - _LETTERS)
        if strange or len(text) != end - start:
            found = f"the letters {strange[:_N_SHOWN]}" if strange else f"{len(text)} bases"
            raise ValueError(
                f"{self.path} holds {found} at {chrom}:{start}-{end}, where {end - start} bases "
                "are expected (A, C, G, T, N and the letters of IUPAC). Download it anew."
            )
        return encode_dna(text)


def _get_window_start(locus: Locus, width: int) -> int:
    """First base of the window around a place; negative before the chromosome."""
    # An even number has two middles. Which is taken follows the strand, so that a place and its
    # mirror image on the other strand have the same window.
    if locus.strand == "-":
        return (locus.start + locus.end - 1) // 2 - (width - 1) // 2
    return (locus.start + locus.end) // 2 - width // 2


def _clip(start: int, end: int, window_start: int, width: int) -> slice:
    """The part of an interval that is in a window, counted from the beginning of the window."""
    first = min(max(start - window_start, 0), width)
    return slice(first, max(min(end - window_start, width), first))


def check_assembly(
    assembly: str, lengths: Mapping[str, int], headers: Mapping[str, str], where: str
) -> None:
    """Refuse a FASTA of another genome.

    Parameters
    ----------
    assembly
        The genome that coordinates belong to.
    lengths
        Length of each chromosome of the FASTA.
    headers
        Header line of some of its chromosomes.
    where
        Name of the FASTA, for messages.

    Raises
    ------
    ValueError
        When a known chromosome has another length, or a header states another genome.
    """
    wanted = normalize_assembly(assembly)
    for chrom, length in lengths.items():
        expected = _LENGTHS.get(wanted, {}).get(chrom.removeprefix("chr"), length)
        if length != expected:
            other = _recognize(chrom, length)
            raise ValueError(
                f"{where}: {chrom} has {length:,} bases{other}, but {expected:,} in {assembly}, "
                "the genome of the loci. Give a FASTA of that genome, or lift the loci over."
            )
    for chrom, header in headers.items():
        stated = {normalize_assembly(name) for name in _STATED.findall(header)}
        if stated and wanted not in stated:
            raise ValueError(
                f"{where}: the header of {chrom} states {sorted(stated)}, the loci belong to "
                f"{assembly}. Give a FASTA of that genome, or lift the loci over."
            )


def normalize_assembly(name: str) -> str:
    """One name for each genome.

    Parameters
    ----------
    name
        For example ``"GRCh38.p14"``.

    Returns
    -------
    UCSC's name, ``"hg38"``, where it is known, else the name in lower case.
    """
    lower = re.sub(r"\.p\d+$", "", name.strip().lower())
    return _ALIASES.get(lower, lower)


def _recognize(chrom: str, length: int) -> str:
    name = chrom.removeprefix("chr")
    known = [genome for genome, table in _LENGTHS.items() if table.get(name) == length]
    return f" as in {known[0]}" if known else ""

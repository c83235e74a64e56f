"""DNA around places in the genome, from an indexed FASTA."""

import logging
from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np

from scbig._optional import require
from scbig.priors._assembly import check_assembly
from scbig.priors._loci import Loci
from scbig.priors._locus import Locus
from scbig.priors._sequence import UNKNOWN, encode_dna, reverse_complement
from scbig.priors._windows import Windows

logger = logging.getLogger(__name__)

_N_SHOWN = 5


class Genome:
    """A FASTA of chromosomes, read by index. Needs the extra ``dna``.

    Parameters
    ----------
    path
        The FASTA. Its index, ``<path>.fai``, is written beside it if it is not there.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ImportError
        When pyfaidx is not installed.
    ValueError
        When the file is not a FASTA.

    Examples
    --------
    >>> with Genome("hg38.fa") as genome:  # doctest: +SKIP
    ...     windows = genome.get_windows(loci, width=8192)
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no FASTA at {self.path}.")
        pyfaidx = require("pyfaidx", "dna")
        try:
            self._fasta = pyfaidx.Fasta(str(self.path), as_raw=True)
        except (pyfaidx.FastaIndexingError, pyfaidx.UnsupportedCompressionFormat) as error:
            raise ValueError(f"{self.path} cannot be read as a FASTA: {error}") from error
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
            start = get_window_start(locus, width)
            length = self.lengths[locus.chrom]
            inside = clip(0, length, start, width)
            flank = target_flank if locus.end - locus.start == 1 else 0
            target = clip(locus.start - flank, locus.end + flank, start, width)
            codes[row, inside] = self._read(locus.chrom, start + inside.start, start + inside.stop)
            is_inside[row, inside] = True
            is_target[row, target] = True
            if locus.strand == "-":
                codes[row] = reverse_complement(codes[row])
                is_inside[row] = is_inside[row, ::-1]
                is_target[row] = is_target[row, ::-1]
        return Windows(loci.ids, codes, is_inside, is_target & is_inside)

    def _read(self, chrom: str, start: int, end: int) -> np.ndarray:
        return encode_dna(self._fasta[chrom][start:end])


def get_window_start(locus: Locus, width: int) -> int:
    """First base of the window around a place; negative before the chromosome.

    Parameters
    ----------
    locus
        The place.
    width
        Number of bases of the window.

    Returns
    -------
    Position on the chromosome, counted from 0.
    """
    # An even number has two middles. Which is taken follows the strand, so that a place and its
    # mirror image on the other strand have the same window.
    if locus.strand == "-":
        return (locus.start + locus.end - 1) // 2 - (width - 1) // 2
    return (locus.start + locus.end) // 2 - width // 2


def clip(start: int, end: int, window_start: int, width: int) -> slice:
    """The part of an interval that is in a window, counted from the beginning of the window.

    Parameters
    ----------
    start, end
        The interval.
    window_start
        First base of the window.
    width
        Number of bases of the window.

    Returns
    -------
    A slice of the window, empty if they do not meet.
    """
    first = min(max(start - window_start, 0), width)
    return slice(first, max(min(end - window_start, width), first))

"""What an encoder is to see of loci: their bases, their tokens or their genes, read once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from typing import Literal, Self
from zlib import crc32

import numpy as np

from scbig._types import Arrays, Values
from scbig.priors._dna_encoder import DNAEncoder, LocusTokens
from scbig.priors._encode_loci import encode_loci
from scbig.priors._genome import Genome
from scbig.priors._loci import Loci
from scbig.priors._locus import Locus, parse_locus
from scbig.priors._windows import UNKNOWN

_N_SHOWN = 5
_PARTS = ("values", "is_target", "is_there")

# --- which loci are known ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LocusTable:
    """Loci with what was read of them, which travels with a saved model.

    Attributes
    ----------
    loci
        The loci.
    values
        Bases ``(n_loci, width)`` as small integers, tokens ``(n_loci, n_tokens, dim)``, or
        numbers of genes ``(n_loci, 1)``.
    is_target
        Which bases or tokens are perturbed, shape ``(n_loci, n_positions)``.
    is_there
        Which positions are neither padding nor beyond a chromosome, of the same shape.
    """

    loci: Loci
    values: np.ndarray
    is_target: np.ndarray
    is_there: np.ndarray

    def __len__(self) -> int:
        return len(self.loci)

    def __contains__(self, target: str) -> bool:
        return target in self._labels

    def find(self, targets: Iterable[str], *, is_strict: bool = True) -> list[int]:
        """Return the rows of all loci of some targets, each once.

        Parameters
        ----------
        targets
            Ids, guides or genes.
        is_strict
            Whether a target without a locus is an error; otherwise it is left out.

        Returns
        -------
        Numbers of rows, sorted.

        Raises
        ------
        ValueError
            When a target has no locus; the message names it.
        """
        known = targets if is_strict else [target for target in targets if target in self]
        matched = self.loci.match(known).values()
        return sorted({self._row_of[locus.id] for loci in matched for locus in loci})

    def find_new_places(self, targets: Iterable[str]) -> list[str]:
        """Return the targets that are written as places and are not in the table.

        Parameters
        ----------
        targets
            Ids, guides, genes, or places such as ``"chr8:127735434"``.

        Returns
        -------
        The places.
        """
        return [target for target in targets if target not in self and _is_place(target)]

    def check(self, targets: Iterable[str], *, is_strict: bool) -> None:
        """Make sure that targets can be predicted.

        Parameters
        ----------
        targets
            Ids, guides, genes or places.
        is_strict
            Whether every target needs a locus, not only those that are written as places.

        Raises
        ------
        ValueError
            When a target is a place whose DNA is not known or, if strict, has no locus.
        """
        unknown = [target for target in targets if target not in self]
        if places := self.find_new_places(unknown):
            raise ValueError(
                f"The DNA of {places} is not known to the model. Give the genome "
                f"({self.loci.assembly}): predict(..., fasta='genome.fa')"
            )
        if not unknown or not is_strict:
            return
        try:
            self.loci.match(unknown)
        except ValueError as error:
            raise ValueError(
                f"{error}. Add it: predict(..., loci=..., fasta=...), or write a place such as "
                "chr8:127735434."
            ) from error

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {id: row for row, id in enumerate(self.loci.ids)}

    @cached_property
    def _labels(self) -> set[str | None]:
        return {label for x in self.loci for label in (x.id, x.guide, x.gene)} - {None}

    def get_new(self, loci: Loci) -> Sequence[Locus]:
        """Return those of some loci that are not in the table.

        Parameters
        ----------
        loci
            Loci of the same assembly.

        Returns
        -------
        The new ones.

        Raises
        ------
        ValueError
            When they belong to another genome, or one has the id of a known locus elsewhere.
        """
        if loci.assembly != self.loci.assembly:
            raise ValueError(
                f"The new loci belong to {loci.assembly}, those of the model to "
                f"{self.loci.assembly}. Lift them over; coordinates must not be mixed."
            )
        known = {locus.id: locus for locus in self.loci}
        moved = [x for x in loci if x.id in known and _locate(x) != _locate(known[x.id])]
        if moved:
            raise ValueError(
                f"{len(moved)} loci are known at another place: "
                f"{[locus.id for locus in moved][:_N_SHOWN]}. Give them other ids."
            )
        return [locus for locus in loci if locus.id not in known]

    def join(self, other: "LocusTable") -> "LocusTable":
        """Append further loci.

        Parameters
        ----------
        other
            Loci that were read in the same way, none of which is in this table.

        Returns
        -------
        A table of both.

        Raises
        ------
        ValueError
            When what was read of them has another shape.
        """
        if self.values.shape[1:] != other.values.shape[1:]:
            raise ValueError(
                f"What was read of a new locus has the shape {other.values.shape[1:]}, of a known "
                f"one {self.values.shape[1:]}. Give the encoder that the model was made with."
            )
        arrays = {
            part: np.concatenate([getattr(self, part), getattr(other, part)]) for part in _PARTS
        }
        loci = replace(self.loci, records=(*self.loci.records, *other.loci.records))
        return LocusTable(loci, **arrays)

    def to_plain(self) -> tuple[Values, Arrays]:
        """Return values for JSON and arrays for safetensors."""
        loci = self.loci
        records = [vars(locus) for locus in loci]
        values = {"records": records, "assembly": loci.assembly, "source": loci.source}
        return values, {f"loci.{part}": getattr(self, part) for part in _PARTS}

    @classmethod
    def from_plain(cls, values: Values, arrays: Arrays) -> Self:
        """Rebuild a table.

        Parameters
        ----------
        values, arrays
            What :meth:`to_plain` returned.

        Returns
        -------
        The table.
        """
        records = tuple(Locus(**record) for record in values["records"])
        loci = Loci(records, values["assembly"], values["source"])
        return cls(loci, **{part: arrays[f"loci.{part}"] for part in _PARTS})


def _locate(locus: Locus) -> tuple[str, int, int, str]:
    return locus.chrom, locus.start, locus.end, locus.strand


def _is_place(label: str) -> bool:
    try:
        parse_locus(label)
    except ValueError:
        return False
    return True


# --- what is read of them ----------------------------------------------------------------------


@dataclass(frozen=True)
class LocusSource:
    """Reads loci always in the same way: their DNA, what an encoder makes of it, or their genes.

    Attributes
    ----------
    window
        Bases around a locus that are read where there is no encoder.
    sequence
        ``"real"``, ``"shuffled"`` or ``"random"`` DNA (with an encoder, each other's tokens, or
        noise), or the name of the ``"gene"`` alone.
    target
        Whether the perturbed bases are known, ``"mask"``, or count as the whole ``"window"``.
    genes
        Names of genes, numbered in this order, where names are read.
    encoder
        Encoder of DNA; ``None`` where bases are read, or where a model was loaded.
    fingerprint
        That of the encoder that was there at first; ``None`` where bases are read.
    cache_dir
        Folder for what the encoder returns, or ``None``.
    """

    window: int
    sequence: Literal["real", "shuffled", "random", "gene"] = "real"
    target: Literal["mask", "window"] = "mask"
    genes: tuple[str, ...] = ()
    encoder: DNAEncoder | None = None
    fingerprint: str | None = None
    cache_dir: str | PathLike[str] | None = None

    @property
    def kind(self) -> Literal["dna", "tokens", "gene"]:
        """What is read."""
        if self.sequence == "gene":
            return "gene"
        return "dna" if self.encoder is None and self.fingerprint is None else "tokens"

    def with_encoder(self, encoder: DNAEncoder | None) -> "LocusSource":
        """Make sure that there is the encoder that was there at first.

        Parameters
        ----------
        encoder
            The encoder, where it is not there or has grown.

        Returns
        -------
        A source that can read further loci.

        Raises
        ------
        ValueError
            When there is none, or it is another one.
        """
        if self.kind != "tokens":
            return self
        encoder = encoder or self.encoder
        if encoder is None:
            raise ValueError(
                "The model was loaded, and the encoder of its loci was not saved with it. Give "
                f"it: add_loci(loci, encoder=...). Its fingerprint was {self.fingerprint!r}."
            )
        # A table that has grown has another fingerprint, and is the same for what it had.
        if encoder.width and encoder.fingerprint != self.fingerprint:
            raise ValueError(
                f"The model was made with the encoder {self.fingerprint!r}; this one is "
                f"{encoder.fingerprint!r}. Give the same model, layer, width and bins."
            )
        return replace(self, encoder=encoder)

    def read(self, loci: Loci, fasta: str | PathLike[str] | Genome | None) -> LocusTable:
        """Read some loci.

        Parameters
        ----------
        loci
            The loci.
        fasta
            Their genome; an encoder that knows loci by their ids needs none.

        Returns
        -------
        The loci with what was read.

        Raises
        ------
        ValueError
            When there is no genome but one is needed, or a locus is not in it or has no vector.
        """
        if self.kind == "gene":
            return _read_genes(loci, self.genes)
        if fasta is None and (self.encoder is None or self.encoder.width):
            shown = list(loci.ids[:_N_SHOWN])
            raise ValueError(
                f"There is no DNA to read for {len(loci)} loci: {shown}. Give the genome "
                f"({loci.assembly}): fasta='genome.fa', or an encoder that needs none."
            )
        genome = Genome(fasta) if isinstance(fasta, str | PathLike) else fasta
        try:
            table = self._read(loci, genome)
        finally:
            if genome is not None and genome is not fasta:
                genome.close()
        if self.target == "mask":
            return table
        return replace(table, is_target=table.is_there)

    def _read(self, loci: Loci, genome: Genome | None) -> LocusTable:
        if self.encoder is None:
            return _read_dna(loci, genome, self.window, self.sequence)
        tokens = encode_loci(
            loci, self.encoder, genome=genome, cache_dir=self.cache_dir, use_progress=False
        )
        values = _replace_tokens(tokens, loci.ids, self.sequence)
        return LocusTable(loci, values, tokens.is_target, tokens.is_token)


def _read_dna(loci: Loci, genome: Genome | None, window: int, sequence: str) -> LocusTable:
    if genome is None:
        raise ValueError("The built-in encoder reads DNA. Give it: fasta='genome.fa'")
    windows = genome.get_windows(loci, window)
    empty = np.flatnonzero((windows.codes >= UNKNOWN).all(axis=1))
    if len(empty):
        raise ValueError(
            f"{len(empty)} loci have no known base in their window: "
            f"{[loci.ids[row] for row in empty[:_N_SHOWN]]}. "
            "Leave them out, or give a genome that has them."
        )
    codes = windows.codes.copy()
    for row, id in zip(codes, loci.ids, strict=True):
        _replace_bases(row, _make_rng(id), sequence)
    return LocusTable(loci, codes, windows.is_target, windows.is_inside)


def _replace_bases(row: np.ndarray, rng: np.random.Generator, sequence: str) -> None:
    """Change the known bases of a window ``(width,)`` in place, if they are not to be real."""
    is_known = row < UNKNOWN
    if sequence == "shuffled":
        row[is_known] = rng.permutation(row[is_known])
    elif sequence == "random":
        row[is_known] = rng.integers(0, UNKNOWN, is_known.sum())


def _replace_tokens(tokens: LocusTokens, ids: Sequence[str], sequence: str) -> np.ndarray:
    if sequence == "real":
        return tokens.values
    if sequence == "random":
        shape = tokens.values.shape[1:]
        return np.stack([_make_rng(id).normal(size=shape) for id in ids]).astype(np.float32)
    # Each locus has the tokens of another; one that is read alone keeps its own.
    order = _make_rng(*ids).permutation(len(ids))
    return tokens.values[order]


def _read_genes(loci: Loci, genes: Sequence[str]) -> LocusTable:
    number = {gene: i for i, gene in enumerate(genes)}
    # One beyond the last stands for every gene that was not there at the beginning.
    rows = [number.get(locus.gene or locus.id, len(genes)) for locus in loci]
    is_there = np.ones((len(loci), 1), dtype=bool)
    return LocusTable(loci, np.array(rows, dtype=np.int64)[:, None], is_there, is_there)


def _make_rng(*names: str) -> np.random.Generator:
    """Make a generator that depends on names alone, so that a locus is always read alike."""
    return np.random.default_rng([crc32(name.encode()) for name in names])

"""Reading loci: DNA, tokens of an encoder, or names of genes, and their ablations."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Literal
from zlib import crc32

import numpy as np

from scbig.model.strand._config import STRANDConfig
from scbig.model.strand._places import Places
from scbig.priors import DNAEncoder, Genome, Loci, LocusTokens, encode_loci

Kind = Literal["dna", "tokens", "gene"]

_N_SHOWN = 5
_UNKNOWN = 4  # code of a base that is not known, after those of A, C, G and T


@dataclass(frozen=True)
class PlaceReader:
    """Reads loci as a model does.

    Attributes
    ----------
    config
        Settings of the model.
    encoder
        Encoder of DNA, or ``None`` for the built-in one.
    cache_dir
        Folder for what the encoder returns, or ``None``.
    genes
        Names of genes, numbered in this order, for the gene-name twin.
    """

    config: STRANDConfig
    encoder: DNAEncoder | None = None
    cache_dir: str | PathLike[str] | None = None
    genes: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """What is read."""
        if self.config.sequence == "gene":
            return "gene"
        return "dna" if self.encoder is None else "tokens"

    def read(self, loci: Loci, fasta: str | PathLike[str] | Genome | None) -> Places:
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
            places = self._read(loci, genome)
        finally:
            if genome is not None and genome is not fasta:
                genome.close()
        if self.config.target == "mask":
            return places
        return Places(loci, places.values, places.is_there, places.is_there)

    def _read(self, loci: Loci, genome: Genome | None) -> Places:
        if self.encoder is None:
            return _read_dna(loci, genome, self.config)
        tokens = encode_loci(
            loci, self.encoder, genome=genome, cache_dir=self.cache_dir, use_progress=False
        )
        values = _replace_tokens(tokens, loci.ids, self.config.sequence)
        return Places(loci, values, tokens.is_target, tokens.is_token)


def _read_dna(loci: Loci, genome: Genome | None, config: STRANDConfig) -> Places:
    if genome is None:
        raise ValueError("The built-in encoder reads DNA. Give it: fasta='genome.fa'")
    windows = genome.get_windows(loci, config.window)
    empty = np.flatnonzero((windows.codes >= _UNKNOWN).all(axis=1))
    if len(empty):
        raise ValueError(
            f"{len(empty)} loci have no known base in their window: "
            f"{[loci.ids[row] for row in empty[:_N_SHOWN]]}. "
            "Leave them out, or give a genome that has them."
        )
    codes = windows.codes.copy()
    for row, id in zip(codes, loci.ids, strict=True):
        _replace_bases(row, _make_rng(id), config.sequence)
    return Places(loci, codes, windows.is_target, windows.is_inside)


def _replace_bases(row: np.ndarray, rng: np.random.Generator, sequence: str) -> None:
    """Change the known bases of a window ``(width,)`` in place, if they are not to be real."""
    is_known = row < _UNKNOWN
    if sequence == "shuffled":
        row[is_known] = rng.permutation(row[is_known])
    elif sequence == "random":
        row[is_known] = rng.integers(0, _UNKNOWN, is_known.sum())


def _replace_tokens(tokens: LocusTokens, ids: Sequence[str], sequence: str) -> np.ndarray:
    if sequence == "real":
        return tokens.values
    if sequence == "random":
        shape = tokens.values.shape[1:]
        return np.stack([_make_rng(id).normal(size=shape) for id in ids]).astype(np.float32)
    # Each locus has the tokens of another; one that is read alone keeps its own.
    order = _make_rng(*ids).permutation(len(ids))
    return tokens.values[order]


def _read_genes(loci: Loci, genes: Sequence[str]) -> Places:
    number = {gene: i for i, gene in enumerate(genes)}
    # One beyond the last stands for every gene that was not there at the beginning.
    rows = [number.get(locus.gene or locus.id, len(genes)) for locus in loci]
    is_there = np.ones((len(loci), 1), dtype=bool)
    return Places(loci, np.array(rows, dtype=np.int64)[:, None], is_there, is_there)


def _make_rng(*names: str) -> np.random.Generator:
    """Make a generator that depends on names alone, so that a locus is always read alike."""
    return np.random.default_rng([crc32(name.encode()) for name in names])

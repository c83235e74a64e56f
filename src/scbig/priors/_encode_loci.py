"""Encode many places, with progress, from and to a cache."""

import logging
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from scbig.priors._encoding_cache import EncodingCache, make_keys
from scbig.priors._genome import Genome
from scbig.priors._loci import Loci
from scbig.priors._locus_tokens import DNAEncoder, LocusTokens
from scbig.priors._windows import Windows

logger = logging.getLogger(__name__)


def encode_loci(
    loci: Loci,
    encoder: DNAEncoder,
    *,
    genome: Genome | None = None,
    cache_dir: str | PathLike[str] | None = None,
    batch_size: int = 16,
    use_progress: bool = True,
) -> LocusTokens:
    """Encode the DNA around places.

    Parameters
    ----------
    loci
        The places.
    encoder
        What turns DNA into vectors.
    genome
        Where the DNA is read; an encoder whose width is 0 needs none.
    cache_dir
        Folder that keeps what was encoded, under the fingerprint of the encoder. A run that was
        interrupted goes on after its last batch.
    batch_size
        Number of places that are encoded at once.
    use_progress
        Whether to show a bar on stderr.

    Returns
    -------
    Tokens in the order of the places.

    Raises
    ------
    ValueError
        When a genome is needed and not given, places are not in it, or the encoder returns what
        it did not promise.
    """
    if encoder.width and genome is None:
        raise ValueError(
            f"the encoder reads {encoder.width} bases around each locus; give the DNA: "
            "genome=Genome('genome.fa')"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    if genome is not None and encoder.width:
        genome.check(loci)  # all of them, before the first is encoded
    cache = None if cache_dir is None else EncodingCache(Path(cache_dir), encoder.fingerprint)
    starts = track(
        range(0, len(loci), batch_size),
        description="Encoding loci",
        console=Console(stderr=True),
        transient=True,
        disable=not use_progress,
    )
    batches = (Loci(loci.records[i : i + batch_size], loci.assembly, loci.source) for i in starts)
    parts = list(_encode_batches(batches, encoder, genome, cache))
    return LocusTokens.concatenate(parts)


def _encode_batches(
    batches: Iterator[Loci],
    encoder: DNAEncoder,
    genome: Genome | None,
    cache: EncodingCache | None,
) -> Iterator[LocusTokens]:
    n_encoded = 0
    for batch in batches:
        if genome is None or not encoder.width:
            windows = Windows.without_sequence(batch.ids)
        else:
            windows = genome.get_windows(batch, encoder.width)
        if cache is None:
            yield _encode(windows, encoder)
            continue
        keys = make_keys(windows)
        new = np.flatnonzero([key not in cache for key in keys])
        if new.size:
            cache.write([keys[i] for i in new], _encode(windows.take(new), encoder))
        n_encoded += new.size
        yield cache.read(keys)
    if cache is not None:
        logger.info("%d loci encoded, the others were in %s", n_encoded, cache.folder)


def _encode(windows: Windows, encoder: DNAEncoder) -> LocusTokens:
    tokens = encoder.encode(windows)
    if len(tokens) != len(windows) or tokens.dim != encoder.dim:
        raise ValueError(
            f"{type(encoder).__name__} returned vectors of shape {tokens.values.shape} for "
            f"{len(windows)} loci and dim={encoder.dim}; the shape must be "
            f"({len(windows)}, n_tokens, {encoder.dim})"
        )
    return tokens

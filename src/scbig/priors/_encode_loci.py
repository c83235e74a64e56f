"""Encode many places with progress, through a folder from which an interrupted run goes on."""

import json
import logging
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from os import PathLike
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from scbig._writing import replacing
from scbig.priors._dna_encoder import DNAEncoder, LocusTokens
from scbig.priors._genome import Genome
from scbig.priors._loci import Loci
from scbig.priors._windows import Windows

logger = logging.getLogger(__name__)

_ARRAYS = ("values", "is_target", "is_token")


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


class EncodingCache:
    """A folder of safetensors files, one per batch that was encoded.

    Parameters
    ----------
    folder
        Where caches of all encoders lie.
    fingerprint
        That of the encoder.

    Raises
    ------
    ValueError
        When a file cannot be read.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        name = blake2b(fingerprint.encode(), digest_size=16).hexdigest()
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self._place: dict[str, tuple[Path, int]] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            self._place |= {key: (path, row) for row, key in enumerate(_read_keys(path))}

    def __contains__(self, key: object) -> bool:
        return key in self._place

    def read(self, keys: Sequence[str]) -> LocusTokens:
        """Tokens of places that are here.

        Parameters
        ----------
        keys
            Their keys.

        Returns
        -------
        The tokens, in the order of the keys.
        """
        places = [self._place[key] for key in keys]
        shards = {path: _read_tokens(path) for path in {path for path, _ in places}}
        return LocusTokens.concatenate(
            [shards[path].take(np.array([row])) for path, row in places]
        )

    def write(self, keys: Sequence[str], tokens: LocusTokens) -> None:
        """Add tokens.

        Parameters
        ----------
        keys
            Their keys.
        tokens
            The tokens, in the order of the keys.
        """
        name = blake2b("".join(keys).encode(), digest_size=16).hexdigest()
        path = self.folder / f"{name}.safetensors"
        arrays = {name: getattr(tokens, name) for name in _ARRAYS}
        with replacing(path) as half:
            save_file(arrays, half, metadata={"keys": json.dumps(list(keys))})
        self._place |= {key: (path, row) for row, key in enumerate(keys)}


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
        keys = _make_keys(windows)
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


def _make_keys(windows: Windows) -> list[str]:
    """One key a place: by bases and masks, or by id where no DNA is read."""
    # Another FASTA with other bases at the same place thus has other keys.
    if not windows.width:
        return [blake2b(id.encode(), digest_size=16).hexdigest() for id in windows.ids]
    rows = zip(windows.codes, windows.is_inside, windows.is_target, strict=True)
    return [
        blake2b(b"".join(a.tobytes() for a in row), digest_size=16).hexdigest() for row in rows
    ]


def _read_keys(path: Path) -> list[str]:
    try:
        with safe_open(path, "numpy") as file:
            return json.loads(file.metadata()["keys"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a file of this cache: {error}. Delete it; its loci will be encoded "
            "again."
        ) from error


def _read_tokens(path: Path) -> LocusTokens:
    with safe_open(path, "numpy") as file:
        return LocusTokens(*(file.get_tensor(name) for name in _ARRAYS))

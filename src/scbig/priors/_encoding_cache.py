"""Encoded places on disk, so that an interrupted run goes on where it stopped."""

import json
import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from scbig.priors._locus_tokens import LocusTokens
from scbig.priors._windows import Windows

_NAMES = ("values", "is_target", "is_token")


def make_keys(windows: Windows) -> list[str]:
    """Short names for what an encoder reads.

    Parameters
    ----------
    windows
        The DNA around some places.

    Returns
    -------
    One key each: by bases and masks, or by id where no DNA is read. Another FASTA with other
    bases at the same place thus has other keys.
    """
    if not windows.width:
        return [blake2b(id.encode(), digest_size=16).hexdigest() for id in windows.ids]
    rows = zip(windows.codes, windows.is_inside, windows.is_target, strict=True)
    return [
        blake2b(b"".join(a.tobytes() for a in row), digest_size=16).hexdigest() for row in rows
    ]


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
        # Written aside and then renamed: an interruption leaves no half of a file behind.
        aside = path.with_suffix(f".{os.getpid()}.tmp")
        arrays = {name: getattr(tokens, name) for name in _NAMES}
        save_file(arrays, aside, metadata={"keys": json.dumps(list(keys))})
        aside.replace(path)
        self._place |= {key: (path, row) for row, key in enumerate(keys)}


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
        return LocusTokens(*(file.get_tensor(name) for name in _NAMES))

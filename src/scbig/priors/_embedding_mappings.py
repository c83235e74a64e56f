"""Gene embeddings from files that hold a dictionary."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scbig.priors._embedding import GeneEmbedding
from scbig.priors._safe_pickle import load_plain_pickle

_NAME_KEYS = ("names", "genes")
_VECTOR_KEYS = ("vectors", "embeddings")


def read_npz(path: Path) -> GeneEmbedding:
    """Read an ``.npz`` archive of names and vectors.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    The table of vectors.

    Raises
    ------
    ValueError
        When the archive cannot be read, or holds arrays of Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, OSError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is not a readable .npz file of plain arrays: {error}. Save gene names with "
            "np.savez(path, names=np.array(names, dtype=str), vectors=vectors)"
        ) from error
    return _make_embedding(path, arrays)


def read_torch(path: Path) -> GeneEmbedding:
    """Read a ``.pt`` dictionary of tensors.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    The table of vectors.

    Raises
    ------
    ValueError
        When the file holds anything but tensors and plain containers.
    """
    import torch

    try:
        table = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        # Torch's own message advises to load the file unsafely; only the name is taken from it.
        refused = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it asks for {refused[1]}" if refused else "it is something else"
        raise ValueError(
            f"{path} is refused: {reason}. From a .pt file only a dictionary of tensors is read; "
            "save the table as .parquet or .npz"
        ) from error
    if isinstance(table, Mapping):
        table = {
            name: value.detach().float().numpy() if isinstance(value, torch.Tensor) else value
            for name, value in table.items()
        }
    return _make_embedding(path, table)


def read_pickle(path: Path) -> GeneEmbedding:
    """Read a pickled dictionary of arrays or lists.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    The table of vectors.
    """
    return _make_embedding(path, load_plain_pickle(path))


def _make_embedding(path: Path, table: Any) -> GeneEmbedding:
    if not isinstance(table, Mapping) or not table:
        found = "an empty one" if isinstance(table, Mapping) else f"a {type(table).__name__}"
        raise ValueError(
            f"{path}: expected a dictionary with a vector for each gene, found {found}"
        )
    name_key = next((key for key in _NAME_KEYS if key in table), None)
    vector_key = next((key for key in _VECTOR_KEYS if key in table), None)
    if name_key and vector_key:
        names, vectors = np.asarray(table[name_key]).tolist(), np.asarray(table[vector_key])
    else:
        names, vectors = list(table), _stack_vectors(path, table)
    return GeneEmbedding(tuple(names), vectors, source=path.name)


def _stack_vectors(path: Path, table: Mapping[Any, Any]) -> np.ndarray:
    vectors = {name: _make_vector(path, name, value) for name, value in table.items()}
    lengths = {name: len(vector) for name, vector in vectors.items()}
    first, length = next(iter(lengths.items()))
    other = next((name for name in lengths if lengths[name] != length), None)
    if other is not None:
        raise ValueError(
            f"{path}: vectors differ in length: {first!r} has {length} values, {other!r} has "
            f"{lengths[other]}"
        )
    return np.stack(list(vectors.values()))


def _make_vector(path: Path, name: object, value: object) -> np.ndarray:
    try:
        vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: the value of {name!r} is not a vector: {error}") from error
    if vector.ndim != 1:
        raise ValueError(
            f"{path}: the value of {name!r} has shape {vector.shape}; expected a vector per gene, "
            f"or the keys {_NAME_KEYS[0]!r} and {_VECTOR_KEYS[0]!r}"
        )
    return vector

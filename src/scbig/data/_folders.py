"""Saved folders: arrays as safetensors, all else as JSON; nothing is ever unpickled.

``model.json`` names the file of arrays that belongs to it, and takes its place at once: a save
that replaces a model and is killed leaves the old one or the new one.
"""

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from scbig import __version__
from scbig._optional import DISTRIBUTION
from scbig._types import Arrays, Values
from scbig._writing import list_entries, replacing, write_text

FORMAT = 3
# Format 2 has no checksum of its values.
_READABLE = (2, FORMAT)
_ARRAYS = "arrays.safetensors"
_NAMES = re.compile(r"arrays(-[0-9a-f]{8})?\.safetensors")
_VALUES = "model.json"
_SAVE_AGAIN = "The model was changed or copied in part; save it again."
# What a predictor may raise whose values are not of the types that were saved.
_MISFITS = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, RuntimeError,
    TypeError,
)  # fmt: skip
_SCHEMA: Mapping[str, tuple[type | str | None, ...]] = {
    **dict.fromkeys(("seed", "n_steps"), (int,)),
    "missing_embedding": (str,),
    "uses_networks": (bool,),
    **dict.fromkeys(("registry", "history", "method", "vocabulary"), (dict,)),
    **dict.fromkeys(("comparison", "effects", "cells"), (dict, None)),
    **dict.fromkeys(("vocabulary.genes", "vocabulary.targets", "vocabulary.contexts"), ("texts",)),
    "vocabulary.is_log1p": (bool,),
    **dict.fromkeys(("vocabulary.schema", "vocabulary.controls"), (dict,)),
    "vocabulary.embeddings": (list,),
    "vocabulary.aliases": (dict, None),
    "vocabulary.counts_layer": (str, None),
    "vocabulary.target_sum": (int, float, None),
    **dict.fromkeys(("vocabulary.controls.names", "vocabulary.controls.genes"), ("texts",)),
    "vocabulary.controls.obs": (dict,),
}
# So long may another process take between its arrays and its model.json.
_SECONDS_KEPT = 3600.0


def write_folder(
    path: str | PathLike[str],
    class_name: str,
    values: Values,
    arrays: Arrays,
    *,
    overwrite: bool,
) -> None:
    """Write a predictor to a folder, or raise where there is anything and it must not go.

    What else is in the folder stays there.
    """
    folder = Path(path)
    if not overwrite and not is_free(folder):
        raise FileExistsError(f"{folder} exists. Replace it with save(..., overwrite=True).")
    folder.mkdir(parents=True, exist_ok=True)
    earlier = _find_arrays(folder)
    name = _choose_name(folder)
    contiguous = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
    with replacing(folder / name) as half:
        save_file(contiguous, half)
        checksum = _hash(half)
    header = {
        "format": FORMAT,
        "class": class_name,
        "version": __version__,
        "arrays": name,
        "sha256": checksum,
        # A mean of no cells is none; anything else that is not finite was not saved by scbig.
        "not_finite": sorted(_find_not_finite(arrays)),
    }
    text = json.dumps(header | values, indent=1)
    checked = {"checksum": _hash_values(json.loads(text))}
    write_text(folder / _VALUES, json.dumps(checked | header | values, indent=1))
    _remove_earlier(folder, name, earlier)


def is_free(folder: Path) -> bool:
    """Whether a folder is not there, or has nothing in it but what a killed save left."""
    if not folder.exists():
        return True
    if folder.is_file():
        return False
    return all(_NAMES.fullmatch(entry.name) for entry in list_entries(folder))


def _choose_name(folder: Path) -> str:
    """Choose a name for arrays, which no model there has and no other process chooses."""
    try:
        os.close(os.open(folder / _ARRAYS, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return f"arrays-{secrets.token_hex(4)}.safetensors"
    return _ARRAYS


def _find_arrays(folder: Path) -> str | None:
    """Name the arrays of the model that is there; none if there is no model, or it is damaged."""
    try:
        return _name_arrays(folder, _read_values(folder / _VALUES))
    except (OSError, ValueError):
        return None


def _remove_earlier(folder: Path, name: str, earlier: str | None) -> None:
    """Remove the arrays of the model that was replaced, and those of saves that were killed."""
    for path in folder.iterdir():
        if path.name == name or not _NAMES.fullmatch(path.name):
            continue
        try:
            if path.name == earlier or time.time() - path.stat().st_mtime > _SECONDS_KEPT:
                path.unlink()
        except FileNotFoundError:  # another process removed it
            continue


def read_folder(path: str | PathLike[str], class_name: str) -> tuple[Values, Arrays]:
    """Read what :func:`write_folder` wrote, or raise where it is something else."""
    folder = Path(path)
    values = read_header(folder) | {"folder": str(folder)}
    if values.get("class") != class_name:
        raise ValueError(
            f"{folder} holds {values.get('class')}, not {class_name}. "
            f"Load it with {values.get('class')}.load(...)."
        )
    try:
        return values, _read_arrays(folder, values)
    except (FileNotFoundError, ValueError):
        # It may have been replaced since its model.json was read.
        again = read_header(folder) | {"folder": str(folder)}
        if again == values:
            raise
        return again, _read_arrays(folder, again)


def read_header(folder: Path) -> Values:
    """Read the values of a saved model, without its arrays.

    Parameters
    ----------
    folder
        Folder of the model.

    Returns
    -------
    The values.

    Raises
    ------
    FileNotFoundError, ValueError
        When there is no model, it has another format, or was changed.
    """
    if not (folder / _VALUES).is_file():
        raise FileNotFoundError(f"{folder} holds no model saved by scbig: {_VALUES} is missing.")
    values = _read_values(folder / _VALUES)
    _check_format(folder, values)
    if values["format"] == FORMAT and values.get("checksum") != _hash_values(values):
        raise ValueError(
            f"{folder / _VALUES} is not as scbig wrote it: its checksum differs. {_SAVE_AGAIN}"
        )
    return values


def _read_arrays(folder: Path, values: Values) -> Arrays:
    file = folder / _name_arrays(folder, values)
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no model saved by scbig: {file.name} is missing.")
    if values.get("sha256") != _hash(file):
        raise ValueError(
            f"{file} does not belong to {_VALUES}: its checksum differs. {_SAVE_AGAIN}"
        )
    try:
        arrays = load_file(file)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    known = values.get("not_finite", [])
    if values["format"] == FORMAT and (new := _find_not_finite(arrays) - set(known)):
        raise ValueError(
            f"{file} holds NaN or infinite values in {sorted(new)[:5]}, as no trained model does. "
            f"{_SAVE_AGAIN}"
        )
    return arrays


def _find_not_finite(arrays: Arrays) -> set[str]:
    return {
        name
        for name, array in arrays.items()
        if array.dtype.kind in "fc" and not np.isfinite(array).all()
    }


@contextmanager
def name_damage(values: Values) -> Iterator[None]:
    """Name the folder where what was read of it does not fit together inside the block.

    Parameters
    ----------
    values
        What :func:`read_folder` returned.
    """
    where = values.get("folder", "The saved model")
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    except _MISFITS as error:
        raise ValueError(f"{where} cannot be read: {error!r}. {_SAVE_AGAIN}") from error


def check_predictor(values: Values, arrays: Arrays) -> None:
    """Raise where the values of a saved predictor have other types, or do not fit together.

    Parameters
    ----------
    values, arrays
        What :func:`read_folder` returned.
    """
    for key, kinds in _SCHEMA.items():
        value: Any = values
        for part in key.split("."):
            value = value.get(part)
        if not _is_of(value, kinds):
            raise ValueError(f"{_VALUES} has {key} = {value!r:.60}. {_SAVE_AGAIN}")
    known = values["vocabulary"]
    if known["controls"]["genes"] != known["genes"]:
        raise ValueError(
            f"the genes of the control cells are not those of the model. {_SAVE_AGAIN}"
        )
    if values["effects"] is None:
        return
    wanted = len(values["effects"]["targets"]), len(known["genes"])
    if (found := arrays["effects.delta"].shape) != wanted:
        raise ValueError(f"effects are of shape {found}, not {wanted}. {_SAVE_AGAIN}")


def _is_of(value: object, kinds: tuple[type | str | None, ...]) -> bool:
    """Whether a value is of one of some types; ``"texts"`` is a list of texts."""
    if value is None or isinstance(value, bool):
        return None in kinds if value is None else bool in kinds
    if isinstance(value, list) and "texts" in kinds:
        return all(isinstance(one, str) for one in value)
    return isinstance(value, tuple(kind for kind in kinds if isinstance(kind, type)))


def _name_arrays(folder: Path, values: Values) -> str:
    name = values.get("arrays", _ARRAYS)
    if not isinstance(name, str) or not _NAMES.fullmatch(name):
        raise ValueError(
            f"{folder / _VALUES} names {name!r:.80}, which scbig does not write. {_SAVE_AGAIN}"
        )
    return name


def _read_values(file: Path) -> Values:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON, or no text
        raise ValueError(f"{file} cannot be read: {error}. {_SAVE_AGAIN}") from error
    if not isinstance(values, dict) or not isinstance(values.get("format"), int):
        raise ValueError(f"{file} is not what scbig wrote. {_SAVE_AGAIN}")
    return values


def _check_format(folder: Path, values: Values) -> None:
    found = values["format"]
    if found in _READABLE:
        return
    mend = (
        f"Upgrade: pip install -U {DISTRIBUTION}"
        if found > FORMAT
        else "Train the model again, and save it."
    )
    raise ValueError(
        f"{folder} was saved by scbig {values.get('version')} in format {found}; this version "
        f"reads format {FORMAT}. {mend}"
    )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_values(values: Any) -> str:
    """Hash values as JSON holds them, however they are indented; their checksum left out."""
    rest = {key: value for key, value in values.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def add_prefix(arrays: Arrays, prefix: str) -> Arrays:
    """Name arrays of one part of a predictor."""
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def take_prefix(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays of one part, under the names that they had."""
    start = f"{prefix}."
    return {
        name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)
    }

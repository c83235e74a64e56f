"""Saved folders: arrays as safetensors, all else as JSON; nothing is ever unpickled."""

import hashlib
import json
from os import PathLike
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from scbig import __version__
from scbig._optional import DISTRIBUTION
from scbig._types import Arrays, Values

FORMAT = 2
_ARRAYS = "arrays.safetensors"
_VALUES = "model.json"
_SAVE_AGAIN = "The model was changed or copied in part; save it again."


def write_folder(
    path: str | PathLike[str],
    class_name: str,
    values: Values,
    arrays: Arrays,
    *,
    overwrite: bool,
) -> None:
    """Write a predictor to a folder, or raise where there is anything and it must not go."""
    folder = Path(path)
    if folder.exists() and not overwrite and (folder.is_file() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists. Replace it with save(..., overwrite=True).")
    folder.mkdir(parents=True, exist_ok=True)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(contiguous, folder / _ARRAYS)
    header = {
        "format": FORMAT,
        "class": class_name,
        "version": __version__,
        "sha256": _hash(folder / _ARRAYS),
    }
    (folder / _VALUES).write_text(json.dumps(header | values, indent=1), encoding="utf-8")


def read_folder(path: str | PathLike[str], class_name: str) -> tuple[Values, Arrays]:
    """Read what :func:`write_folder` wrote, or raise where it is something else."""
    folder = Path(path)
    for name in (_VALUES, _ARRAYS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no model saved by scbig: {name} is missing.")
    values = _read_values(folder / _VALUES)
    if values.get("class") != class_name:
        raise ValueError(
            f"{folder} holds {values.get('class')}, not {class_name}. "
            f"Load it with {values.get('class')}.load(...)."
        )
    _check_format(folder, values)
    if values.get("sha256") != _hash(folder / _ARRAYS):
        raise ValueError(
            f"{folder / _ARRAYS} does not belong to {_VALUES}: its checksum differs. {_SAVE_AGAIN}"
        )
    try:
        return values, load_file(folder / _ARRAYS)
    except SafetensorError as error:
        raise ValueError(f"{folder / _ARRAYS} cannot be read: {error}") from error


def _read_values(file: Path) -> Values:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no text
        raise ValueError(f"{file} cannot be read: {error}. {_SAVE_AGAIN}") from error
    if not isinstance(values, dict) or not isinstance(values.get("format", 0), int):
        raise ValueError(f"{file} is not what scbig wrote. {_SAVE_AGAIN}")
    return values


def _check_format(folder: Path, values: Values) -> None:
    found = values.get("format", 0)
    if found == FORMAT:
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


def add_prefix(arrays: Arrays, prefix: str) -> Arrays:
    """Name arrays of one part of a predictor."""
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def take_prefix(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays of one part, under the names that they had."""
    start = f"{prefix}."
    return {
        name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)
    }

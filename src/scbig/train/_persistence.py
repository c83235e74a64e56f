"""Saved models: a folder with arrays as safetensors and all else as JSON; nothing is unpickled."""

import hashlib
import json
from os import PathLike
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from scbig import __version__
from scbig._types import Arrays, Values

FORMAT = 1
_ARRAYS = "arrays.safetensors"
_VALUES = "model.json"


def write_model(
    path: str | PathLike[str],
    class_name: str,
    values: Values,
    arrays: Arrays,
    *,
    overwrite: bool,
) -> None:
    """Write a model to a folder.

    Parameters
    ----------
    path
        The folder.
    class_name
        Class of the model.
    values
        Whatever JSON can hold.
    arrays
        Arrays by name.
    overwrite
        Whether to replace a model that is there.

    Raises
    ------
    FileExistsError
        When there is a model, or anything else, at ``path`` and ``overwrite`` is not set.
    """
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


def read_model(path: str | PathLike[str], class_name: str) -> tuple[Values, Arrays]:
    """Read a model from a folder.

    Parameters
    ----------
    path
        The folder.
    class_name
        Class that it must hold.

    Returns
    -------
    Values and arrays as they were written.

    Raises
    ------
    FileNotFoundError
        When there is no model.
    ValueError
        When it is of another class or a later format, or its files do not belong together.
    """
    folder = Path(path)
    for name in (_VALUES, _ARRAYS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no model saved by scbig: {name} is missing.")
    values = json.loads((folder / _VALUES).read_text(encoding="utf-8"))
    if values.get("class") != class_name:
        raise ValueError(
            f"{folder} holds {values.get('class')}, not {class_name}. "
            f"Load it with {values.get('class')}.load(...)."
        )
    if values.get("format", 0) > FORMAT:
        raise ValueError(
            f"{folder} was saved by scbig {values.get('version')} in format {values['format']}; "
            f"this version reads up to {FORMAT}. Upgrade: pip install -U scbig-perturb"
        )
    if values.get("sha256") != _hash(folder / _ARRAYS):
        raise ValueError(
            f"{folder / _ARRAYS} does not belong to {_VALUES}: its checksum differs. "
            "The model was changed or copied in part; save it again."
        )
    try:
        return values, load_file(folder / _ARRAYS)
    except SafetensorError as error:
        raise ValueError(f"{folder / _ARRAYS} cannot be read: {error}") from error


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

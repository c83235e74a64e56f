"""Dictionaries from files that could run code (pickle, torch, NumPy), without running any.

A pickle is a program. This reader admits arrays, numbers, strings and plain containers, and
rebuilds arrays from their bytes itself: NumPy's own unpickling trusts flags inside the file.
"""

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

_PLAIN_KINDS = "biufUS"
# What the unpickler itself may raise on a damaged file, by the documentation of `pickle`,
# and what the stand-ins below raise when they are called with nonsense.
_DAMAGED = (
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,  # a length that was never meant as one
    OverflowError,
    TypeError,
    ValueError,
)


def load_plain_npz(path: Path) -> dict[str, np.ndarray]:
    """Read an ``.npz`` archive of plain arrays.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    The arrays by name.

    Raises
    ------
    ValueError
        When the archive cannot be read, or holds arrays of Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, OSError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is not a readable .npz file of plain arrays: {error}. Save gene names with "
            "np.savez(path, names=np.array(names, dtype=str), vectors=vectors)"
        ) from error


def load_plain_torch(path: Path) -> Any:
    """Read a ``.pt`` file of tensors and plain containers.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    The object; the tensors of a dictionary as float32 arrays.

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
    if not isinstance(table, Mapping):
        return table
    return {
        name: value.detach().float().numpy() if isinstance(value, torch.Tensor) else value
        for name, value in table.items()
    }


def load_plain_pickle(path: Path) -> Any:
    """Read a pickle that holds nothing but arrays, numbers, strings and plain containers.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    The object. Arrays are stand-ins that `numpy.asarray` converts.

    Raises
    ------
    ValueError
        When the file asks for anything else, which is named and not run, or is damaged.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: {error}. A pickle can run code, so only dictionaries of NumPy "
            "arrays or lists are read; save the table as .parquet or .npz"
        ) from error
    except _DAMAGED as error:
        raise ValueError(f"{path} is not a readable pickle: {error}") from error


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        admitted = _ADMITTED.get((module, name))
        if admitted is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return admitted


class _DType:
    """Stands in for `numpy.dtype`; admits numbers, booleans and fixed-length strings."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        dtype = np.dtype(code) if isinstance(code, str) else None
        if dtype is None or dtype.kind not in _PLAIN_KINDS:
            raise pickle.UnpicklingError(f"it holds an array of type {code!r}, not of numbers")
        self.dtype = dtype

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # (version, byte order, ...): all that follows describes types that are not admitted.
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands in for `numpy.ndarray`; filled from bytes."""

    def __init__(self) -> None:
        self.values = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, is_fortran, raw = state
        self.values = _make_array(raw, dtype, shape, "F" if is_fortran else "C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values.astype(dtype or self.values.dtype, copy=bool(copy))


def _make_array(
    raw: bytes, dtype: _DType, shape: tuple[int, ...], order: Literal["C", "F"]
) -> np.ndarray:
    # The constructor refuses a buffer that is shorter than the shape asks for.
    return np.ndarray(shape, dtype.dtype, buffer=raw, order=order).copy()


def _reconstruct(_type: object, _shape: object, _code: object) -> _Array:
    return _Array()


def _make_scalar(dtype: _DType, raw: bytes) -> Any:
    return _make_array(raw, dtype, (), "C")[()]


def _encode_latin1(text: str, encoding: str) -> bytes:
    # Protocols 0 to 2 write bytes as text. Other codecs are not for this reader to run.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds bytes in the encoding {encoding!r}")
    return text.encode("latin1")


_ADMITTED: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode_latin1,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    # NumPy 1 writes `numpy.core`, NumPy 2 `numpy._core`.
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _make_scalar,
    ("numpy._core.multiarray", "scalar"): _make_scalar,
    ("numpy.core.numeric", "_frombuffer"): _make_array,
    ("numpy._core.numeric", "_frombuffer"): _make_array,
}

"""Dictionaries from files that could run code (pickle, torch, NumPy), without running any.

A pickle is a program. This reader admits arrays, numbers, strings and plain containers, and
rebuilds arrays from their bytes itself: NumPy's own unpickling trusts flags inside the file.
"""

import lzma
import math
import pickle
import re
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from scbig._reading import check_announced

_PLAIN_KINDS = "biufUS"
# What reading a damaged archive raises, or one that is encrypted or packed in another way.
DAMAGED_ZIP = (
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    UnicodeDecodeError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)
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
    check_zip(path)
    try:
        _check_headers(path)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (
        *DAMAGED_ZIP,
        ArithmeticError,
        MemoryError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{path} is not a readable .npz file of plain arrays: {error}. Save gene names with "
            "np.savez(path, names=np.array(names, dtype=str), vectors=vectors)"
        ) from error


def check_zip(path: Path) -> None:
    """Refuse a zip archive that announces far more than it holds; other files pass.

    Parameters
    ----------
    path
        The file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            n_bytes = sum(member.file_size for member in archive.infolist())
    except DAMAGED_ZIP:
        return  # whoever reads it says so
    check_announced(path, n_bytes)


def _check_headers(path: Path) -> None:
    """Refuse arrays whose headers announce another size than they have, before it is reserved."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                n_bytes = _read_announced(file)
            if n_bytes > member.file_size:
                raise ValueError(
                    f"{member.filename} announces {n_bytes:,} bytes and has {member.file_size:,}"
                )


def _read_announced(file: IO[bytes]) -> int:
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"its format is {version}; arrays of plain numbers and texts have (1, 0)")
    shape, _, dtype = read(file)
    if dtype.kind not in _PLAIN_KINDS:
        raise ValueError(f"it holds an array of type {dtype}, not of numbers or texts")
    return math.prod(shape) * dtype.itemsize


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

    check_zip(path)
    try:
        table = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, OSError, RuntimeError, *_DAMAGED) as error:
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
        name: _take_tensor(path, name, value) if isinstance(value, torch.Tensor) else value
        for name, value in table.items()
    }


def _take_tensor(path: Path, name: object, tensor: Any) -> np.ndarray:
    import torch

    is_plain = tensor.layout == torch.strided and not tensor.is_quantized
    if not is_plain or tensor.is_complex() or tensor.device.type != "cpu":
        raise ValueError(
            f"{path}: the tensor {name!r:.80} is {tensor.dtype} on {tensor.device}, "
            f"{tensor.layout}; dense tensors of real numbers are expected"
        )
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(
            f"{path}: the tensor {name!r:.80} announces the shape {tuple(tensor.shape)} and holds "
            "fewer numbers; save it with contiguous()"
        )
    return tensor.detach().float().numpy()


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
        _check_sizes(path.read_bytes())
        with path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: {error}. A pickle can run code, so only dictionaries of NumPy "
            "arrays or lists are read; save the table as .parquet or .npz"
        ) from error
    except _DAMAGED as error:
        raise ValueError(f"{path} is not a readable pickle: {error}") from error


# Operations of a pickle by how what follows them is measured: runs of a fixed length are skipped
# at once, texts and bytes have theirs before them, and old ones end with their line.
_FIXED = re.compile(
    rb"(?:[()\]}0-2NQRabdesltuo\x81\x85-\x89\x8f-\x94\x97\x98]|[Kqh\x80\x82]."
    rb"|[M\x83]..|[Jj\x84]....|[G\x95].{8})++",
    re.DOTALL,
)
_LENGTH_BYTES: Mapping[int, int] = {
    **dict.fromkeys(b"UC\x8a\x8c", 1), **dict.fromkeys(b"TXB\x8b", 4),
    **dict.fromkeys(b"\x8d\x8e\x96", 8),
}  # fmt: skip
_LINES: Mapping[int, int] = {**dict.fromkeys(b"FILSVPgp", 1), **dict.fromkeys(b"ic", 2)}


def _check_sizes(raw: bytes) -> None:
    """Refuse a pickle that numbers more objects than it can hold, for which room is made first.

    Lengths of texts and bytes are compared with what is left of the file.
    """
    at = 0
    while at < len(raw) and raw[at] != ord("."):
        run = _FIXED.match(raw, at)
        at = run.end() if run else _skip(raw, raw[at], at + 1)
        if at > len(raw):
            raise pickle.UnpicklingError(f"it announces {at - len(raw):,} bytes too many")


def _skip(raw: bytes, code: int, at: int) -> int:
    """Return where the operation ends whose argument begins at a place."""
    if code == ord("r"):
        _check_number(raw, int.from_bytes(raw[at : at + 4], "little"))
        return at + 4
    if code in _LENGTH_BYTES:
        width = _LENGTH_BYTES[code]
        return at + width + int.from_bytes(raw[at : at + width], "little")
    if code not in _LINES:
        raise pickle.UnpicklingError(f"it holds the unknown operation {code:#x}")
    start = at
    for _ in range(_LINES[code]):
        at = raw.find(b"\n", at) + 1
        if not at:
            raise pickle.UnpicklingError("it ends within a line")
    if code == ord("p"):
        _check_number(raw, int(raw[start:at]))
    return at


def _check_number(raw: bytes, number: int) -> None:
    if number > len(raw):
        raise pickle.UnpicklingError(f"it numbers {number:,} objects in {len(raw):,} bytes")


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

"""What a file from elsewhere must not do: point outside of its arrays, or fill the memory.

A damaged sparse matrix makes compiled code read and write where it must not, and a small file can
announce more than any machine holds. Both are looked at before anything is computed or reserved.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

#: So many times its size on the disk may a file take in memory, and so much any file.
MAX_EXPANSION, FREE_BYTES = 250, 128 << 20
#: Length of a line of text, in characters.
MAX_LINE = 16 << 20
_EXPANSION = "SCBIG_MAX_EXPANSION"
# What is nested deeper was not made by a program that means well.
_MAX_DEPTH = 30
_SPARSE = ("csr_matrix", "csc_matrix")


def get_allowed_bytes(path: Path) -> int:
    """Return how much memory a file may take, by its size and ``SCBIG_MAX_EXPANSION``.

    Parameters
    ----------
    path
        The file.
    """
    text = os.environ.get(_EXPANSION, str(MAX_EXPANSION))
    if not text.isdigit() or not int(text):
        raise ValueError(f"{_EXPANSION}={text!r} is no whole number from 1. Unset it, or mend it.")
    return max(FREE_BYTES, int(text) * path.stat().st_size)


def check_announced(path: Path, n_bytes: int) -> None:
    """Raise when a file announces far more than it holds.

    Parameters
    ----------
    path
        The file.
    n_bytes
        What it would take in memory.

    Raises
    ------
    ValueError
        When that is more than 128 MiB, and more than 250 times the size of the file.
    """
    allowed = get_allowed_bytes(path)
    if n_bytes > allowed:
        size = path.stat().st_size
        raise ValueError(
            f"{path} has {size:,} bytes and would take {n_bytes:,} in memory or more, where "
            f"{allowed:,} are allowed: it is damaged, or meant to do harm. If you trust it, raise "
            f"the limit: {_EXPANSION}={n_bytes // max(size, 1) + 1} in the environment"
        )


def check_sparse(matrix: Any, where: str) -> None:
    """Raise when the indices of a sparse matrix point outside of it, or twice to one place.

    Other matrices pass. Indices need not be sorted.

    Parameters
    ----------
    matrix
        Any matrix.
    where
        Its name, for the message.

    Raises
    ------
    ValueError
        When it is damaged; the message says what was found.
    """
    from scipy import sparse

    if not sparse.issparse(matrix) or matrix.ndim != 2:
        return
    problem = None
    if matrix.format in ("csr", "csc"):
        shape = matrix.shape if matrix.format == "csr" else matrix.shape[::-1]
        problem = find_damage(matrix.data, matrix.indices, matrix.indptr, shape)
        problem = problem or _find_repeat(matrix)
    elif matrix.format == "coo":
        pairs = zip((matrix.row, matrix.col), matrix.shape, strict=True)
        problem = next(filter(None, (_find_outside(at, n) for at, n in pairs)), None)
    if problem is not None:
        raise ValueError(
            f"{where} is a damaged sparse matrix: {problem}. Read or make it anew; nothing in it "
            "can be relied on."
        )


def find_damage(
    data: "np.ndarray", indices: "np.ndarray", indptr: "np.ndarray", shape: tuple[int, int]
) -> str | None:
    """Say what is wrong with the parts of a compressed matrix, where anything is.

    Parameters
    ----------
    data, indices, indptr
        The parts.
    shape
        Number of rows (of columns, if it is compressed by these), and length of one.

    Returns
    -------
    What was found; ``None`` for nothing.
    """
    n, length = shape
    if any(part.ndim != 1 for part in (data, indices, indptr)):
        return "data, indices and indptr are not all of one dimension"
    if indices.dtype.kind not in "iu" or indptr.dtype.kind not in "iu":
        return f"indices are {indices.dtype}, indptr is {indptr.dtype}; whole numbers are expected"
    if len(indptr) != n + 1:
        return f"indptr has {len(indptr):,} entries for {n:,} rows or columns"
    if len(indices) != len(data):
        return f"{len(indices):,} indices for {len(data):,} values"
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        return "indptr does not rise from 0"
    if indptr[-1] > len(indices):
        return f"indptr ends at {indptr[-1]:,}, and there are {len(indices):,} values"
    return _find_outside(indices[: int(indptr[-1])], length)


def _find_outside(indices: "np.ndarray", length: int) -> str | None:
    if not len(indices):
        return None
    least, most = int(indices.min()), int(indices.max())
    if least >= 0 and most < length:
        return None
    return f"indices reach from {least:,} to {most:,}, and 0 to {length - 1:,} are there"


def _find_repeat(matrix: Any) -> str | None:
    # A new object, as an old one remembers what it once was. What it finds is in compiled code.
    fresh = type(matrix)((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
    if fresh.has_canonical_format:
        return None
    if not fresh.has_sorted_indices:
        fresh = fresh.copy()
        fresh.sort_indices()
        if type(matrix)(
            (fresh.data, fresh.indices, fresh.indptr), shape=matrix.shape
        ).has_canonical_format:
            return None
    return "a place is there twice (of values that are meant to be added, sum_duplicates())"


def read_checked(path: Path, read: Callable[[Path], Any], kind: str = ".h5ad") -> Any:
    """Read an HDF5 file of annotated matrices, and check it before and after.

    Parameters
    ----------
    path
        The file.
    read
        Reads it, such as `anndata.read_h5ad`.
    kind
        Suffix, for messages.

    Returns
    -------
    What was read.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it cannot be read, refers to other files, announces far more than it holds, or a
        sparse matrix in it is damaged; the message begins with the path.
    """
    import h5py
    from anndata._io.specs.registry import IORegistryError

    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with h5py.File(path, "r") as file:
            problem = _look_at(path, file)
        found = None if problem else read(path)
    except (
        ArithmeticError, AttributeError, IORegistryError, LookupError, MemoryError,
        NotImplementedError, OSError, RecursionError, RuntimeError, TypeError,
    ) as error:  # fmt: skip
        text = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} is not a readable {kind} file: {text or repr(error)}") from error
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    if problem:
        raise ValueError(f"{path} {problem}")
    for name, matrix in _iter_matrices(found):
        check_sparse(matrix, f"{path}: {name}")
    return found


def read_h5ad(path: str | os.PathLike[str]) -> "AnnData":
    """Read an ``.h5ad`` file into memory, see :func:`read_checked`.

    Parameters
    ----------
    path
        The file.
    """
    import anndata

    return read_checked(Path(path), anndata.read_h5ad)


def _iter_matrices(found: Any) -> Iterator[tuple[str, Any]]:
    """Yield all matrices of an AnnData, or of all modalities of a MuData, with their names."""
    parts = found.mod.items() if hasattr(found, "mod") else [("", found)]
    for modality, adata in parts:
        start = f"mod[{modality!r}]." if modality else ""
        yield f"{start}X", adata.X
        if adata.raw is not None:
            yield f"{start}raw.X", adata.raw.X
        for name in ("layers", "obsm", "varm", "obsp", "varp"):
            for key, matrix in getattr(adata, name).items():
                yield f"{start}{name}[{key!r}]", matrix


def _look_at(path: Path, file: Any) -> str | None:
    """Say what is wrong with an HDF5 file, before any of it is read into memory."""
    import h5py

    n_bytes = 0
    for name, item in _walk(file):
        if isinstance(item, str):
            return f"refers to {item} at {name!r}; what is elsewhere is not read"
        if isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                return f"keeps {name!r} in another file; what is elsewhere is not read"
            # Texts are short ones, held by an object each.
            width = item.dtype.itemsize if item.dtype.kind != "O" else 16
            n_bytes += int(item.size or 0) * width
            check_announced(path, n_bytes)
        elif item.attrs.get("encoding-type") in _SPARSE:
            problem = _look_at_sparse(item)
            if problem:
                return f"holds a damaged sparse matrix {name!r}: {problem}"
    return None


def _walk(group: Any, prefix: str = "", outer: tuple[int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield all there is in a group; a link to another file as its text."""
    import h5py

    address = h5py.h5o.get_info(group.id).addr
    if len(outer) > _MAX_DEPTH or address in outer:
        raise ValueError(f"{prefix!r} is nested without end")
    for key in group:
        name, link = f"{prefix}{key}", group.get(key, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield name, f"the file {link.filename!r}"
        elif isinstance(link, h5py.SoftLink):
            yield name, f"{link.path!r}"
        else:
            item = group[key]
            yield name, item
            if isinstance(item, h5py.Group):
                yield from _walk(item, f"{name}/", (*outer, address))


def _look_at_sparse(group: Any) -> str | None:
    """Say what is wrong with a stored sparse matrix, but for its indices, which are not read."""
    import numpy as np

    shape = np.asarray(group.attrs["shape"])
    if shape.shape != (2,) or shape.dtype.kind not in "iu" or (shape < 0).any():
        return f"its shape is {shape.tolist()}"
    n = int(shape[0 if group.attrs["encoding-type"] == "csr_matrix" else 1])
    data, indices, indptr = (group[part] for part in ("data", "indices", "indptr"))
    if indptr.shape != (n + 1,):
        return f"indptr has the shape {indptr.shape} for {n:,} rows or columns"
    if data.shape != indices.shape or len(data.shape) != 1:
        return f"{indices.shape} indices for {data.shape} values"
    ends = indptr[...]
    if ends.dtype.kind not in "iu" or indices.dtype.kind not in "iu":
        return f"indices are {indices.dtype}, indptr is {ends.dtype}; whole numbers are expected"
    if ends[0] != 0 or (ends[1:] < ends[:-1]).any() or ends[-1] != len(indices):
        return "indptr does not rise from 0 to the number of values"
    return None


def read_lines(path: Path, stream: Any) -> Iterator[str]:
    """Yield the lines of an open text, without a byte-order mark and without their ends.

    Parameters
    ----------
    path
        The file, compressed or not.
    stream
        The text, as `open` returns it.

    Raises
    ------
    ValueError
        When a line is longer than 16 MiB, or all are far longer than the file.
    """
    allowed, n_read, number = get_allowed_bytes(path), 0, 0
    while line := stream.readline(MAX_LINE):
        number, n_read = number + 1, n_read + len(line)
        if n_read > allowed:
            check_announced(path, n_read)
        if len(line) == MAX_LINE and not line.endswith("\n"):
            raise ValueError(
                f"{path}, line {number} is longer than {MAX_LINE >> 20} MiB: this is no such table"
            )
        yield (line.removeprefix("\ufeff") if number == 1 else line).rstrip("\n")

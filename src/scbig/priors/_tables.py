"""Strict reading of delimited text: every refusal names the file and, where it can, the line."""

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from scbig._reading import check_announced, get_allowed_bytes, read_lines

_ARROW_TYPES: Mapping[type, pa.DataType] = {str: pa.string(), int: pa.int32(), float: pa.float32()}


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


class _Unpacked:
    """What is in a gzip file, as far as it is not far more than the file holds."""

    def __init__(self, path: Path) -> None:
        self._path, self._n_read, self.closed = path, 0, False
        self._allowed = get_allowed_bytes(path)
        self._stream = pa.input_stream(str(path), compression="gzip")

    def read(self, size: int) -> bytes:
        """Read on."""
        block = self._stream.read(size)
        self._n_read += len(block)
        if self._n_read > self._allowed:
            check_announced(self._path, self._n_read)
        return block

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        self.closed = True


def open_bytes(path: Path) -> pa.NativeFile:
    """Open a file for the arrow reader, decompressed if its name ends in ``.gz``.

    Parameters
    ----------
    path
        Plain or gzip-compressed file.

    Returns
    -------
    The stream, to be closed by the caller.
    """
    if not _is_gzip(path):
        return pa.input_stream(str(path), compression=None)
    return pa.PythonFile(_Unpacked(path), mode="r")


def iter_lines(path: Path) -> Iterator[str]:
    """Lines of a text file without their ends, decompressed if its name ends in ``.gz``.

    Parameters
    ----------
    path
        Plain or gzip-compressed UTF-8 text.

    Yields
    ------
    One line after the other.

    Raises
    ------
    ValueError
        When the file cannot be decompressed or is not UTF-8.
    """
    opener = gzip.open if _is_gzip(path) else open
    try:
        with opener(path, "rt", encoding="utf-8") as stream:
            yield from read_lines(path, stream)
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as text: {error}") from error


def read_header(path: Path, delimiter: str) -> list[str]:
    """Column names on the first line of a delimited text file.

    Parameters
    ----------
    path
        Plain or gzip-compressed text.
    delimiter
        The character between two columns.

    Returns
    -------
    The column names.

    Raises
    ------
    ValueError
        When the file is empty.
    """
    header = next(iter_lines(path), "")
    if not header:
        raise ValueError(f"{path} is empty: the first line must name the columns")
    return [name.strip('"') for name in header.split(delimiter)]


def check_columns(path: Path, found: Sequence[str], expected: Sequence[str]) -> None:
    """Refuse a table that lacks a column.

    Parameters
    ----------
    path
        The file, for the message.
    found
        Column names of the file.
    expected
        Column names that must be among them.

    Raises
    ------
    ValueError
        When a column is missing; the message lists both sides.
    """
    missing = [name for name in expected if name not in found]
    if missing:
        raise ValueError(
            f"{path} lacks the columns {missing}: expected {list(expected)}, found {list(found)}"
        )


def make_convert_options(columns: Mapping[str, type]) -> csv.ConvertOptions:
    """Options that read the given columns with the given types.

    Parameters
    ----------
    columns
        Type (`str`, `int` or `float`) of each column to read.

    Returns
    -------
    Options of the arrow reader. Nothing is a missing value: ``NA`` in a column of names is a
    name, and in a column of numbers an error.
    """
    return csv.ConvertOptions(
        include_columns=list(columns),
        column_types={name: _ARROW_TYPES[kind] for name, kind in columns.items()},
        null_values=[],
        strings_can_be_null=False,
    )


def read_table(
    path: Path, delimiter: str, columns: Mapping[str, type], *, quote_char: str | bool = False
) -> pa.Table:
    """Read columns of a delimited text file that has a header line.

    Parameters
    ----------
    path
        Plain or gzip-compressed text.
    delimiter
        The character between two columns.
    columns
        Type (`str`, `int` or `float`) of each column to read.
    quote_char
        The character around cells that hold the delimiter; `False` where there is none.

    Returns
    -------
    The columns, in the order in which they were asked for.

    Raises
    ------
    ValueError
        When a line has too few or too many columns or a cell is not of its type.
    """
    try:
        with open_bytes(path) as stream:
            return csv.read_csv(
                stream,
                # A single thread is what lets arrow name the line of an error.
                read_options=csv.ReadOptions(use_threads=False),
                parse_options=csv.ParseOptions(delimiter=delimiter, quote_char=quote_char),
                convert_options=make_convert_options(columns),
            )
    except (pa.ArrowException, OSError) as error:
        message = str(error).replace("Row #", "line ")
        raise ValueError(f"{path} cannot be read as a table: {message}") from error

"""Is the index of a FASTA that of the file? Another one gives other bases, without an error."""

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from scbig._optional import require
from scbig._writing import replacing

logger = logging.getLogger(__name__)

# What stands between two sequences is a header.
_MAX_HEADER = 1 << 20


def open_fasta(path: Path) -> Any:
    """Open a FASTA by its index, which is made where it is missing or belongs to another file.

    Parameters
    ----------
    path
        The FASTA.

    Returns
    -------
    The `pyfaidx.Fasta`.

    Raises
    ------
    ValueError
        When it is no FASTA, or has a chromosome twice.
    """
    index = Path(f"{path}.fai")
    if path.suffix.lower() in {".gz", ".bgz"}:  # its index counts what is unpacked
        return _open(path, index)
    if index.exists() and index.stat().st_mtime_ns >= path.stat().st_mtime_ns:
        problem = _find_problem(path, index)
        if problem is None:
            return _open(path, index)
        logger.warning("%s is not the index of %s and is made anew: %s.", index, path, problem)
    with replacing(index) as half:
        half.unlink()  # an empty file would be taken for an index
        _open(path, half).close()
    problem = _find_problem(path, index)
    if problem:
        raise ValueError(f"{path} cannot be read as a FASTA: {problem}.")
    return _open(path, index)


def _open(path: Path, index: Path) -> Any:
    pyfaidx = require("pyfaidx", "dna")
    try:
        return pyfaidx.Fasta(str(path), indexname=str(index), as_raw=True)
    except (
        pyfaidx.FastaIndexingError, pyfaidx.UnsupportedCompressionFormat, AssertionError,
        ArithmeticError, IndexError, ValueError,
    ) as error:  # fmt: skip
        doubled = re.search(r'[Dd]uplicate key "(.+)"', str(error))
        reason = f"the sequence {doubled[1]!r} is there twice" if doubled else error
        raise ValueError(f"{path} cannot be read as a FASTA: {reason}") from error


def _find_problem(path: Path, index: Path) -> str | None:
    """Say where an index and its FASTA do not agree: headers, lines and the end of each."""
    try:
        with _open(path, index) as fasta:
            records = dict(fasta.faidx.index)
    except ValueError as error:
        return str(error)
    with path.open("rb") as file:
        return _compare(file, records, os.fstat(file.fileno()).st_size)


def _compare(file: IO[bytes], records: Mapping[str, Any], size: int) -> str | None:
    end = 0
    for name, record in sorted(records.items(), key=lambda pair: pair[1].offset):
        header = _read_between(file, end, record.offset)
        if header is None or not _is_header(header, name):
            return f"the header of {name!r} is not where the index has it"
        end = record.offset
        if record.rlen < 0 or (record.rlen and not 0 < record.lenc <= record.lenb):
            return f"the lines of {name!r} cannot be as long as it says"
        if record.rlen:
            n_lines, rest = divmod(record.rlen - 1, record.lenc)
            end += n_lines * record.lenb + rest + 1
            file.seek(record.offset + record.lenc)
            if n_lines and file.read(record.lenb - record.lenc).strip(b"\r\n"):
                return f"the lines of {name!r} have another length"
    if end > size or _read_between(file, end, size) != b"":
        return "it does not end where the index does"
    return None


def _is_header(line: bytes, name: str) -> bool:
    return line[:1] == b">" and b"\n" not in line and line[1:].split()[:1] == [name.encode()]


def _read_between(file: IO[bytes], start: int, end: int) -> bytes | None:
    """Read what stands between two sequences, but for comments before the first; one line."""
    if not 0 <= end - start <= _MAX_HEADER:
        return None
    file.seek(start)
    lines = [line.strip() for line in file.read(end - start).splitlines()]
    if start and lines and lines[0]:
        return None  # the sequence goes on
    told = [line for line in lines if line and not (start == 0 and line.startswith(b";"))]
    return b"\n".join(told)

"""The one way to write a file: aside, synced to the disk, and then put in its place at once.

Whatever ends a process, there is the old file or the new one, whole.
"""

import errno
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

_PREFIX, _SUFFIX = ".scbig-", ".tmp"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file aside, and put it in its place when the block ends without an error.

    A new file has the permissions that the umask leaves, a replaced one keeps those that it had.
    Of a symbolic link the file is replaced that it points to.

    Parameters
    ----------
    path
        The file to be made or replaced.

    Yields
    ------
    The path to write to, in the same folder, where an empty file is.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        When there is no folder for the file, or a folder has its name.
    OSError
        When the disk is full, or the like: what was there before stays.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "There is no such folder", str(target.parent))
    if target.exists() and not target.is_file():
        yield target  # a device or a pipe has nothing that could be lost
        return
    remove_leftovers(target.parent)
    half = target.with_name(f"{_PREFIX}{_name_process()}-{secrets.token_hex(4)}{_SUFFIX}")
    try:
        os.close(os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        mode = (target if target.exists() else half).stat().st_mode & 0o777
        yield half
        half.chmod(mode)  # some libraries make a file of their own, for the user alone
        _sync(half, os.O_RDWR)
        half.replace(target)
        sync_folder(target.parent)
    finally:
        half.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text, in UTF-8, see :func:`replacing`.

    Parameters
    ----------
    path
        The file.
    text
        Its content.
    """
    with replacing(path) as half:
        half.write_text(text, encoding="utf-8")


def list_entries(folder: Path) -> list[Path]:
    """List what is in a folder, but for what a killed process may have left half written.

    Parameters
    ----------
    folder
        The folder.

    Returns
    -------
    Its entries, in no order.
    """
    return [path for path in folder.iterdir() if not _is_half(path)]


def remove_leftovers(folder: Path) -> None:
    """Remove what processes of this machine that are gone left half written.

    Parameters
    ----------
    folder
        The folder.
    """
    for path in filter(_is_half, folder.iterdir()):
        host, _, number = path.name.removeprefix(_PREFIX).partition("-")
        if host == _name_host() and not _is_running(number.partition("-")[0]):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the disk keep the names in a folder, where the system can be asked to.

    Parameters
    ----------
    folder
        The folder.
    """
    if os.name == "posix":
        _sync(folder, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_half(path: Path) -> bool:
    return path.name.startswith(_PREFIX) and path.name.endswith(_SUFFIX)


def _name_process() -> str:
    return f"{_name_host()}-{os.getpid()}"


def _name_host() -> str:
    # A folder may be shared by machines, whose numbers of processes are not ours.
    return blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()


def _is_running(number: str) -> bool:
    import psutil

    return not number.isdigit() or psutil.pid_exists(int(number))

"""Files are written whole or not at all, with the permissions of the user, and leave nothing."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scbig import _writing
from scbig._writing import list_entries, replacing, write_text

SOURCE = Path(__file__).parents[1] / "src" / "scbig"
# Calls that write a file where their first argument says.
WRITERS = {"write_h5ad", "write_text", "write_bytes", "savefig", "save_file", "write_table",
           "to_parquet", "savez", "savez_compressed", "write_zarr", "to_pickle"}  # fmt: skip


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as half:
        half.write_text("new")
        assert path.read_text() == "old"
        assert half.parent == tmp_path
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as half:
            half.write_text("ha")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_disk_that_fails_late_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(*((os, "fsync") if fails == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.usefixtures("umask")
def test_permissions_follow_the_umask_and_those_of_a_replaced_file_stay(tmp_path: Path):
    path = tmp_path / "a.txt"
    with replacing(path) as half:
        half.unlink()
        half.touch(mode=0o600)  # as safetensors does
        half.chmod(0o600)
    assert path.stat().st_mode & 0o777 == 0o640
    path.chmod(0o604)
    write_text(path, "new")
    assert path.stat().st_mode & 0o777 == 0o604


def test_a_symbolic_link_stays_one(tmp_path: Path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "there" / "a.txt")
    write_text(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "there" / "a.txt").read_text() == "new"


def test_a_pipe_is_written_to(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


def test_what_is_no_place_for_a_file_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_text(tmp_path / "nowhere" / "a.txt", "")
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        write_text(tmp_path, "")


def test_the_longest_name_can_be_written(tmp_path: Path):
    path = tmp_path / ("n" * 255)
    write_text(path, "text")
    assert path.read_text() == "text"


KILLED = """
import os, signal, sys
from scbig._writing import replacing
with replacing(sys.argv[1]) as half:
    half.write_text("half of it")
    print(half, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_kill_leaves_is_no_entry_and_goes_with_the_next_write(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    run = subprocess.run([sys.executable, "-c", KILLED, path], capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL
    half = Path(run.stdout.strip())
    assert half.read_text() == "half of it"
    assert list_entries(tmp_path) == [path]
    assert path.read_text() == "old"
    write_text(tmp_path / "b.txt", "")
    assert not half.exists()


def test_files_of_running_processes_and_of_other_machines_are_left_alone(tmp_path: Path):
    other = tmp_path / ".scbig-00000000-1-abcdef01.tmp"
    own = tmp_path / f".scbig-{_writing._name_process()}-abcdef01.tmp"
    for half in (own, other):
        half.touch()
    write_text(tmp_path / "a.txt", "")
    assert own.exists()
    assert other.exists()
    assert list_entries(tmp_path) == [tmp_path / "a.txt"]


def find_bare_writes(tree: ast.Module) -> Iterator[int]:
    """Lines that write a file outside of a block of `replacing`."""
    guarded = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.With) and "replacing" in ast.dump(block.items[0])
        for node in ast.walk(block)
    }
    exits = {id(node) for node in guarded}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or id(node) in exits:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        is_open = name == "open" and any(str(t)[:1] in {"w", "a", "x"} for t in texts)
        is_csv = name == "to_csv" and node.args
        # A bare `write_table` is none of arrow's.
        is_writer = name in WRITERS and (name != "write_table" or hasattr(node.func, "attr"))
        if is_writer or is_open or is_csv:
            # Our own `write_text` is safe; so are helpers that are handed a path to write to.
            yield node.lineno


# Calls that are given the path that `replacing` yields, or a buffer.
HANDED = {
    ("benchmark/_report_displays.py", "savefig"),
    ("cli/_predict.py", "to_csv"),
    ("data/_simulate_locus.py", "open"),
}


def test_every_file_is_written_by_the_one_writer():
    bare = []
    for file in sorted(SOURCE.rglob("*.py")):
        text = file.read_text("utf-8")
        lines, where = text.splitlines(), file.relative_to(SOURCE).as_posix()
        for line in find_bare_writes(ast.parse(text)):
            code = lines[line - 1]
            is_ours = "write_text(" in code and ".write_text(" not in code
            is_ours |= "folder.write_text(" in code or "self.write_text(" in code
            is_ours |= "enter_context(replacing(" in code
            is_handed = any(where == name and call in code for name, call in HANDED)
            if where != "_writing.py" and not is_ours and not is_handed:
                bare.append(f"{where}:{line}: {code.strip()}")
    assert bare == []


@pytest.mark.parametrize(
    "text",
    ["adata.write_h5ad(path)", "table.to_csv(path)", "open(path, 'w')", "pq.write_table(t, path)"],
)
def test_a_bare_write_is_found(text: str):
    assert list(find_bare_writes(ast.parse(text))) == [1]
    assert list(find_bare_writes(ast.parse(f"with replacing(path) as path:\n    {text}"))) == []

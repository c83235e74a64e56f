"""Folders of saved predictors: what comes back, and what is refused."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from scbig.data import is_free, read_folder, write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "t": np.arange(6).reshape(2, 3).T}
    write_folder(tmp_path / "m", "Some", {"names": ["ü", "b"]}, arrays, overwrite=False)
    return tmp_path / "m"


def _change(folder: Path, **values: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_values_and_arrays_come_back(folder: Path) -> None:
    values, arrays = read_folder(folder, "Some")
    assert values["names"] == ["ü", "b"]
    np.testing.assert_array_equal(arrays["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(arrays["t"], [[0, 3], [1, 4], [2, 5]])


def test_a_changed_array_file_is_refused(folder: Path) -> None:
    path = folder / "arrays.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="checksum differs"):
        read_folder(folder, "Some")


def test_another_class_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"holds Some, not SCBIG.*Some\.load"):
        read_folder(folder, "SCBIG")


@pytest.mark.parametrize(
    ("found", "mend"),
    [(99, "Upgrade: pip install -U scbig-perturb"), (1, "Train the model again")],
)
def test_another_format_says_how_to_go_on(folder: Path, found: int, mend: str) -> None:
    _change(folder, format=found)
    with pytest.raises(
        ValueError, match=f"in format {found}; this version reads format 3. {mend}"
    ):
        read_folder(folder, "Some")


@pytest.mark.parametrize("name", ["model.json", "arrays.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        read_folder(folder, "Some")


def test_a_full_folder_is_kept(folder: Path) -> None:
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_folder(folder, "Some", {}, {}, overwrite=False)
    write_folder(folder, "Some", {"n": 2}, {}, overwrite=True)
    assert read_folder(folder, "Some")[0]["n"] == 2


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    write_folder(tmp_path, "Some", {"n": 1}, {}, overwrite=False)
    assert read_folder(tmp_path, "Some")[0]["n"] == 1


@pytest.mark.parametrize(
    "content", [b"", b'{"format": 2, "na', b"[]", b'{"format": "2"}', b"\xff"]
)
def test_a_damaged_header_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.json .*save it again"):
        read_folder(folder, "Some")


def test_changed_values_are_refused(folder: Path) -> None:
    _change(folder, names=["b", "ü"])
    with pytest.raises(ValueError, match=r"model\.json is not as scbig wrote it: its checksum"):
        read_folder(folder, "Some")


def test_a_missing_checksum_of_values_is_refused(folder: Path) -> None:
    path = folder / "model.json"
    values = json.loads(path.read_text())
    del values["checksum"]
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="checksum differs"):
        read_folder(folder, "Some")


def test_other_spaces_do_no_harm(folder: Path) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=None))
    assert read_folder(folder, "Some")[0]["names"] == ["ü", "b"]


def test_a_model_of_the_format_before_is_read(folder: Path) -> None:
    path = folder / "model.json"
    values = json.loads(path.read_text()) | {"format": 2}
    del values["checksum"], values["arrays"]
    path.write_text(json.dumps(values))
    assert read_folder(folder, "Some")[0]["names"] == ["ü", "b"]


def test_arrays_are_read_from_the_folder_alone(folder: Path) -> None:
    (folder.parent / "arrays.safetensors").write_bytes(
        (folder / "arrays.safetensors").read_bytes()
    )
    _change(folder, format=2, arrays="../arrays.safetensors")
    with pytest.raises(ValueError, match="which scbig does not write"):
        read_folder(folder, "Some")


def _write(folder: Path, n: int) -> None:
    write_folder(folder, "Some", {"n": n}, {"a": np.full(3, n)}, overwrite=True)


def test_a_replaced_model_leaves_two_files(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    for n in range(3):
        _write(folder, n)
        values, arrays = read_folder(folder, "Some")
        assert (values["n"], arrays["a"].tolist()) == (n, [n] * 3)
        kinds = sorted(path.suffix for path in folder.iterdir())
        assert kinds == [".json", ".safetensors", ".txt"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_save_that_ends_at_any_step_leaves_a_whole_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    """Each sync, renaming and removal in turn is the last thing that a save does."""
    folder, n_done = tmp_path / "m", 0
    for last in range(100):
        if is_there:
            _write(folder, 1)
        with monkeypatch.context() as patch:
            steps = _stop_at(patch, last)
            try:
                _write(folder, 2)
            except KeyboardInterrupt:
                n_done += 1
        if is_there or (folder / "model.json").exists():
            values, arrays = read_folder(folder, "Some")
            assert values["n"] in (1, 2)
            assert arrays["a"].tolist() == [values["n"]] * 3
        else:
            assert is_free(folder)
        if next(steps) <= last:
            break
        if not is_there:
            shutil.rmtree(folder)
    assert n_done >= 6
    _write(folder, 3)
    assert read_folder(folder, "Some")[0]["n"] == 3


def _stop_at(patch: pytest.MonkeyPatch, last: int) -> Iterator[int]:
    """End the process, as it were, at a step; nothing that follows is done."""
    steps = count()

    def stop(call: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **settings: object) -> object:
            if next(steps) >= last:
                raise KeyboardInterrupt
            return call(*args, **settings)

        return step

    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
        patch.setattr(owner, name, stop(getattr(owner, name)))
    return steps

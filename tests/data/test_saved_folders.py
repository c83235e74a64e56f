"""Folders of saved predictors: what comes back, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from scbig.data import read_folder, write_folder


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
        ValueError, match=f"in format {found}; this version reads format 2. {mend}"
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

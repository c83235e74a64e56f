import json
from pathlib import Path

import numpy as np
import pytest

from scbig.train import read_model, write_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "t": np.arange(6).reshape(2, 3).T}
    write_model(tmp_path / "m", "Some", {"names": ["ü", "b"]}, arrays, overwrite=False)
    return tmp_path / "m"


def _change(folder: Path, **values: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_values_and_arrays_come_back(folder: Path) -> None:
    values, arrays = read_model(folder, "Some")
    assert values["names"] == ["ü", "b"]
    np.testing.assert_array_equal(arrays["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(arrays["t"], [[0, 3], [1, 4], [2, 5]])


def test_a_changed_array_file_is_refused(folder: Path) -> None:
    path = folder / "arrays.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="checksum differs"):
        read_model(folder, "Some")


def test_another_class_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"holds Some, not SCBIG.*Some\.load"):
        read_model(folder, "SCBIG")


def test_a_later_format_asks_for_an_upgrade(folder: Path) -> None:
    _change(folder, format=99)
    with pytest.raises(ValueError, match=r"format 99.*pip install -U scbig-perturb"):
        read_model(folder, "Some")


@pytest.mark.parametrize("name", ["model.json", "arrays.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        read_model(folder, "Some")


def test_a_full_folder_is_kept(folder: Path) -> None:
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_model(folder, "Some", {}, {}, overwrite=False)
    write_model(folder, "Some", {"n": 2}, {}, overwrite=True)
    assert read_model(folder, "Some")[0]["n"] == 2


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    write_model(tmp_path, "Some", {"n": 1}, {}, overwrite=False)
    assert read_model(tmp_path, "Some")[0]["n"] == 1

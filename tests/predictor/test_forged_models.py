"""A saved model that was changed by somebody who knows its checksums is refused all the same."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from scbig.baselines import Additive
from scbig.data import simulate_screen
from scbig.data._folders import _hash_values

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    adata = simulate_screen(n_cells=400, n_genes=60, n_targets=6, n_doubles=0)
    Additive.setup_anndata(adata)
    model = Additive(adata)
    model.train()
    folder = tmp_path_factory.mktemp("forged") / "model"
    model.save(folder)
    Additive.load(folder)
    return folder


def _forge(saved: Path, folder: Path, values: Change, arrays: Change = lambda _: None) -> Path:
    folder.mkdir()
    tensors = {
        name: array.copy() for name, array in load_file(saved / "arrays.safetensors").items()
    }
    arrays(tensors)
    save_file(tensors, folder / "arrays.safetensors")
    header = json.loads((saved / "model.json").read_text())
    raw = (folder / "arrays.safetensors").read_bytes()
    header["sha256"] = hashlib.sha256(raw).hexdigest()
    values(header)
    header["checksum"] = _hash_values(header)
    (folder / "model.json").write_text(json.dumps(header))
    return folder


def test_what_is_forged_without_a_change_is_read(saved: Path, tmp_path: Path):
    assert Additive.load(_forge(saved, tmp_path / "m", lambda _: None)).is_trained_


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda v: v["vocabulary"]["genes"].reverse(),
            "the genes of the control cells are not those of",
        ),
        (lambda v: v.pop("seed"), "has seed = None"),
        (lambda v: v.update(seed="1"), "has seed = '1'"),
        (lambda v: v.update(registry=3), "has registry = 3"),
        (lambda v: v.update(method=[]), r"has method = \[\]"),
        (lambda v: v.update(uses_networks=None), "has uses_networks = None"),
        (lambda v: v["vocabulary"].update(contexts=[1]), r"has vocabulary.contexts = \[1\]"),
        (lambda v: v["vocabulary"].pop("controls"), "has vocabulary.controls = None"),
        (lambda v: v["vocabulary"]["schema"].clear(), "KeyError"),
        (lambda v: v["effects"]["targets"].pop(), r"effects are of shape"),
        (lambda v: v["vocabulary"]["controls"]["names"].pop(), "entries for"),
        (lambda v: v.update(format=99), "in format 99; this version reads format 3. Upgrade"),
        (lambda v: v.update(arrays="../arrays.safetensors"), "which scbig does not write"),
    ],
)
def test_forged_values_are_refused(saved: Path, tmp_path: Path, change: Change, message: str):
    folder = _forge(saved, tmp_path / "forged", change)
    with pytest.raises(ValueError, match=rf"forged.*{message}"):
        Additive.load(folder)


def _set(name: str, value: float) -> Change:
    def change(arrays: dict[str, Any]) -> None:
        arrays[name].flat[2] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("effects.delta", np.nan), r"NaN or infinite values in \['effects.delta'\]"),
        (_set("controls.data", np.inf), r"NaN or infinite values in \['controls.data'\]"),
        (_set("controls.indices", 10**6), "controls is a damaged sparse matrix: indices reach"),
        (_set("controls.indices", -1), "controls is a damaged sparse matrix: indices reach"),
        (_set("controls.indptr", 10**6), "controls is a damaged sparse matrix: indptr"),
        (_set("control_counts.indptr", 0), "control_counts is a damaged sparse matrix: indptr"),
        (lambda a: a.pop("controls.data"), "KeyError"),
        (lambda a: a.pop("effects.delta"), "KeyError"),
        (lambda a: a.update({"effects.delta": a["effects.delta"][:, :-1].copy()}), "of shape"),
    ],
)
def test_forged_arrays_are_refused(saved: Path, tmp_path: Path, change: Change, message: str):
    folder = _forge(saved, tmp_path / "forged", lambda _: None, change)
    with pytest.raises(ValueError, match=rf"forged.*{message}"):
        Additive.load(folder)

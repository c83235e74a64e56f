"""Split files: what is written is read again, the published ones are read, others are refused."""

import json
import runpy
from pathlib import Path

import anndata as ad
import pytest
from hypothesis import given, strategies as st

from scbig.data import ScreenSchema, infer_schema
from scbig.splits import (
    Split,
    get_roles,
    make_additive,
    make_context,
    parse_condition,
    read_splits,
    write_splits,
)

SCHEMA = ScreenSchema("perturbation", "control", "+")
DOCS = Path(__file__).parents[2] / "docs"
SPLITS, SCRIPT = DOCS / "benchmarks" / "splits", DOCS / "scripts" / "make_splits.py"


def write(tmp_path: Path, value: object) -> Path:
    path = tmp_path / "splits.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_what_is_written_is_read(tmp_path: Path, conditions: list[tuple[str, ...]]):
    groups = [(targets, line) for targets in conditions for line in ("x", "y")]
    splits = [
        make_additive(conditions, seed=4),
        make_context(groups, ["line"], seed=1),
        Split("mine", "custom", 7, (("A", "B", "C"),), (("D",),), n_cells=8),
    ]
    path = tmp_path / "splits.json"
    write_splits(path, splits)
    read = read_splits(path, SCHEMA)
    assert read == {split.name: split for split in splits}
    write_splits(tmp_path / "again.json", read)
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert json.loads(path.read_text())["mine"] == {
        "task": "custom", "seed": 7, "n_cells": 8, "test": ["A+B+C"], "val": ["D"],
    }  # fmt: skip


def test_names_must_differ(tmp_path: Path):
    split = Split("s", "custom", 0, (("A",),))
    with pytest.raises(ValueError, match=r"2 splits have only 1 different names: \['s'\]"):
        write_splits(tmp_path / "s.json", [split, split])


def test_task_and_seed_are_guessed_from_plain_files(tmp_path: Path):
    path = write(tmp_path, {
        "additive_seed3": {"test": ["B+A"], "val": ["C"]},
        "mine": {"test": ["A"]},
        "2": {"train": ["C+ctrl", "ctrl+ctrl"], "test": {"combo_seen1": ["B+A"], "none": []}},
        "named": {"test": {"unseen_single": ["ctrl+A"]}},
    })  # fmt: skip
    assert read_splits(path, SCHEMA) == {
        "additive_seed3": Split("additive_seed3", "additive", 3, (("A", "B"),), (("C",),)),
        "mine": Split("mine", "custom", 0, (("A",),)),
        "2": Split("2", "gears", 2, (("A", "B"),)),
        "named": Split("named", "gears", 0, (("A",),)),
    }


@pytest.mark.parametrize(
    ("label", "separator", "targets"),
    [
        ("B+A", "_", ("A", "B")),
        ("B_A", "_", ("A", "B")),
        ("A+ctrl", "_", ("A",)),
        ("A+B_C", "_", ("A", "B", "C")),
        ("non_targeting", "_", ()),
        ("B + A", "+", ("A", "B")),
        ("A_B", "+", ("A_B",)),
        ("HLA+", None, ("HLA+",)),
        ("control", None, ()),
    ],
)
def test_conditions_are_read_in_the_words_of_the_screen(
    label: str, separator: str | None, targets: tuple[str, ...]
):
    control = "non_targeting" if label == "non_targeting" else "control"
    schema = ScreenSchema("perturbation", control, separator)
    assert parse_condition(label, schema) == targets


names = st.text("ABCD", min_size=1, max_size=3)


@given(
    targets=st.lists(names, min_size=1, max_size=4, unique=True), separator=st.sampled_from("+_|")
)
def test_labels_in_any_order_and_either_separator_are_one_condition(targets, separator: str):
    schema = ScreenSchema("perturbation", "control", separator)
    expected = tuple(sorted(targets))
    for label in ("+".join(targets), separator.join(reversed(targets))):
        assert parse_condition(label, schema) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "splits.json is no JSON"),
        ([1], "holds a list; splits by name are expected"),
        ({"a": ["A"]}, "split 'a': holds list; keys among .'test', 'val'"),
        ({"a": {"tset": ["A"]}}, r"holds \['tset'\]; keys among"),
        ({"a": {"test": "A"}}, "'test' is 'A'; a list of strings"),
        ({"a": {"test": [1]}}, r"'test' is \[1\]; a list of strings"),
        ({"a": {"test": {"kind": "A"}}}, "'test' is 'A'; a list of strings"),
        ({"a": {"test": ["A"], "val": ["A+ctrl"]}}, "both test and val: A"),
        ({"a": {"test": ["A+B"], "train": ["B+A"]}}, r"trains on A\+B, which it holds out"),
        ({"a": {"test": ["A+B", "B+A"]}}, r"names A\+B more than once"),
        ({"a": {"test": ["control"]}}, "names the control"),
        ({"a": {"test": ["A+"]}}, "has an empty target"),
        ({"a": {"test": [""]}}, "label is empty"),
        ({"a": {"test": [], "seed": "x"}}, "'seed' is 'x'; a whole number"),
        ({"a": {"test": [], "seed": -1}}, "'seed' is -1; a whole number"),
        ({"a": {"test": [], "task": 3}}, "'task' is 3; a string"),
        ({"a": {"test": [], "n_cells": None}}, "'n_cells' is None; a whole number"),
        ({"a": {"test": [], "context_keys": "line"}}, "'context_keys' is 'line'; a list"),
        ({"a": {"test": ["A"], "test_contexts": ["x"]}}, "Name them: context_keys="),
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, value: object, message: str):
    with pytest.raises(ValueError, match=message):
        read_splits(write(tmp_path, value), SCHEMA)


def test_other_files_are_refused(tmp_path: Path):
    (tmp_path / "screen.h5ad").write_bytes(b"\x89HDF\r\n\xff")
    with pytest.raises(ValueError, match=r"screen\.h5ad is no JSON"):
        read_splits(tmp_path / "screen.h5ad", SCHEMA)
    with pytest.raises(FileNotFoundError):
        read_splits(tmp_path / "absent.json", SCHEMA)


@pytest.mark.data_kit
@pytest.mark.parametrize(
    ("file", "n_splits", "sizes"),
    [
        ("norman2019_resampled.json", 10, ("additive_seed0", 39, 13)),
        ("norman_gears_simulation_seeds1-5.json", 5, ("1", 97, 26)),
    ],
)
def test_published_files_fit_their_screen(
    data_kit: Path, file: str, n_splits: int, sizes: tuple[str, int, int]
):
    adata = ad.read_h5ad(data_kit / "norman2019_resampled.h5ad", backed="r")
    schema = infer_schema(adata)
    splits = read_splits(data_kit / "splits" / file, schema)
    name, n_test, n_val = sizes
    assert len(splits) == n_splits
    assert (len(splits[name].test), len(splits[name].val)) == (n_test, n_val)
    conditions = {schema.parse(label) for label in adata.obs["perturbation"].unique()}
    for split in splits.values():
        roles = get_roles(adata.obs, split.restrict(conditions), schema)
        assert set(roles) == {"train", "val", "test", "control"}


@pytest.mark.data_kit
def test_the_script_writes_the_committed_files(
    data_kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.argv", ["make_splits.py", str(data_kit), "--out", str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(COMMITTED)
    for path in tmp_path.iterdir():
        assert path.read_text() == (SPLITS / path.name).read_text()


COMMITTED = {
    "papalexi_unseen.json": ("papalexi2021", ()),
    "papalexi_replicate.json": ("papalexi2021", ("bio_rep",)),
    "schraivogel_unseen.json": ("schraivogel2020", ()),
    "norman_mini_additive.json": ("norman2019_mini", ()),
    "mcfaline_context.json": ("mcfaline2024_mini", ("cell_line",)),
}


@pytest.mark.data_kit
@pytest.mark.parametrize("file", COMMITTED)
def test_committed_files_fit_their_screens(data_kit: Path, file: str):
    screen, context_keys = COMMITTED[file]
    adata = ad.read_h5ad(data_kit / f"{screen}.h5ad", backed="r")
    schema = infer_schema(adata, context_keys=context_keys)
    splits = read_splits(SPLITS / file, schema)
    assert [split.seed for split in splits.values()] == [0, 1, 2, 3, 4]
    assert len({(split.test, split.test_contexts) for split in splits.values()}) == 5
    for split in splits.values():
        assert {"train", "test", "control"} <= set(get_roles(adata.obs, split, schema))

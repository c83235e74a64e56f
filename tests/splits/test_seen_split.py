"""A split of seen conditions: halves of cells that follow from names and seed alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.data import ScreenSchema
from scbig.splits import (
    Split,
    assign_split,
    get_roles,
    make_seen,
    make_split,
    read_splits,
    write_splits,
)


@pytest.fixture
def split(screen: AnnData, schema: ScreenSchema) -> Split:
    return make_split(screen, "seen", schema=schema)


def find_test(adata: AnnData, split: Split, schema: ScreenSchema) -> set[str]:
    return set(adata.obs_names[get_roles(adata.obs, split, schema) == "test"])


def count_test(adata: AnnData, split: Split, schema: ScreenSchema) -> pd.Series:
    is_test = pd.Series(get_roles(adata.obs, split, schema) == "test", adata.obs_names)
    return is_test.groupby([adata.obs["perturbation"], adata.obs["cell_line"]]).sum()


@pytest.mark.parametrize(
    ("n_cells", "share", "n_test"),
    [(4, 0.5, 2), (5, 0.5, 2), (2, 0.5, 1), (3, 0.1, 1), (3, 0.9, 2), (10, 0.3, 3)],
)
def test_a_share_of_each_condition_and_of_the_controls_is_held_out_in_each_context(
    make_cells: Callable[..., AnnData],
    schema: ScreenSchema,
    n_cells: int,
    share: float,
    n_test: int,
):
    adata = make_cells(["A", "B", "A+B"], n_cells)
    split = make_split(adata, "seen", schema=schema, share=share)
    assert split.test == (("A",), ("B",), ("A", "B"))
    assert split.context_keys == ("cell_line",)
    counts = count_test(adata, split, schema)
    assert (len(counts), set(counts)) == (4 * 3, {n_test})
    roles = pd.crosstab(adata.obs["perturbation"], get_roles(adata.obs, split, schema))
    n_rest = 3 * (n_cells - n_test)
    assert roles.loc["control"].to_dict() == {"control": n_rest, "test": 3 * n_test, "train": 0}
    assert roles.loc["A+B"].to_dict() == {"control": 0, "test": 3 * n_test, "train": n_rest}


def test_without_contexts_conditions_are_halved_as_a_whole(
    make_cells: Callable[..., AnnData], schema: ScreenSchema
):
    adata, schema = make_cells(["A"], 3), replace(schema, context_keys=())
    split = make_split(adata, "seen", schema=schema)
    counts = count_test(adata, split, schema).groupby("perturbation").sum()
    assert counts.to_dict() == {"A": 4, "control": 4}


def test_the_seed_draws_and_a_smaller_share_is_part_of_a_larger(
    screen: AnnData, schema: ScreenSchema, split: Split
):
    first = find_test(screen, split, schema)
    other = find_test(screen, replace(split, seed=1), schema)
    assert len(first) == len(other) == screen.n_obs / 2
    # Halves that have nothing to do with each other share a half.
    assert 0.4 < len(first & other) / len(first) < 0.6
    small, large = (
        find_test(screen, replace(split, cell_share=share), schema) for share in (0.25, 0.75)
    )
    assert small < first < large


def test_the_order_of_cells_and_the_spelling_of_labels_do_not_matter(
    screen: AnnData, schema: ScreenSchema, split: Split
):
    turned = screen[np.random.default_rng(0).permutation(screen.n_obs)].copy()
    turned.obs["perturbation"] = [
        "_".join(reversed(x.split("+"))) for x in turned.obs["perturbation"]
    ]
    other = replace(schema, separator="_")
    assert make_split(turned, "seen", schema=other) == split
    assert find_test(turned, split, other) == find_test(screen, split, schema)


def test_further_cells_move_few_others(screen: AnnData, schema: ScreenSchema, split: Split):
    fewer = screen[screen.obs_names != "cell7"].copy()
    moved = find_test(screen, split, schema) ^ find_test(fewer, split, schema)
    assert len(moved - {"cell7"}) <= 1


def test_it_is_the_same_from_a_file_and_in_obs(
    screen: AnnData, schema: ScreenSchema, split: Split, tmp_path: Path
):
    write_splits(tmp_path / "splits.json", [split, replace(split, name="b", cell_share=0.2)])
    entry = json.loads((tmp_path / "splits.json").read_text())["seen_seed0"]
    assert (entry["task"], entry["seed"], entry["cell_share"]) == ("seen", 0, 0.5)
    read = read_splits(tmp_path / "splits.json", schema)
    assert read["seen_seed0"] == split
    assert read["b"].cell_share == 0.2
    assign_split(screen, read["seen_seed0"], schema)
    screen.write_h5ad(tmp_path / "screen.h5ad")
    stored = ad.read_h5ad(tmp_path / "screen.h5ad").obs["scbig_split"]
    assert stored.tolist() == get_roles(screen.obs, split, schema).tolist()
    assert stored.cat.categories.tolist() == ["train", "val", "test", "control", "unused"]


def test_a_file_may_be_written_by_hand(schema: ScreenSchema, tmp_path: Path):
    path = tmp_path / "splits.json"
    entry = {"cell_share": 0.5, "test": ["A"], "val": ["A"], "train": ["A", "B"]}
    path.write_text(json.dumps({"half": entry}))
    expected = Split("half", "seen", 0, (("A",),), (("A",),), cell_share=0.5)
    assert read_splits(path, schema) == {"half": expected}
    path.write_text(json.dumps({"half": {"cell_share": "much", "test": ["A"]}}))
    with pytest.raises(ValueError, match="'cell_share' is 'much'; a number is expected"):
        read_splits(path, schema)


def test_a_condition_may_be_on_both_sides_and_be_stopped_on(
    make_cells: Callable[..., AnnData], schema: ScreenSchema
):
    adata = make_cells(["A", "B"])
    split = Split("s", "seen", 0, (("A",),), (("A",),), ("cell_line",), cell_share=0.5)
    roles = pd.crosstab(adata.obs["perturbation"], get_roles(adata.obs, split, schema))
    assert roles.loc["A"].to_dict() == {"control": 0, "test": 6, "train": 0, "val": 6}
    # B is not tested: all of its cells are learned from.
    assert roles.loc["B"].to_dict() == {"control": 0, "test": 0, "train": 12, "val": 0}


def test_held_out_cells_may_be_those_of_one_context(
    make_cells: Callable[..., AnnData], schema: ScreenSchema
):
    adata = make_cells(["A", "B"])
    keys = {"context_keys": ("cell_line",), "test_contexts": ("line1",)}
    split = Split("s", "seen", 0, (("A",), ("B",)), **keys, cell_share=0.5)
    counts = count_test(adata, split, schema).groupby("cell_line").sum()
    assert counts.to_dict() == {"line0": 0, "line1": 6, "line2": 0}


def test_a_condition_of_one_cell_is_trained_on_only(
    make_cells: Callable[..., AnnData], schema: ScreenSchema, caplog: pytest.LogCaptureFixture
):
    adata = make_cells(["A", "B"], 2)
    is_first = (adata.obs["perturbation"] == "B") & adata.obs["cell_line"].eq("line0")
    adata = adata[(adata.obs["perturbation"] != "B") | (is_first.cumsum() == 1) & is_first].copy()
    with caplog.at_level("INFO", logger="scbig"):
        split = make_split(adata, "seen", schema=schema)
    assert split.test == (("A",),)
    assert "1 condition(s) have no two cells and are trained on only: B" in caplog.text
    assert set(get_roles(adata.obs, split, schema)[adata.obs["perturbation"] == "B"]) == {"train"}
    with pytest.raises(ValueError, match=r"1 condition\(s\) to hold out have no cells: B"):
        get_roles(adata.obs, replace(split, test=(("B",),)), schema)
    with pytest.raises(ValueError, match="No condition has two cells"):
        make_split(make_cells(["A"], 1), "seen", schema=schema)


def test_what_it_asks_is_said():
    split = make_seen([("B",), (), ("A", "B"), ("B", "A")], seed=3, context_keys="line")
    expected = Split("seen_seed3", "seen", 3, (("B",), ("A", "B")), (), ("line",), cell_share=0.5)
    assert split == expected
    assert split.get_kind(("A", "B"), {"A", "B"}) == "measured"
    assert "2 test and 0 validation conditions; 50% of their cells and of the contr" in str(split)
    assert split.restrict([("B",)]).test == (("B",),)


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1, float("nan")])
def test_a_share_that_leaves_one_side_empty_is_refused(share: float):
    with pytest.raises(
        ValueError,
        match=r"cell_share=.*(hold out a share of the cells between 0 and 1|finite number)",
    ):
        make_seen([("A",)], cell_share=share)


def test_screens_that_cannot_be_halved_are_refused(
    make_cells: Callable[..., AnnData], schema: ScreenSchema
):
    adata = make_cells(["A", "B"])
    split = make_split(adata, "seen", schema=schema)
    is_lacking = (adata.obs["perturbation"] == "control") & (adata.obs["cell_line"] == "line0")
    is_kept = ~is_lacking | (is_lacking.cumsum() == 1)
    with pytest.raises(ValueError, match=r"'line0' has 1 control cell\(s\), but some are trained"):
        get_roles(adata.obs[is_kept], split, schema)
    adata.obs_names = ["same"] * adata.n_obs
    with pytest.raises(ValueError, match=r"Make them so: adata.obs_names_make_unique\(\)"):
        get_roles(adata.obs, split, schema)
    with pytest.raises(ValueError, match="candidates cannot be set for task 'seen'"):
        make_split(adata, "seen", schema=schema, candidates=["A"])

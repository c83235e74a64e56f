"""What each cell becomes: parts of the screen that never overlap, whatever the order of cells."""

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.data import ScreenSchema
from scbig.splits import Split, assign_split, get_roles, make_split

TASKS = {
    "additive": {},
    "unseen": {},
    "context": {},
    "replicate": {},
    "low_sample": {"n_cells": 5},
    "gears": {},
}


def read_targets(label: str) -> frozenset[str]:
    return frozenset(label.split("+")) - {"control"}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", [0, 4])
def test_parts_do_not_share_conditions(
    screen: AnnData, schema: ScreenSchema, task: str, seed: int
):
    split = make_split(screen, task, seed=seed, schema=schema, **TASKS[task])
    assign_split(screen, split, schema)
    obs = screen.obs
    part = obs["scbig_split"]
    assert part.cat.categories.tolist() == ["train", "val", "test", "control", "unused"]
    assert part.notna().all()
    assert ((part == "control") == (obs["perturbation"] == "control")).all()
    assert {"train", "test"} <= set(part)
    # A condition, in its context where contexts are split, plays one part.
    by = ["perturbation", "cell_line"] if split.test_contexts else ["perturbation"]
    used = obs[part != "unused"].groupby(by, observed=True)["scbig_split"].nunique()
    assert set(used) == {1}
    tested = {read_targets(label) for label in obs.loc[part == "test", "perturbation"]}
    assert tested == {frozenset(targets) for targets in split.test}
    validated = {read_targets(label) for label in obs.loc[part == "val", "perturbation"]}
    assert validated == {frozenset(targets) for targets in split.val}


def test_no_cell_of_training_contains_an_unseen_gene(screen: AnnData, schema: ScreenSchema):
    for seed in range(5):
        split = make_split(screen, "unseen", seed=seed, schema=schema)
        part = get_roles(screen.obs, split, schema)
        unseen = {targets[0] for targets in split.test if len(targets) == 1}
        for label in screen.obs["perturbation"][np.isin(part, ["train", "val", "unused"])]:
            assert not unseen & read_targets(label)


def test_a_context_is_held_out_and_its_controls_stay(screen: AnnData, schema: ScreenSchema):
    split = make_split(screen, "context", seed=1, schema=schema)
    assign_split(screen, split, schema, key_added="part")
    table = pd.crosstab(screen.obs["cell_line"], screen.obs["part"])
    assert table.loc["line1"].to_dict() == {"control": 4, "test": 200, "train": 0}
    assert table.loc["line0"].to_dict() == {"control": 4, "test": 0, "train": 200}
    assert "scbig_split" not in screen.obs


@pytest.mark.parametrize("task", TASKS)
def test_the_order_of_cells_and_the_spelling_of_labels_do_not_matter(
    screen: AnnData, schema: ScreenSchema, task: str
):
    turned = screen[np.random.default_rng(0).permutation(screen.n_obs)].copy()
    if task != "gears":  # its recipe draws from the labels as they are written
        labels = ["_".join(reversed(x.split("+"))) for x in turned.obs["perturbation"]]
        turned.obs["perturbation"] = labels
    other = replace(schema, separator="+" if task == "gears" else "_")
    split = make_split(screen, task, seed=3, schema=schema, **TASKS[task])
    assert make_split(turned, task, seed=3, schema=other, **TASKS[task]) == split
    assign_split(screen, split, schema)
    assign_split(turned, split, other)
    pd.testing.assert_series_equal(
        turned.obs["scbig_split"].loc[screen.obs_names], screen.obs["scbig_split"]
    )


def test_low_sample_keeps_few_cells_of_what_is_learned(screen: AnnData, schema: ScreenSchema):
    kept = {}
    for n_cells in (1, 5, 8, 100):
        split = make_split(screen, "low_sample", seed=2, schema=schema, n_cells=n_cells)
        assign_split(screen, split, schema)
        obs = screen.obs
        counts = obs[obs["scbig_split"].isin(["train", "val"])]["perturbation"].value_counts()
        assert set(counts) == {min(n_cells, 12)}
        assert set(obs[obs["scbig_split"] == "test"]["perturbation"].value_counts()) == {12}
        assert (obs["scbig_split"] == "control").sum() == 12
        kept[n_cells] = set(obs.index[obs["scbig_split"].isin(["train", "val"])])
    assert kept[1] < kept[5] < kept[8] < kept[100]
    assert not (screen.obs["scbig_split"] == "unused").any()


def test_low_sample_cells_depend_on_the_seed(screen: AnnData, schema: ScreenSchema):
    split = make_split(screen, "low_sample", schema=schema, n_cells=5)
    first, second = (get_roles(screen.obs, replace(split, seed=s), schema) for s in (0, 1))
    assert (first == "unused").sum() == (second == "unused").sum() > 0
    assert (first != second).any()


def test_what_was_assigned_is_logged(
    screen: AnnData, schema: ScreenSchema, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, logger="scbig"):
        assign_split(screen, Split("mine", "custom", 0, (("G00",),), (("G01",),)), schema)
    assert "mine: 1 test and 1 validation conditions." in caplog.text
    assert "Cells: 576 train, 12 val, 12 test, 12 control, 0 unused." in caplog.text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"test": (("Q",), ("G00", "Q"))}, r"2 condition\(s\) .* have no cells: G00\+Q, Q"),
        ({"test": (), "val": (("Q",),)}, r"no cells: Q \(split 's'\). .* split.restrict"),
        (
            {"test": (("G00",),), "context_keys": ("cell_line",), "test_contexts": ("q",)},
            r"tests in \['q'\], but .* have the contexts \['line0', 'line1', 'line2'\]",
        ),
        (
            {"test": (("G00",),), "context_keys": ("dose",), "test_contexts": ("1",)},
            r"no context column\(s\) \['dose'\]. Columns found: \['perturbation', 'cell_line'\]",
        ),
    ],
)
def test_a_split_that_does_not_fit_is_refused(
    screen: AnnData, schema: ScreenSchema, values: dict, message: str
):
    with pytest.raises(ValueError, match=message):
        assign_split(screen, Split("s", "custom", 0, **values), schema)
    assert "scbig_split" not in screen.obs


def test_screens_that_cannot_be_split_are_refused(
    make_cells: Callable[..., AnnData], schema: ScreenSchema
):
    there = {"context_keys": ("cell_line",), "test_contexts": ("line0",)}
    adata = make_cells(["A", "B"])
    is_lacking = (adata.obs["perturbation"] == "control") & (adata.obs["cell_line"] == "line0")
    with pytest.raises(ValueError, match="'line0', which has no control cells"):
        get_roles(adata.obs[~is_lacking], Split("s", "context", 0, (("A",),), **there), schema)
    is_absent = (adata.obs["perturbation"] == "A") & (adata.obs["cell_line"] == "line0")
    with pytest.raises(ValueError, match="no cells in line0: A"):
        get_roles(adata.obs[~is_absent], Split("s", "context", 0, (("A",),), **there), schema)
    with pytest.raises(ValueError, match="leaves no perturbed cells to train on"):
        get_roles(adata.obs, Split("s", "custom", 0, (("A",), ("B",))), schema)
    adata.obs_names = ["same"] * adata.n_obs
    with pytest.raises(ValueError, match=r"Make them so: adata.obs_names_make_unique\(\)"):
        get_roles(adata.obs, Split("s", "low_sample", 0, (("A",),), n_cells=2), schema)

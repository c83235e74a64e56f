"""`make_split`: the task decides, and what it needs is asked for."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from anndata import AnnData

from scbig.data import ScreenSchema
from scbig.splits import (
    make_additive,
    make_gears,
    make_low_sample,
    make_split,
    make_unseen,
)


def test_the_makers_are_given_the_conditions_of_the_screen(
    screen: AnnData, conditions: list[tuple[str, ...]]
):
    assert make_split(screen, "additive", seed=1) == make_additive(conditions, seed=1)
    assert make_split(screen, "additive", share=0.5) == make_additive(conditions, test_share=0.5)
    assert make_split(screen, "unseen", share=0.1, candidates=["G01", "G02"]) == make_unseen(
        conditions, test_share=0.1, candidates=["G01", "G02"]
    )
    assert make_split(screen, "unseen", seed=2) == make_unseen(conditions, seed=2)
    assert make_split(screen, "low_sample", n_cells=4) == make_low_sample(conditions, 4)
    assert make_split(screen, "gears", seed=1) == make_gears(conditions, seed=1)


def test_contexts_come_from_the_schema(screen: AnnData, schema: ScreenSchema):
    split = make_split(screen, "context", schema=schema, context="line2", share=0.5)
    assert (split.test_contexts, len(split.test)) == (("line2",), 25)
    split = make_split(screen, "replicate", schema=schema, seed=1)
    assert (split.task, split.test_contexts) == ("replicate", ("line1",))
    screen.obs["batch"] = ["b0", "b1"] * (screen.n_obs // 2)
    both = replace(schema, context_keys=("cell_line", "batch"))
    assert make_split(screen, "context", schema=both).test_contexts == ("line0 | b0",)


def test_gears_reads_labels_as_they_are_written(make_cells: Callable[..., AnnData]):
    pairs = [("B", "A"), ("C", "B"), ("D", "A"), ("E", "C"), ("F", "A"), ("F", "B"), ("D", "C")]
    singles = [(gene,) for gene in "ABCDEF"]
    adata = make_cells([*("+".join(pair) for pair in pairs), *(f"{g[0]}+ctrl" for g in singles)])
    schema = ScreenSchema("perturbation", "control", "+")
    turned = [pair[::-1] for pair in pairs]
    written = [make_split(adata, "gears", seed=seed, schema=schema) for seed in range(8)]
    assert written == [make_gears([*pairs, *singles], seed=seed) for seed in range(8)]
    assert written != [make_gears([*turned, *singles], seed=seed) for seed in range(8)]


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("random", {}, r"no task 'random'. Choose one of \['additive', 'unseen', 'context'"),
        ("additive", {"candidates": ["G01"]}, r"belongs to \['unseen', 'low_sample'\]"),
        ("unseen", {"context": "line0"}, "context cannot be set for task 'unseen'"),
        ("gears", {"share": 0.5}, "share cannot be set for task 'gears'"),
        ("unseen", {"n_cells": 4}, r"n_cells cannot be set .* belongs to \['low_sample'\]"),
        ("low_sample", {}, "needs a number of cells: n_cells=16"),
        ("context", {}, r"context_keys is \[\]. Name among .* such as context_keys='cell_line'"),
        ("replicate", {}, "needs the one column of obs .* such as context_keys='batch'"),
    ],
)
def test_what_a_task_cannot_use_or_lacks_is_refused(
    screen: AnnData, task: str, options: dict, message: str
):
    with pytest.raises(ValueError, match=message):
        make_split(screen, task, **options)


def test_screens_without_what_a_task_needs_are_refused(
    make_cells: Callable[..., AnnData], schema: ScreenSchema
):
    one = make_cells(["A", "B", "C"], n_lines=1)
    with pytest.raises(ValueError, match=r"needs two contexts .* has \['line0'\]"):
        make_split(one, "context", schema=schema)
    with pytest.raises(ValueError, match="no combinations to hold out"):
        make_split(one, "additive")
    two = replace(schema, context_keys=("cell_line", "perturbation"))
    with pytest.raises(ValueError, match=r"context_keys is \['cell_line', 'perturbation'\]"):
        make_split(one, "replicate", schema=two)
    with pytest.raises(ValueError, match=r"no context column\(s\) \['dose'\]"):
        make_split(one, "context", schema=replace(schema, context_keys=("dose",)))

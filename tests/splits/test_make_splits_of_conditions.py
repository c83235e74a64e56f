"""Additive, unseen and low-sample splits: sizes, what stays in training, and what is refused."""

import json
from collections import Counter
from itertools import combinations
from pathlib import Path

import anndata as ad
import pytest
from hypothesis import given, strategies as st

from scbig.data import infer_schema, make_screen
from scbig.splits import Split, make_additive, make_low_sample, make_unseen

Conditions = list[tuple[str, ...]]

genes = st.sampled_from([f"G{i}" for i in range(12)])
screens = st.lists(st.lists(genes, max_size=3).map(tuple), min_size=1, max_size=40)
seeds = st.integers(0, 50)


def get_targets(conditions: Conditions) -> set[str]:
    return {target for targets in conditions for target in targets}


def get_train(split: Split, conditions: Conditions) -> Conditions:
    distinct = {tuple(sorted(set(targets))) for targets in conditions} - {()}
    return sorted(distinct - set(split.test) - set(split.val))


def test_additive_holds_out_combinations_only(conditions: Conditions):
    split = make_additive(conditions, seed=2)
    assert (split.name, split.task, split.seed) == ("additive_seed2", "additive", 2)
    assert (len(split.test), len(split.val)) == (9, 3)
    assert {len(targets) for targets in split.test + split.val} == {2}
    assert get_targets(get_train(split, conditions)) == get_targets(conditions)


def test_unseen_genes_are_in_no_condition_of_training(conditions: Conditions):
    split = make_unseen(conditions, seed=1)
    unseen = {targets[0] for targets in split.test if len(targets) == 1}
    stopped = {targets[0] for targets in split.val if len(targets) == 1}
    assert (len(unseen), len(stopped)) == (4, 2)  # 20% of 20, and 7% of the other 16, rounded up
    assert set(split.test) == {t for t in conditions if unseen & set(t)}
    assert set(split.val) == {t for t in conditions if stopped & set(t) and not unseen & set(t)}
    assert not unseen & get_targets([*get_train(split, conditions), *split.val])
    assert not stopped & get_targets(get_train(split, conditions))


def has_others(conditions: Conditions) -> bool:
    """Whether some condition is left when any two targets are held out."""
    held = combinations(get_targets(conditions), 2)
    return all(any(t and not set(pair) & set(t) for t in conditions) for pair in held)


@given(conditions=screens, seed=seeds)
def test_unseen_never_leaks(conditions: Conditions, seed: int):
    try:
        split = make_unseen(conditions, seed=seed)
    except ValueError:
        assert len(get_targets(conditions)) < 3 or not has_others(conditions)
        return
    train = get_train(split, conditions)
    assert train
    unseen = get_targets(conditions) - get_targets([*train, *split.val])
    assert all(unseen & set(targets) for targets in split.test)
    stopped = get_targets(conditions) - get_targets(train)
    assert all(stopped & set(targets) for targets in split.val)
    assert not set(split.test) & set(split.val)


@given(conditions=screens, seed=seeds, order=st.randoms(use_true_random=False))
def test_the_order_of_conditions_and_targets_does_not_matter(conditions, seed, order):
    shuffled = [tuple(order.sample(targets, len(targets))) for targets in conditions]
    order.shuffle(shuffled)
    for make in (make_additive, make_unseen):
        splits = []
        for given_conditions in (conditions, shuffled):
            try:
                splits.append(make(given_conditions, seed=seed))
            except ValueError as error:
                splits.append(str(error))
        assert splits[0] == splits[1]


def test_seeds_differ(conditions: Conditions):
    for make in (make_additive, make_unseen):
        assert len({make(conditions, seed=seed).test for seed in range(5)}) == 5


def test_candidates_limit_what_is_held_out(conditions: Conditions):
    candidates = ["G18", "G19", "G17"]
    counts = Counter()
    for seed in range(30):
        split = make_unseen(conditions, seed=seed, candidates=candidates)
        singles = [targets[0] for targets in split.test + split.val if len(targets) == 1]
        assert len(singles) == 2
        counts.update(singles)
    assert set(counts) == set(candidates)
    assert make_unseen(conditions, candidates="G19", val_share=0).test == (("G19",),)


def test_genes_without_a_condition_of_their_own_are_held_out_if_there_are_no_singles():
    pairs = [("A", "B"), ("C", "D"), ("E", "F"), ("G", "H"), ("I", "J")]
    split = make_unseen(pairs, seed=0, val_share=0)
    assert 1 <= len(split.test) <= 2
    assert set(split.test) < set(pairs)


def test_low_sample_tests_what_the_other_splits_test(conditions: Conditions):
    for seed in (0, 3):
        split = make_low_sample(conditions, 16, seed=seed)
        full = make_additive(conditions, seed=seed)
        assert (split.test, split.val, split.n_cells) == (full.test, full.val, 16)
        assert (split.name, split.task) == (f"low_sample16_seed{seed}", "low_sample")
        singles = [targets for targets in conditions if len(targets) == 1]
        split = make_low_sample(singles, 8, seed=seed, candidates=["G01", "G02"])
        assert split.test == make_unseen(singles, seed=seed, candidates=["G01", "G02"]).test
        assert len(make_low_sample(conditions, 8, test_share=0.5).test) == 15


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (make_additive, {"conditions": [("A",), ("B",)]}, "no combinations to hold out: every"),
        (make_additive, {"conditions": [("A", "B"), ("B", "C")]}, "leave none to train on"),
        (make_additive, {"test_share": 1}, "30 test and 3 validation combinations .* are 30"),
        (make_additive, {"test_share": 1.5}, "to test on is 1.5. Give a number above 0"),
        (make_additive, {"val_share": -0.1}, "to stop on is -0.1. Give a number from 0"),
        (make_additive, {"seed": -1}, "seed=-1.*whole number"),
        (make_additive, {"seed": True}, "seed=True.*whole number"),
        (make_additive, {"conditions": [()]}, "There are no perturbed conditions"),
        (make_unseen, {"conditions": [("A",), ("B",)]}, "Too few targets: 1 to test on and 1"),
        (make_unseen, {"test_share": 0}, "to test on is 0"),
        (
            make_unseen,
            {"candidates": ["G01", "Q"]},
            r"not targets of this screen: \['Q'\]. Choose",
        ),
        (make_unseen, {"candidates": []}, "candidates is empty"),
        (
            make_unseen,
            {"conditions": [("A", "B"), ("A", "C"), ("A",)], "candidates": "A", "val_share": 0},
            "unseen split would hold out all 3 conditions",
        ),
        (make_low_sample, {"n_cells": 0}, "n_cells=0.*whole number"),
        (make_low_sample, {"n_cells": 8, "candidates": ["G01"]}, "Leave candidates out"),
    ],
)
def test_impossible_splits_are_refused(conditions, make, options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        make(**({"conditions": conditions} | options))


@pytest.mark.data_kit
def test_sizes_are_those_of_the_published_files(data_kit: Path):
    adata = ad.read_h5ad(data_kit / "norman2019_resampled.h5ad", backed="r")
    conditions = make_screen(adata.obs, infer_schema(adata)).conditions
    kit = json.loads((data_kit / "splits" / "norman2019_resampled.json").read_text())
    split = make_additive(conditions)
    assert (len(split.test), len(split.val)) == (39, 13)
    assert (len(split.test), len(split.val)) == tuple(
        len(kit["additive_seed0"][part]) for part in ("test", "val")
    )
    split = make_unseen(conditions)
    for part in ("test", "val"):
        singles = [label for label in kit["unseen_seed0"][part] if "+" not in label]
        assert sum(len(targets) == 1 for targets in getattr(split, part)) == len(singles)

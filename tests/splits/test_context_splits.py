"""Context and replicate splits: which context, which of its perturbations, and errors."""

import logging

import pytest

from scbig.splits import make_context, make_replicate

GROUPS = [((gene,), line) for gene in "ABCDEFG" for line in ("x", "y", "z")]


def test_seeds_take_the_contexts_in_turn():
    splits = [make_context(GROUPS[::-1], ["line"], seed=seed) for seed in range(3)]
    assert [split.test_contexts for split in splits] == [("x",), ("y",), ("z",)]
    assert {split.test for split in splits} == {tuple((gene,) for gene in "ABCDEFG")}
    assert {(split.val, split.context_keys) for split in splits} == {((), ("line",))}
    assert [split.name for split in splits] == [f"context_seed{seed}" for seed in range(3)]


def test_a_seed_that_returns_to_a_context_holds_out_half():
    splits = [make_context(GROUPS, ["line"], seed=seed) for seed in (3, 6, 9)]
    assert {split.test_contexts for split in splits} == {("x",)}
    assert {len(split.test) for split in splits} == {3}  # half of 7, rounded down
    assert len({split.test for split in splits}) > 1
    assert make_context(GROUPS[::-1], ["line"], seed=3) == splits[0]


def test_context_and_share_can_be_chosen():
    split = make_context(GROUPS, ["line"], context="y", seed=8)
    assert (split.test_contexts, len(split.test)) == (("y",), 7)
    split = make_context(GROUPS, ["line"], context="y", share=0.3, seed=8)
    assert len(split.test) == 2
    assert make_context(GROUPS, ["line"], share=0.01).test_contexts == ("x",)
    assert len(make_context(GROUPS, ["line"], share=0.01).test) == 1


def test_only_perturbations_of_the_context_are_held_out(caplog: pytest.LogCaptureFixture):
    groups = [((), "x"), ((), "y"), (("A",), "x"), (("B", "A"), "x"), (("A",), "y")]
    with caplog.at_level(logging.INFO, logger="scbig"):
        split = make_context(groups, ["line"], context="x")
    assert split.test == (("A",), ("A", "B"))
    assert "1 test condition(s) of x have no cells elsewhere" in caplog.text


def test_a_replicate_split_is_a_context_split_over_batches():
    split = make_replicate(GROUPS, "batch", seed=1)
    assert (split.name, split.task) == ("replicate_seed1", "replicate")
    assert (split.context_keys, split.test_contexts) == (("batch",), ("y",))
    assert make_replicate(GROUPS, "batch", batch="z", share=0.5).test_contexts == ("z",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": "q"}, r"no context 'q' .* in obs\['line'\]. Choose one of \['x', 'y', 'z'\]"),
        ({"groups": GROUPS[::3]}, r"needs two contexts .* but obs\['line'\] has \['x'\]"),
        ({"groups": [((), "x"), ((), "y")]}, r"has \[\]"),
        ({"share": 2}, "The share to test on is 2"),
        ({"seed": -1}, "seed=-1"),
        ({"context_keys": ["a", "b"], "context": "q"}, r"obs columns \['a', 'b'\]"),
    ],
)
def test_impossible_context_splits_are_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        make_context(**({"groups": GROUPS, "context_keys": ["line"]} | options))

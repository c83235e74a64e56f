"""The record refuses what would leak or cannot be read, and names the kinds of questions."""

import pytest

from scbig.splits import Split


def test_a_split_says_what_it_holds_out():
    split = Split("s", "custom", 0, (("A",), ("A", "B")), (("C",),))
    assert str(split) == "s: 2 test and 1 validation conditions"
    split = Split("s", "context", 0, (("A",),), (), ("line",), ("x", "y"))
    assert str(split) == "s: 1 test in x, y and 0 validation conditions"
    split = Split("s", "low_sample", 0, (("A",),), n_cells=8)
    assert str(split).endswith("validation conditions; 8 cells of each other condition")


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        (("A",), "seen_single"),
        (("X",), "unseen_single"),
        (("X", "Y"), "seen0"),
        (("A", "X"), "seen1"),
        (("A", "B"), "seen2"),
        (("A", "B", "C"), "seen3"),
        (("A", "B", "X"), "seen2"),
    ],
)
def test_kinds_count_the_targets_that_were_seen(targets: tuple[str, ...], kind: str):
    assert Split("s", "custom", 0, ()).get_kind(targets, {"A", "B", "C"}) == kind


def test_conditions_that_a_screen_lacks_can_be_left_out():
    split = Split("s", "custom", 3, (("A",), ("B",)), (("C",), ("D",)), n_cells=4)
    assert split.restrict({(), ("B",), ("C",)}) == Split(
        "s", "custom", 3, (("B",),), (("C",),), n_cells=4
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"test": (("A",), ("B",)), "val": (("B",),)}, r"both test and val: B\. Take them out"),
        ({"test": (("A",), ())}, "test of split 's' names the control"),
        ({"test": (), "val": ((),)}, "val of split 's' names the control"),
        ({"test": (("B", "A"),)}, "a condition is a sorted tuple"),
        ({"test": (("A", "A"),)}, "a condition is a sorted tuple"),
        ({"test": ("AB",)}, r"test='AB'. Give a tuple"),
        ({"test": (("A",), ("A",))}, "names A more than once"),
        ({"test": (("A",),), "test_contexts": ("x",)}, r"Name them: context_keys=\('cell_line',"),
        ({"test": (("A",),), "n_cells": 0}, "n_cells=0.*whole number"),
        ({"test": (("A",),), "n_cells": 2.5}, "n_cells=2.5.*whole number"),
    ],
)
def test_what_leaks_or_has_no_meaning_is_refused(values: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Split("s", "custom", 0, **values)


def test_messages_show_a_few_conditions():
    many = tuple((f"G{i}",) for i in range(9))
    with pytest.raises(ValueError, match="G0, G1, G2, G3, G4 and 4 more"):
        Split("s", "custom", 0, many, many)

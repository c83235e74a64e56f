"""Cells by condition and context."""

import numpy as np
import pandas as pd
import pytest

from scbig.data import ScreenSchema, get_context_names, make_screen
from scbig.data._fields import check_controls

SCHEMA = ScreenSchema("perturbation", "control", "+", ("batch",))


def test_labels_of_one_condition_are_one_condition():
    obs = pd.DataFrame({"perturbation": ["B+A", "control", "A+B", "A+ctrl", "A", "ctrl+control"]})
    screen = make_screen(obs, ScreenSchema("perturbation", "control", "+"))
    assert screen.conditions == ((), ("A",), ("A", "B"))
    np.testing.assert_array_equal(screen.condition, [2, 0, 2, 1, 1, 0])
    np.testing.assert_array_equal(screen.is_control, [0, 1, 0, 0, 0, 1])
    assert screen.targets == ("A", "B")
    assert screen.contexts == ("all",)
    assert [(t, c, list(rows)) for t, c, rows in screen.get_groups()] == [
        (("A",), 0, [3, 4]),
        (("A", "B"), 0, [0, 2]),
    ]


def test_groups_and_controls_agree_with_pandas(obs):
    screen = make_screen(obs.sample(frac=1, random_state=0), SCHEMA)
    obs = obs.sample(frac=1, random_state=0).reset_index()
    expected = obs.groupby(["perturbation", "batch"], observed=True).indices
    groups = {(t, screen.contexts[c]): rows for t, c, rows in screen.get_groups()}
    assert {(SCHEMA.parse(p), b) for p, b in expected if p != "control"} == set(groups)
    for (label, batch), rows in expected.items():
        if label != "control":
            np.testing.assert_array_equal(groups[SCHEMA.parse(label), batch], rows)
    for i, batch in enumerate(screen.contexts):
        np.testing.assert_array_equal(screen.get_controls(i), expected["control", batch])


def test_contexts(obs):
    obs["line"] = np.repeat(["x", "y"], 30)
    names = get_context_names(obs, ["line", "batch"])
    assert names.iloc[[0, 1, 59]].tolist() == ["x | a", "x | b", "y | b"]
    assert get_context_names(obs, ["batch"]).tolist() == obs["batch"].tolist()
    assert set(get_context_names(obs, [])) == {"all"}
    screen = make_screen(obs, SCHEMA, contexts=["new", "b"])
    assert screen.contexts == ("new", "b", "a")
    assert [screen.contexts[c] for c in screen.context] == obs["batch"].tolist()
    assert len(screen.get_controls(0)) == 0


@pytest.mark.parametrize("key", ["perturbation", "batch"])
@pytest.mark.parametrize("as_type", [object, "category"])
def test_missing_labels_are_never_read_as_a_condition(obs, key, as_type):
    obs[key] = obs[key].astype(object)
    obs.iloc[3, obs.columns.get_loc(key)] = None
    obs[key] = obs[key].astype(as_type)
    with pytest.raises(ValueError, match=rf"obs\['{key}'\] is missing for 1 cell"):
        make_screen(obs, SCHEMA)


def test_contexts_without_controls():
    is_control = np.array([True, False, False, False])
    check_controls(is_control, np.array([0, 0, 0, 0]), ["a"])
    with pytest.raises(ValueError, match=r"2 context\(s\).*no control cells: \['b', 'c'\]"):
        check_controls(is_control, np.array([0, 0, 1, 2]), ["a", "b", "c"])

import numpy as np
import pandas as pd
import pytest

from scbig.data import (
    Expression,
    ScreenSchema,
    compute_effects,
    compute_group_means,
    get_context_names,
    make_screen,
)
from scbig.data._checks import check_controls

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


def test_effects_agree_with_groupby(store, values, obs, storage):
    effects = compute_effects(
        Expression(store(values, storage).X), make_screen(obs, SCHEMA, contexts=["b", "a"])
    )
    means = pd.DataFrame(values.astype(np.float64), index=obs.index)
    means = means.groupby([obs["perturbation"], obs["batch"]], observed=True).mean()
    sizes = obs.groupby(["perturbation", "batch"], observed=True).size()
    assert len(effects) == 6
    for i, (targets, context) in enumerate(zip(effects.targets, effects.context, strict=True)):
        batch = "ba"[context]
        expected = means.loc["+".join(targets), batch] - means.loc["control", batch]
        np.testing.assert_allclose(effects.delta[i], expected, atol=1e-6)
        assert effects.n_cells[i] == sizes["+".join(targets), batch]
    for i, batch in enumerate("ba"):
        expected = means.loc["control", batch]
        np.testing.assert_allclose(effects.control_mean[i], expected, atol=1e-6)


def test_effects_are_chosen_by_number_or_mask(adata):
    effects = compute_effects(Expression(adata.X), make_screen(adata.obs, SCHEMA))
    chosen = effects.subset(np.array([4, 0]))
    assert chosen.targets == (effects.targets[4], effects.targets[0])
    np.testing.assert_array_equal(chosen.delta, effects.delta[[4, 0]])
    mask = effects.n_cells > effects.n_cells.min()
    np.testing.assert_array_equal(effects.subset(mask).n_cells, effects.n_cells[mask])
    np.testing.assert_array_equal(effects.subset(mask).control_mean, effects.control_mean)


def test_group_means(values):
    groups = [np.array([5, 1, 2]), np.array([], dtype=int), np.array([1])]
    means = compute_group_means(Expression(values), groups)
    np.testing.assert_allclose(means[0], values[[5, 1, 2]].mean(axis=0), rtol=1e-6)
    assert np.isnan(means[1]).all()
    np.testing.assert_array_equal(means[2], values[1])
    assert compute_group_means(Expression(values), []).shape == (0, 8)

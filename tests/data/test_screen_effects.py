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
from scbig.data._expression import CHUNK_SIZE

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


def get_variances(values: np.ndarray, obs: pd.DataFrame) -> pd.DataFrame:
    """Variance of the cells of each perturbation and batch, by pandas."""
    cells = pd.DataFrame(values.astype(np.float64), index=obs.index)
    return cells.groupby([obs["perturbation"], obs["batch"]], observed=True).var()


def test_variances_agree_with_groupby(store, values, obs, storage):
    effects = compute_effects(Expression(store(values, storage).X), make_screen(obs, SCHEMA))
    expected = get_variances(values, obs)
    assert effects.variance.shape == (6, 8)
    for targets, context, variance in zip(
        effects.targets, effects.context, effects.variance, strict=True
    ):
        np.testing.assert_allclose(
            variance, expected.loc["+".join(targets), "ab"[context]], rtol=1e-5
        )


def pool_by_hand(values: np.ndarray, obs: pd.DataFrame) -> np.ndarray:
    """Squares around the means of the groups of perturbed cells, over degrees of freedom."""
    is_perturbed = (obs["perturbation"] != "control").to_numpy()
    cells = pd.DataFrame(values[is_perturbed].astype(np.float64), index=obs.index[is_perturbed])
    groups = obs[is_perturbed].groupby(["perturbation", "batch"], observed=True).ngroup()
    square = (cells - cells.groupby(groups).transform("mean")) ** 2
    return square.sum().to_numpy() / (len(cells) - groups.nunique())


def test_pooled_variance_is_that_around_the_means_of_groups(values, obs):
    effects = compute_effects(Expression(values), make_screen(obs, SCHEMA))
    assert len(set(effects.n_cells)) > 1
    np.testing.assert_allclose(effects.pooled_variance, pool_by_hand(values, obs), rtol=1e-5)
    chosen = effects.subset(effects.context == 1)
    is_chosen = (obs["batch"] == "b").to_numpy()
    expected = pool_by_hand(values[is_chosen], obs[is_chosen])
    np.testing.assert_allclose(chosen.pooled_variance, expected, rtol=1e-5)


def test_pooled_variance_leaves_out_groups_of_one_cell(values, obs):
    """G0 has one cell in batch a, which tells nothing about noise."""
    is_kept = ~((obs["perturbation"] == "G0") & (obs["batch"] == "a")).to_numpy()
    is_kept[np.flatnonzero(~is_kept)[0]] = True
    values, obs = values[is_kept], obs[is_kept]
    effects = compute_effects(Expression(values), make_screen(obs, SCHEMA))
    (row,) = np.flatnonzero(effects.n_cells == 1)
    np.testing.assert_array_equal(effects.variance[row], np.zeros(8))
    np.testing.assert_allclose(effects.pooled_variance, pool_by_hand(values, obs), rtol=1e-5)
    without = effects.subset(np.arange(len(effects)) != row)
    np.testing.assert_allclose(effects.pooled_variance, without.pooled_variance, rtol=1e-6)


def test_single_cells_have_no_pooled_variance(values, obs):
    is_kept = (obs["perturbation"] == "control").to_numpy() | ~obs.duplicated("perturbation")
    screen = make_screen(obs[is_kept], ScreenSchema("perturbation", "control", "+"))
    effects = compute_effects(Expression(values[is_kept]), screen)
    np.testing.assert_array_equal(effects.n_cells, [1, 1, 1])
    np.testing.assert_array_equal(effects.pooled_variance, np.zeros(8))


def test_a_context_without_cells_has_no_mean_and_changes_nothing_else(values, obs):
    effects = compute_effects(Expression(values), make_screen(obs, SCHEMA, contexts=["a", "new"]))
    assert np.isnan(effects.control_mean[1]).all()
    plain = compute_effects(Expression(values), make_screen(obs, SCHEMA))
    np.testing.assert_array_equal(effects.delta, plain.delta)
    np.testing.assert_array_equal(effects.variance, plain.variance)


def test_variance_is_pooled_over_chunks(rng):
    """More cells than are read at once, in random order, and far from zero."""
    n = CHUNK_SIZE + 500
    obs = pd.DataFrame({"perturbation": rng.choice(["control", "A", "B"], n), "batch": "a"})
    values = (8 + 0.1 * rng.normal(size=(n, 2))).astype(np.float32)
    effects = compute_effects(Expression(values), make_screen(obs, SCHEMA))
    expected = get_variances(values, obs).loc[["A", "B"]]
    np.testing.assert_allclose(effects.variance, expected, rtol=1e-4)
    np.testing.assert_allclose(effects.pooled_variance, pool_by_hand(values, obs), rtol=1e-4)


def test_a_constant_gene_has_no_variance(obs):
    effects = compute_effects(Expression(np.full((60, 2), 0.1)), make_screen(obs, SCHEMA))
    assert (effects.variance >= 0).all()
    np.testing.assert_allclose(effects.variance, 0, atol=1e-12)

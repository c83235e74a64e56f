"""Mean effects against pandas and by hand; chosen, left out, joined and taken apart."""

from dataclasses import replace

import numpy as np
import pandas as pd

from scbig.data import (
    Effects,
    Expression,
    ScreenSchema,
    compute_effects,
    compute_group_means,
    compute_half_effects,
    effects_from_plain,
    effects_to_plain,
    join_effects,
    make_screen,
)
from scbig.data._expression import CHUNK_SIZE

SCHEMA = ScreenSchema("perturbation", "control", "+", ("batch",))


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


def draw_effects(keys, control_mean, *, seed=0) -> Effects:
    """Random effects of the given groups."""
    rng = np.random.default_rng(seed)
    n, n_genes = len(keys), control_mean.shape[1]
    return Effects(
        tuple(targets for targets, _ in keys),
        np.array([context for _, context in keys], dtype=np.int64),
        rng.normal(size=(n, n_genes)),
        rng.integers(1, 9, n),
        control_mean,
        rng.random((n, n_genes)),
    )


def test_keys_are_targets_and_context(adata):
    effects = compute_effects(Expression(adata.X), make_screen(adata.obs, SCHEMA))
    assert effects.keys == [(effects.targets[i], int(effects.context[i])) for i in range(6)]
    assert len(set(effects.keys)) == 6


def test_control_of_each_condition_by_hand():
    nan = np.nan
    control_mean = np.array([[1.0, 2.0], [nan, nan], [3.0, 6.0], [5.0, nan]])
    effects = draw_effects([(("A",), 0)], control_mean)
    mean = np.mean(control_mean[[0, 2]], axis=0)
    context = np.array([2, 0, 1, -1, 4, 3, 2])
    expected = [control_mean[c] if c in (0, 2) else mean for c in context]
    np.testing.assert_array_equal(effects.get_control(context), expected)
    np.testing.assert_array_equal(effects.get_control(context[:0]), np.empty((0, 2)))


def test_groups_of_other_effects_are_left_out():
    """The same targets in another context are another group."""
    rng = np.random.default_rng(1)
    keys = [((t, u) if t < u else (t,), c) for t in "ABC" for u in "ABC" for c in range(3)]
    keys = [keys[i] for i in rng.permutation(len(keys))]
    keys = list(dict.fromkeys(keys))
    control_mean = rng.normal(size=(3, 4))
    effects = draw_effects(keys, control_mean)
    other = draw_effects([*keys[::3], (("X",), 0), (("A",), 7)], control_mean, seed=2)
    kept = effects.without(other)
    rows = [i for i in range(len(keys)) if i % 3 != 0]
    assert kept.keys == [keys[i] for i in rows]
    for part in ("delta", "n_cells", "variance"):
        np.testing.assert_array_equal(getattr(kept, part), getattr(effects, part)[rows])
    np.testing.assert_array_equal(kept.control_mean, control_mean)
    assert effects.without(effects).keys == []
    assert effects.without(effects).delta.shape == (0, 4)
    assert effects.without(kept).keys == keys[::3]


def test_joined_effects_by_hand():
    """The new screen measures the controls of contexts 1 and 2, and those of 0 no more."""
    nan = np.nan
    old = draw_effects([(("A",), 1), (("A", "B"), 0)], np.array([[1.0, 2.0], [3.0, 4.0]]))
    new_mean = np.array([[nan, nan], [5.0, 6.0], [7.0, 8.0], [nan, nan]])
    new = draw_effects([(("C",), 2), (("A",), 2), (("C",), 1)], new_mean, seed=1)
    joined = join_effects(old, new)
    assert joined.keys == [*old.keys, *new.keys]
    for part in ("delta", "n_cells", "variance"):
        expected = [*getattr(old, part), *getattr(new, part)]
        np.testing.assert_array_equal(getattr(joined, part), expected)
    np.testing.assert_array_equal(joined.control_mean, [[1, 2], [5, 6], [7, 8], [nan, nan]])
    np.testing.assert_array_equal(new.control_mean, new_mean)


def test_numbers_of_controls_are_joined_as_their_means_are():
    old = draw_effects([(("A",), 1)], np.ones((2, 2)))
    new = draw_effects([(("C",), 2)], np.ones((4, 2)), seed=1)
    assert join_effects(old, new).n_controls is None
    old = replace(old, n_controls=np.array([3, 4]))
    new = replace(new, n_controls=np.array([0, 5, 6, 0]))
    np.testing.assert_array_equal(join_effects(old, new).n_controls, [3, 5, 6, 0])


def test_errors_of_one_context_are_shared_by_way_of_its_controls():
    """The covariance of means of drawn cells of variance 1."""
    rng = np.random.default_rng(0)
    keys = [(("A",), 0), (("B",), 0), (("C",), 1), (("D",), 2)]
    n_cells, n_controls = np.array([5, 20, 8, 4]), np.array([10, 2, 0])
    effects = replace(draw_effects(keys, np.ones((3, 2))), n_cells=n_cells, n_controls=n_controls)
    control = rng.normal(size=(20_000, 2)) / np.sqrt(n_controls[:2])
    errors = rng.normal(size=(20_000, 4)) / np.sqrt(n_cells)
    errors[:, :3] -= control[:, [0, 0, 1]]
    np.testing.assert_allclose(effects.noise, np.cov(errors.T), atol=0.02)
    known = replace(effects, n_controls=None)
    np.testing.assert_allclose(known.noise, np.diag(1 / n_cells))


def test_half_effects_are_means_of_halves(adata):
    screen, values = make_screen(adata.obs, SCHEMA), np.asarray(adata.X)
    groups = list(screen.get_groups())
    few = groups[0][2][:1]
    asked = [(*groups[0][:2], few), *groups[1:]]
    halves = compute_half_effects(Expression(values), screen, asked, np.random.default_rng(0))
    whole = compute_effects(Expression(values), screen)
    for half in halves:
        assert half.keys == [(targets, context) for targets, context, _ in asked[1:]]
    n = [half.n_cells for half in halves]
    np.testing.assert_array_equal(n[0] + n[1], whole.n_cells[1:])
    assert np.abs(n[0] - n[1]).max() <= 1
    np.testing.assert_array_equal(halves[0].n_controls + halves[1].n_controls, whole.n_controls)
    for name in ("delta", "control_mean"):
        assert not np.allclose(getattr(halves[0], name), getattr(halves[1], name))
    means = [half.delta + half.control_mean[half.context] for half in halves]
    both = (n[0][:, None] * means[0] + n[1][:, None] * means[1]) / whole.n_cells[1:, None]
    np.testing.assert_allclose(both, (whole.delta + whole.control_mean[whole.context])[1:], 1e-5)


def test_effects_survive_being_taken_apart() -> None:
    rng = np.random.default_rng(0)
    effects = Effects(
        (("A",), ("A", "B")),
        np.array([0, 1]),
        rng.normal(size=(2, 3)),
        np.array([5, 7]),
        rng.normal(size=(2, 3)),
        rng.random((2, 3)),
    )
    again = effects_from_plain(*effects_to_plain(effects))
    assert again.targets == effects.targets
    for part in ("context", "delta", "n_cells", "control_mean", "variance"):
        np.testing.assert_array_equal(getattr(again, part), getattr(effects, part))
    assert again.n_controls is None
    counted = replace(effects, n_controls=np.array([2, 9]))
    again = effects_from_plain(*effects_to_plain(counted))
    np.testing.assert_array_equal(again.n_controls, [2, 9])

"""Cells of a query: alike in any number, the same whatever else is asked for, in their rows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from scbig.cells import compute_log1p, fit_screen_model, normalise_counts
from scbig.data import (
    Prediction,
    Query,
    ScreenSchema,
    Wanted,
    annotate_query,
    make_cells,
    make_query,
    match_genes,
)
from scbig.data._control_pools import read_pools
from scbig.data._make_cells import CellShape, _raise_share

N_GENES = 60
SCHEMA = ScreenSchema("perturbation", "control", context_keys=("line",))
LINES = ["a", "b"]


@pytest.fixture(scope="module")
def controls() -> AnnData:
    """Control cells of two lines, of different depth."""
    rng = np.random.default_rng(0)
    mean, theta = rng.lognormal(-0.3, 1.0, N_GENES), rng.uniform(0.5, 3, N_GENES)
    size = rng.lognormal(0, 0.3, (700, 1))
    size[400:] *= 1.6
    found = normalise_counts(rng.poisson(rng.gamma(theta, size * mean / theta)), 1e4)
    return AnnData(
        compute_log1p(found.counts, found.depth, 1e4),
        obs=pd.DataFrame(
            {"perturbation": "control", "line": ["a"] * 400 + ["b"] * 300},
            index=[f"c{i}" for i in range(700)],
        ),
        var=pd.DataFrame(index=[f"G{i}" for i in range(N_GENES)]),
        layers={"counts": found.counts},
    )


def get_effect(name: str) -> np.ndarray:
    """Effect of a target, by its first letter."""
    rng = np.random.default_rng(ord(name[0]))
    return rng.normal(0, 0.3, N_GENES) * (rng.random(N_GENES) < 0.3)


def get_mean(cells: sparse.csr_matrix) -> np.ndarray:
    return np.asarray(cells.mean(axis=0, dtype=np.float64)).ravel()


def make(
    controls: AnnData, query: Query, seed: int = 0, shape: CellShape | None = None
) -> Prediction:
    groups = [(targets, context, np.arange(0)) for targets, context, _ in query.groups()]
    rows = [np.arange(400), np.arange(400, 700)]
    model = fit_screen_model(
        lambda at: (controls.X[at], None), groups, rows, np.random.default_rng(0)
    )
    mean = np.stack([get_mean(controls.X[at]) for at in rows])
    wanted = Wanted(
        [targets for targets, *_ in groups],
        lambda x, group: get_effect(groups[group][0][0]),
        mean[[context for _, context, _ in groups]],
        True,
        mean[0],
        seed,
        shape=shape,
    )
    match = match_genes(controls.var_names, list(controls.var_names))
    return make_cells(query, match, model, wanted)


def ask(controls: AnnData, labels: list[str], n_cells: int, seed: int = 0):
    """Cells of some conditions, and the rows of each condition and line."""
    rng = np.random.default_rng(seed)
    query = make_query(controls, SCHEMA, labels, contexts=LINES, n_cells=n_cells, rng=rng)
    rows = {(targets[0], LINES[context]): at for targets, context, at in query.groups()}
    return make(controls, query, seed), rows


def test_means_are_those_of_all_controls_and_the_effect(controls):
    made, rows = ask(controls, ["X", "Y"], 300)
    for (name, line), at in rows.items():
        own = controls.X[:400] if line == "a" else controls.X[400:]
        wanted = np.maximum(get_mean(own) + get_effect(name), 0)
        off = get_mean(made.expression[at]) - wanted
        # By one molecule, or alike where no cells of one sum have these means.
        assert np.abs(off - np.median(off)).max() < 0.04
        assert abs(np.median(off)) < 0.01


def test_a_shape_moves_cells_about_their_mean_and_not_the_mean(controls):
    """Cells that express one gene above its median lose another, and the others gain it."""
    query = make_query(
        controls, SCHEMA, ["X"], contexts=LINES, n_cells=300, rng=np.random.default_rng(0)
    )
    gene, other = np.argsort(get_mean(controls.X))[-2:]
    seen = []

    def shape(x: np.ndarray, group: int) -> np.ndarray:
        seen.append((x, group))
        deviation = np.zeros_like(x)
        deviation[:, other] = np.where(x[:, gene] > np.median(x[:, gene]), -0.3, 0.3)
        return deviation

    plain, shaped = make(controls, query), make(controls, query, shape=shape)
    for group, (_, _, at) in enumerate(query.groups()):
        before, after = (made.expression[at].toarray() for made in (plain, shaped))
        off = after.mean(axis=0) - before.mean(axis=0)
        assert np.abs(off - np.median(off)).max() < 0.04
        source = controls.X[shaped.source_row[at]].toarray()
        np.testing.assert_array_equal(seen[group][0], source)
        assert seen[group][1] == group
        is_high = source[:, gene] > np.median(source[:, gene])
        gaps = [x[~is_high, other].mean() - x[is_high, other].mean() for x in (before, after)]
        assert gaps[1] - gaps[0] == pytest.approx(0.6, abs=0.15)


def test_a_condition_has_the_same_cells_whatever_else_is_asked_for(controls):
    one, its_rows = ask(controls, ["Y"], 120)
    many, rows = ask(controls, ["X", "Y", "Z"], 120)
    for key, at in its_rows.items():
        assert (one.expression[at] != many.expression[rows[key]]).nnz == 0
        assert (one.counts[at] != many.counts[rows[key]]).nnz == 0
        np.testing.assert_array_equal(one.source_row[at], many.source_row[rows[key]])
    other, _ = ask(controls, ["Y"], 120, seed=1)
    assert (one.counts != other.counts).nnz > 0
    apart = many.counts[rows["X", "a"]] != many.counts[rows["Z", "a"]]
    assert apart.nnz > 0


def test_one_cell_at_a_time_is_like_five_hundred(controls):
    # Conditions with the same effect have draws of their own.
    names = [f"X{i}" for i in range(80)]
    made, rows = ask(controls, names, 1)
    few = sparse.vstack([made.counts[rows[name, "a"]] for name in names], format="csr")
    made, rows = ask(controls, names[:1], 500)
    many = made.counts[rows["X0", "a"]]
    assert few.shape[0] == 80
    assert many.shape[0] == 500
    depths = [np.asarray(cells.sum(axis=1)).ravel() for cells in (few, many)]
    assert depths[0].mean() == pytest.approx(depths[1].mean(), rel=0.1)
    assert few.nnz / 80 == pytest.approx(many.nnz / 500, rel=0.05)
    values = [compute_log1p(c, d, 1e4).toarray() for c, d in zip((few, many), depths, strict=True)]
    spread = [x.var(axis=0).sum() for x in values]
    assert spread[0] == pytest.approx(spread[1], rel=0.1)


def test_rows_of_annotated_data_keep_their_order(controls):
    rng = np.random.default_rng(5)
    some = controls[rng.permutation(700)].copy()
    labels = np.array(["control", "X", "Y"])[rng.integers(0, 3, 700)]
    some.obs["perturbation"] = labels
    query = annotate_query(some, SCHEMA, contexts=LINES, rng=rng)
    made = make(controls, replace(query, counts=None))
    assert made.expression.shape == some.shape
    is_control = labels == "control"
    assert (made.expression[is_control] != some.X[is_control]).nnz == 0
    np.testing.assert_array_equal(made.source_row[is_control], np.flatnonzero(is_control))
    lines = some.obs["line"].to_numpy()
    for line in LINES:
        own = is_control & (lines == line)
        for name in ("X", "Y"):
            at = (labels == name) & (lines == line)
            assert set(made.source_row[at]) <= set(np.flatnonzero(own))
            change = get_mean(made.expression[at])
            right = get_mean(controls.X[:400] if line == "a" else controls.X[400:])
            wanted = np.maximum(right + get_effect(name), 0)
            off = change - wanted
            assert np.abs(off - np.median(off)).max() < 0.09
    again = compute_log1p(made.counts, made.counts.sum(axis=1).A1, 1e4)
    np.testing.assert_allclose(again.toarray(), made.expression.toarray(), atol=1e-5)


@pytest.mark.parametrize("chosen", [["a"], None])
@pytest.mark.parametrize("n_genes", [N_GENES, 50])
def test_an_earlier_context_keeps_its_depths_after_a_further_screen(
    controls, chosen, n_genes, caplog
):
    """The further screen has another target sum; genes are left out after normalising, or none."""
    counts = controls.layers["counts"]
    depth = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    both = controls[:, :n_genes].copy()
    both.layers.clear()
    one_sum = depth / np.repeat([1e4, 4e4], [400, 300])
    both.X = compute_log1p(counts, one_sum, 1.0)[:, :n_genes]

    def fit(name: str, rows: np.ndarray, number: int):
        groups, none = [((name,), number, rows[::4])], np.arange(0)
        own = [rows if i == number else none for i in range(number + 1)]
        rng = np.random.default_rng(0)
        return fit_screen_model(lambda at: (both.X[at], None), groups, own, rng)

    first = fit("X", np.arange(400), 0)
    joined = first.extend(fit("Y", np.arange(400, 700), 1))
    told = "normalised to 10000, the further one to 40000" in caplog.text
    assert told == (n_genes == N_GENES)
    query = make_query(
        both,
        SCHEMA,
        ["X"],
        contexts=LINES,
        n_cells=50,
        rng=np.random.default_rng(1),
        chosen=chosen,
    )
    found = read_pools(query, joined, np.arange(n_genes), 0)
    for context, pool in found.items():
        known = pool.counts.is_recovered
        assert known.mean() > 0.7
        model = joined.get_context(context, pool.counts)
        # In the unit of the depths of the screen that the context is known from.
        unit = model.target_sum / (1e4, 4e4)[context]
        np.testing.assert_allclose(
            pool.counts.depth[known], depth[pool.rows[known]] * unit, rtol=1e-3
        )
        size = model.genes.compute_size(pool.counts.counts[known], pool.counts.depth[known])
        assert size.mean() == pytest.approx(1, abs=0.03)


def test_as_many_cells_respond_as_the_fall_of_an_expressed_gene_asks_for():
    mean = np.array([2.0, 1.0, 0.1])
    # A gene that is to lose three quarters cannot do so in half of the cells.
    assert _raise_share(0.5, np.array([0.5, 1.0, 0.1]), mean) == 0.75
    assert _raise_share(0.9, np.array([0.5, 1.0, 0.1]), mean) == 0.9
    # Rises ask for nothing, and what is hardly expressed falls by chance.
    assert _raise_share(0.5, np.array([3.0, 2.0, 0.0]), mean) == 0.5
    assert _raise_share(0.5, np.array([0.0, 1.0, 0.1]), mean) == 1.0

"""Scores of realism: each against a direct computation, and what order and copies do to them."""

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse, stats
from scipy.spatial.distance import cdist, pdist
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from scbig import metrics
from scbig.data import infer_schema
from scbig.metrics._matched_cells import hash_content, match_numbers

N_GENES = 30


def draw(n_cells: int, seed: int, effect: float = 0.0) -> np.ndarray:
    """Log1p counts, half of them zeros; the first ten genes rise with the effect."""
    rate = np.random.default_rng(7).uniform(0.2, 2, N_GENES)
    rate[:10] *= np.exp(effect)
    return np.log1p(np.random.default_rng(seed).poisson(rate, (n_cells, N_GENES)))


REAL, PREDICTED, CONTROL = draw(60, 0, 1), draw(60, 1, 0.6) * 1.01, draw(80, 2)
MORE = draw(97, 3, 0.8)


def score(real, predicted, control) -> dict[str, float]:
    calls = metrics.call_de_genes(real, predicted, control)
    found = {
        f.__name__: f(calls)
        for f in (
            metrics.de_count,
            metrics.de_count_ratio,
            metrics.de_precision,
            metrics.de_recall,
            metrics.de_top20_overlap,
        )
    }
    for f in (metrics.c2st_auc, metrics.zero_share_error, metrics.variance_ratio):
        found[f.__name__] = f(real, predicted)
    found["wasserstein_axis"] = metrics.wasserstein_axis(real, predicted, control)
    return found


def test_all_of_the_group_are_floats_that_do_not_depend_on_the_storage():
    dense = score(REAL, MORE, CONTROL)
    assert {*dense, "energy_centred"} == set(metrics.choose_metrics("realism"))
    assert all(type(value) is float for value in dense.values())
    stored = (sparse.csr_matrix(REAL), sparse.csr_array(MORE), sparse.csr_matrix(CONTROL))
    assert score(*stored) == dense


@pytest.mark.parametrize("predicted", [PREDICTED, MORE], ids=["equal", "more"])
def test_order_of_cells_and_genes_does_not_matter(predicted):
    rng = np.random.default_rng(0)
    genes = rng.permutation(N_GENES)
    sides = [rng.permutation(cells)[:, genes] for cells in (REAL, predicted, CONTROL)]
    expected = score(REAL, predicted, CONTROL)
    for name, value in score(*sides).items():
        assert value == pytest.approx(expected[name], abs=1e-12), name
    clouds = [rng.permutation(cells)[:, genes] for cells in (REAL, predicted)]
    value = metrics.energy_centred(*clouds)
    assert value == pytest.approx(metrics.energy_centred(REAL, predicted), abs=1e-12)


def test_sparse_cells_that_look_alike_are_put_in_one_order():
    """All values are equal: cells are told apart by the company of their genes."""
    cells = sparse.csr_array(np.random.default_rng(0).random((40, 30)) < 0.15, dtype=float)
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(40), rng.permutation(30)
    ordered = []
    for x in (cells, cells[rows][:, columns]):
        of_cells, of_genes = hash_content(x)
        ordered.append(x[np.argsort(of_cells)][:, np.argsort(of_genes)].toarray())
    np.testing.assert_array_equal(*ordered)


def test_the_draw_is_random_and_the_same_for_every_prediction():
    big, small = sparse.csr_array(draw(2000, 5)), sparse.csr_array(draw(500, 6))
    means = match_numbers(big, small)[0].mean(axis=0) - big.mean(axis=0)
    noise = big.toarray().std(axis=0) * np.sqrt(1 / 500 - 1 / 2000)
    assert np.abs(means / noise).max() < 4
    fewer = match_numbers(big, small[:100])[0].toarray()
    np.testing.assert_array_equal(fewer, match_numbers(big, small)[0].toarray()[:100])


def test_auc_is_that_of_scikit_learn():
    def compute(x, y, seed):
        label = np.repeat([0, 1], [len(x), len(y)])
        probability = cross_val_predict(
            HistGradientBoostingClassifier(max_iter=60, random_state=0),
            np.concatenate([x, y]),
            label,
            cv=StratifiedKFold(3, shuffle=True, random_state=seed),
            method="predict_proba",
        )
        return roc_auc_score(label, probability[:, 1])

    value = metrics.c2st_auc(REAL, PREDICTED)
    of_cells, of_genes = hash_content(sparse.csr_array(np.concatenate([REAL, PREDICTED])))
    x, y = (
        cells[np.argsort(keys)][:, np.argsort(of_genes)]
        for cells, keys in ((REAL, of_cells[:60]), (PREDICTED, of_cells[60:]))
    )
    assert value == pytest.approx(compute(x, y, 0), abs=1e-12)
    # In any other order and with other folds it is the same within sampling error.
    others = [compute(REAL, PREDICTED, seed) for seed in range(5)]
    assert abs(value - np.mean(others)) < 4 * np.std(others) + 0.02


def test_auc_is_half_for_one_distribution_and_one_for_another():
    assert abs(metrics.c2st_auc(draw(200, 10), draw(200, 11)) - 0.5) < 0.1
    assert metrics.c2st_auc(REAL, REAL + 0.01) == 1.0
    # The copy in training has the other label: the value is not folded.
    assert metrics.c2st_auc(REAL, REAL) < 0.45


@pytest.mark.parametrize("predicted", [PREDICTED, MORE], ids=["equal", "more"])
def test_calls_are_those_of_scanpy_and_of_scipy(predicted):
    calls = metrics.call_de_genes(REAL, predicted, CONTROL)
    drawn = match_numbers(sparse.csr_array(REAL), sparse.csr_array(predicted))[1].toarray()
    assert len(drawn) == 60
    for cells, scores, is_called in (
        (REAL, calls.real_scores, calls.is_real),
        (drawn, calls.predicted_scores, calls.is_predicted),
    ):
        adata = AnnData(
            np.concatenate([cells, CONTROL]), obs={"group": ["own"] * 60 + ["control"] * 80}
        )
        sc.tl.rank_genes_groups(
            adata, "group", groups=["own"], reference="control", method="wilcoxon"
        )
        table = sc.get.rank_genes_groups_df(adata, "own").set_index("names").sort_index()
        order = [str(i) for i in range(N_GENES)]
        np.testing.assert_allclose(table.loc[order, "scores"], scores, rtol=1e-6)
        np.testing.assert_array_equal(table.loc[order, "pvals_adj"] < 0.05, is_called)
        # The normal approximation without correction for ties, as scanpy's default is.
        ranks = stats.rankdata(np.concatenate([cells, CONTROL]), axis=0)[:60].sum(axis=0)
        z = (ranks - 60 * 141 / 2) / np.sqrt(60 * 80 * 141 / 12)
        np.testing.assert_allclose(scores, z, rtol=1e-5, atol=1e-6)
        adjusted = stats.false_discovery_control(2 * stats.norm.sf(np.abs(z)))
        np.testing.assert_array_equal(adjusted < 0.05, is_called)
    assert 3 < calls.is_real.sum() < N_GENES


def test_scores_of_calls_count_genes():
    is_real = np.arange(N_GENES) < 8
    is_predicted = (np.arange(N_GENES) >= 6) & (np.arange(N_GENES) < 12)
    strength = np.arange(N_GENES, 0.0, -1)
    signs = np.where(np.arange(N_GENES) % 2, -1, 1)
    calls = metrics.DeCalls(strength * signs, np.roll(strength, 4), is_real, is_predicted)
    assert metrics.de_count(calls) == 6
    assert metrics.de_count_ratio(calls) == 7 / 9
    assert metrics.de_precision(calls) == 2 / 6
    assert metrics.de_recall(calls) == 2 / 8
    assert metrics.de_top20_overlap(calls) == 16 / 20
    none = metrics.DeCalls(calls.real_scores, calls.real_scores, is_real & False, is_real & False)
    assert metrics.de_count_ratio(none) == 1
    with pytest.raises(
        ValueError, match="no gene is called differentially expressed in the predicted"
    ):
        metrics.de_precision(none)
    with pytest.raises(ValueError, match="no gene is called differentially expressed in the real"):
        metrics.de_recall(none)
    few = metrics.DeCalls(strength[:9], strength[:9], is_real[:9], is_real[:9])
    with pytest.raises(ValueError, match="There are 9 genes; the top needs 20"):
        metrics.de_top20_overlap(few)


def test_genes_of_equal_score_share_the_last_places():
    strength = np.where(np.arange(N_GENES) < 15, 3.0, 1.0)
    ties = metrics.DeCalls(strength, strength[::-1].copy(), strength > 9, strength > 9)
    # 5 places for the other 15 genes on either side: a third of a place each.
    assert metrics.de_top20_overlap(ties) == pytest.approx(30 / 3 / 20)
    same = metrics.DeCalls(strength, strength, strength > 9, strength > 9)
    assert metrics.de_top20_overlap(same) == pytest.approx(1)


def test_cells_scored_against_themselves_are_exact():
    scores = score(REAL, REAL, CONTROL)
    for name in ("de_count_ratio", "de_precision", "de_recall", "variance_ratio"):
        assert scores[name] == 1, name
    assert scores["de_top20_overlap"] == pytest.approx(1)
    assert scores["zero_share_error"] == scores["wasserstein_axis"] == 0


def test_a_second_sample_scores_as_the_first_within_sampling_error():
    pairs = [(draw(60, 100 + i, 1), draw(60, 200 + i, 1)) for i in range(12)]
    ratios = [metrics.variance_ratio(*pair) for pair in pairs]
    assert abs(np.mean(ratios) - 1) < 4 * np.std(ratios) / np.sqrt(12)
    assert np.mean([metrics.zero_share_error(*pair) for pair in pairs]) < 0.03
    assert np.mean([metrics.wasserstein_axis(*pair, CONTROL) for pair in pairs]) < 0.2
    calls = [metrics.call_de_genes(*pair, CONTROL) for pair in pairs]
    assert np.mean([metrics.de_count_ratio(found) for found in calls]) == pytest.approx(1, abs=0.2)
    assert np.mean([metrics.de_precision(found) for found in calls]) > 0.8


def test_shares_of_zeros_and_variances_are_those_of_numpy():
    expected = abs((REAL == 0).mean() - (MORE == 0).mean())
    assert metrics.zero_share_error(REAL, MORE) == pytest.approx(expected)
    stored = sparse.csr_matrix(MORE)
    stored.data[:50] = 0  # stored zeros are zeros
    expected = abs((REAL == 0).mean() - (stored.toarray() == 0).mean())
    assert metrics.zero_share_error(REAL, stored) == pytest.approx(expected)
    assert (stored.data[:50] == 0).all()
    expected = MORE.var(axis=0, ddof=1).sum() / REAL.var(axis=0, ddof=1).sum()
    assert metrics.variance_ratio(REAL, MORE) == pytest.approx(expected)
    assert metrics.variance_ratio(REAL, np.tile(MORE[:1], (5, 1))) == 0
    with pytest.raises(ValueError, match="The 5 real cells are equal: they have no variance"):
        metrics.variance_ratio(np.tile(MORE[:1], (5, 1)), REAL)


def test_energy_centred_is_that_of_centred_cells():
    x, y = REAL - REAL.mean(axis=0), PREDICTED - PREDICTED.mean(axis=0)
    expected = 2 * cdist(x, y).mean() - pdist(x).mean() - pdist(y).mean()
    assert metrics.energy_centred(REAL, PREDICTED) == pytest.approx(expected)
    prepared = metrics.prepare_cells(REAL)
    assert metrics.energy_centred(prepared, PREDICTED + 5) == pytest.approx(expected)
    # One distribution: below 0 by about the noise of the two means.
    values = [metrics.energy_centred(draw(60, i), draw(60, 50 + i)) for i in range(20)]
    expected = -pdist(draw(60, 0)).mean() / 60
    assert np.mean(values) == pytest.approx(expected, rel=0.3)
    assert metrics.energy_centred(REAL, 0.5 * MORE) > 0.1


def test_wasserstein_axis_is_scipys_on_projections():
    effect = REAL.mean(axis=0) - CONTROL.mean(axis=0)
    length = np.linalg.norm(effect)
    x, y = (cells @ effect / length for cells in (REAL, PREDICTED))
    expected = stats.wasserstein_distance(x - x.mean(), y - y.mean()) / length
    value = metrics.wasserstein_axis(REAL, PREDICTED, CONTROL)
    assert value == pytest.approx(expected)
    # The means do not matter, the spread does.
    assert metrics.wasserstein_axis(REAL, PREDICTED + effect, CONTROL) == pytest.approx(expected)
    constant = np.tile(REAL.mean(axis=0), (60, 1))
    spread = np.abs(x - x.mean()).mean() / length
    assert metrics.wasserstein_axis(REAL, constant, CONTROL) == pytest.approx(spread)


def test_without_an_effect_there_is_no_axis():
    with pytest.raises(ValueError, match="effect does not exceed its split-half noise"):
        metrics.wasserstein_axis(draw(60, 20), PREDICTED, CONTROL)
    # What is called the noise is that of split halves, over all halvings on average.
    rng = np.random.default_rng(0)
    halves = [rng.permutation(REAL).reshape(2, 30, N_GENES).mean(axis=1) for _ in range(4000)]
    squared = np.mean([np.square((one - other) / 2).sum() for one, other in halves])
    assert squared == pytest.approx(REAL.var(axis=0, ddof=1).sum() / 60, rel=0.02)


@pytest.mark.parametrize(
    ("function", "n_cells", "message"),
    [
        (metrics.c2st_auc, 49, "real has 49 cells; at least 50 are needed"),
        (metrics.variance_ratio, 1, "real has 1 cells; at least 2 are needed"),
        (metrics.zero_share_error, 0, "real has 0 cells; at least 1 are needed"),
        (lambda *a: metrics.call_de_genes(*a, CONTROL), 9, "real has 9 cells; at least 10"),
        (lambda *a: metrics.wasserstein_axis(*a, CONTROL), 1, "real has 1 cells; at least 2"),
    ],
)
def test_cells_that_cannot_be_scored_are_refused(function, n_cells, message):
    with pytest.raises(ValueError, match=message):
        function(REAL[:n_cells], PREDICTED)
    with pytest.raises(ValueError, match="real has 30 genes and predicted 29"):
        function(REAL, PREDICTED[:, :29])
    with pytest.raises(ValueError, match="predicted holds values that are not finite"):
        function(REAL, np.where(PREDICTED > 1, np.nan, PREDICTED))
    with pytest.raises(ValueError, match=r"real has shape \(30,\); expected cells x genes"):
        function(REAL[0], PREDICTED)


@pytest.fixture
def screen() -> AnnData:
    """Two lines; ``A`` acts, ``B`` does nothing, ``C`` has few cells."""
    parts, rows = [], []
    for line in "xy":
        for i, (label, n, effect) in enumerate(
            [("control", 80, 0), ("A", 120, 1.2), ("B", 110, 0), ("C", 12, 1.2)]
        ):
            parts.append(draw(n, 10 * i + ord(line), effect))
            rows += [(label, line)] * n
    obs = pd.DataFrame(rows, columns=["perturbation", "line"])
    obs.index = [f"cell{i}" for i in range(len(obs))]
    var = pd.DataFrame(index=[f"G{i}" for i in range(N_GENES)])
    return AnnData(sparse.csr_matrix(np.concatenate(parts).astype(np.float32)), obs=obs, var=var)


NAMES = {"perturbation_key": "perturbation", "control": "control", "context_keys": ["line"]}


def test_the_evaluator_gives_rows_beside_a_ceiling(screen, cells_of):
    predicted = screen[screen.obs["perturbation"] != "control"].copy()
    predicted.X = predicted.X * np.float32(0.9)
    schema = metrics.Evaluator(
        screen,
        infer_schema(screen, **NAMES),
        metrics=["realism", "mse"],
    )
    scores, ceiling = schema.score(predicted), schema.score_ceiling()
    assert list(scores["metric"].unique()) == [*metrics.choose_metrics("realism"), "mse"]
    screen.X = screen.X.toarray()
    predicted.X = predicted.X.toarray()
    found = scores.set_index(["metric", "perturbation", "context"])["value"]
    for line in "xy":
        own = [cells_of(screen, "A", line), cells_of(predicted, "A", line)]
        for name, value in score(*own, cells_of(screen, "control", line)).items():
            assert found[name, "A", line] == pytest.approx(value, abs=1e-6), name
        # All 30 components are the whole space.
        value = metrics.energy_centred(*own)
        assert found["energy_centred", "A", line] == pytest.approx(value, abs=1e-4)
    means = ceiling[ceiling["perturbation"] == "A"].groupby("metric")["value"].mean()
    assert means["c2st_auc"] == pytest.approx(0.5, abs=0.15)
    assert means["variance_ratio"] == pytest.approx(1, abs=0.15)
    assert means["de_precision"] > 0.8
    assert means["zero_share_error"] < 0.03
    assert found["c2st_auc"]["A"].mean() > 0.95


def test_what_cannot_be_scored_is_a_row_that_says_why(screen):
    is_left = (screen.obs["perturbation"] != "A") | (screen.obs["line"] != "y")
    scores = metrics.evaluate(screen, screen[is_left].copy(), **NAMES, metrics="realism")
    status = scores.set_index(["metric", "perturbation", "context"])["status"]
    assert scores["value"].isna().equals(scores["status"] != "ok")
    for name in metrics.choose_metrics("realism"):
        assert status[name, "A", "x"] == "ok", name
        assert status[name, "A", "y"].startswith("not predicted"), name
    assert status["c2st_auc", "C", "x"] == "real has 12 cells; at least 50 are needed."
    assert "effect does not exceed its split-half noise" in status["wasserstein_axis", "B", "x"]
    assert "no gene is called differentially" in status["de_recall", "B", "x"]
    table = metrics.summarise(scores).set_index("metric")
    assert table.loc["c2st_auc", "n_failed"] == 3


def test_evaluated_scores_do_not_depend_on_the_order(screen):
    rng = np.random.default_rng(0)
    predicted = screen[screen.obs["line"] == "x"].copy()
    predicted.X = predicted.X * np.float32(0.9)
    tables = []
    for order in (np.arange, rng.permutation):
        real = screen[order(screen.n_obs), order(N_GENES)].copy()
        other = predicted[order(predicted.n_obs), order(N_GENES)].copy()
        tables.append(metrics.evaluate(real, other, **NAMES, metrics="realism"))
    np.testing.assert_allclose(tables[0]["value"], tables[1]["value"], atol=1e-6)
    assert tables[0]["status"].equals(tables[1]["status"])

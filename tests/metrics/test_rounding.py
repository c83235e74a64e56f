"""What is only rounding is no effect, in any metric; small effects are effects."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings, strategies as st
from scipy import sparse

import scbig
from scbig import metrics
from scbig.data import Expression
from scbig.metrics import METRICS, Evaluator
from scbig.metrics._inputs import Averages, compute_moments, get_rounding

ON_MEANS = [name for name, metric in METRICS.items() if metric.level == "means"]
# What these give is no sign, rank or correlation: it moves with the means, by as little.
ERRORS = {"mse", "mae", "mse_delta", "mae_delta", "weighted_mse", "weighted_r2_delta"}
RANKS = {name for name in ON_MEANS if name.startswith(("pds_", "centroid"))}
COPIES = {
    "float32": lambda cells: cells.mean(axis=0).astype(np.float32),
    "float16": lambda cells: cells.mean(axis=0).astype(np.float16),
    "summed in float32": lambda cells: (
        np.cumsum(cells.astype(np.float32), axis=0)[-1] / np.float32(len(cells))
    ),
    "summed in another order": lambda cells: cells[::-1].cumsum(axis=0)[-1] / len(cells),
}
KEYS = {"perturbation_key": "perturbation", "control": "control"}


class Case:
    """Ten conditions of 40 genes, some of them silent, and 700 control cells."""

    def __init__(self, seed: int, scale: float = 0.3) -> None:
        rng = np.random.default_rng(seed)
        rate = rng.gamma(0.5, 2.0, 40) * (rng.random(40) > 0.1)
        self.cells = np.log1p(rng.poisson(rate, (700, 40)) * rng.uniform(0.5, 2, (700, 1)))
        self.control = self.cells.mean(axis=0)
        effect = rng.normal(0.05, scale, (10, 40)) * (rng.random((10, 40)) > 0.2)
        self.real = np.maximum(self.control + effect * (self.control > 0), 0)
        self.weights = rng.random((10, 40))
        self.mask = np.eye(10, 40, dtype=bool)

    def score(self, predicted: np.ndarray, reference: np.ndarray) -> dict[str, np.ndarray]:
        given = {
            "real": self.real,
            "predicted": np.tile(predicted, (10, 1)),
            "control": self.control,
            "reference": reference,
            "weights": self.weights,
            "target_mask": self.mask,
        }
        return {
            name: METRICS[name].function(**{key: given[key] for key in METRICS[name].takes})
            for name in ON_MEANS
        }


def assert_same(found, expected, copy):
    tolerance = 3e-3 if copy == "float16" else 2e-5
    for name, values in expected.items():
        is_moved = name in ERRORS or (name == "pearson_delta_perturbed" and values.any())
        atol = tolerance if is_moved else 0.0
        if name in RANKS - {"pds_cosine"}:
            # Real profiles may be as near to each other as rounding: then a place is shared.
            atol = 0.12 if copy == "float16" else 0.03
            assert found[name].mean() == pytest.approx(values.mean(), abs=atol), name
            continue
        np.testing.assert_allclose(found[name], values, rtol=atol, atol=atol, err_msg=name)


@pytest.mark.parametrize("copy", COPIES)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000))
def test_a_copy_of_the_control_mean_scores_as_the_mean_itself(copy, seed):
    case = Case(seed)
    reference = case.real[:5].mean(axis=0)
    expected = case.score(case.control, reference)
    assert not expected["pearson_delta"].any()
    assert not expected["pearson_delta_top20"].any()
    assert_same(case.score(COPIES[copy](case.cells), reference), expected, copy)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_copy_of_the_reference_has_no_specific_effect(dtype):
    case = Case(3)
    reference = case.real.mean(axis=0)
    for given_as, predicted in (
        (reference, reference.astype(dtype)),
        (reference.astype(dtype),) * 2,
    ):
        assert not case.score(predicted, given_as)["pearson_delta_perturbed"].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_shift_of_all_genes_has_no_correlation(dtype):
    case = Case(4)
    shifted = np.tile((case.control + 0.3).astype(dtype), (10, 1))
    assert not metrics.pearson_delta(case.real, shifted, case.control).any()
    assert not metrics.pearson_delta_top20(case.real, shifted, case.control).any()
    real = np.tile((case.control + 0.5).astype(dtype), (10, 1))
    r2 = metrics.weighted_r2_delta(real, real.astype(float), case.control, case.weights)
    assert r2.tolist() == [1.0] * 10
    r2 = metrics.weighted_r2_delta(real, shifted, case.control, case.weights)
    assert r2.tolist() == [0.0] * 10


def test_small_effects_are_effects():
    """1e-3 at an expression of 3 is far above the last place of 32 bits."""
    rng = np.random.default_rng(0)
    control = rng.uniform(2.5, 3.5, 200)
    real = control + 1e-3 * rng.choice([-1.0, 1.0], (8, 200)) * rng.uniform(0.5, 2, (8, 200))
    predicted = real + 5e-4 * rng.normal(size=real.shape)
    # One gene of many is enough, and its sign is known.
    lone = np.tile(control, (8, 1))
    lone[:, 7] += 1e-3
    weights = np.ones(real.shape)
    for guess, r_least in ((predicted, 0.7), (lone, -1.0)):
        single = [array.astype(np.float32) for array in (real, guess, control)]
        # To a lone small effect all real ones are nearly as far.
        left_out = {"pearson_delta_perturbed", "weighted_mse"} | (
            RANKS if guess is lone else set()
        )
        for name in sorted(set(ON_MEANS) - left_out):
            function, takes = METRICS[name].function, METRICS[name].takes
            extra = {"weights": weights} if "weights" in takes else {}
            n_given = 3 if "control" in takes else 2
            exact = function(real, *(guess, control)[: n_given - 1], **extra)
            found = function(*single[:n_given], **extra)
            # Of single genes the effects below 5e-5 have no sign.
            atol = 0.02 if name.startswith("direction") else 5e-3
            np.testing.assert_allclose(found, exact, rtol=5e-3, atol=atol, err_msg=name)
        correlation = metrics.pearson_delta(*single)
        assert (np.abs(correlation) > 1e-4).all()
        assert (correlation > r_least).all()
    assert metrics.pds_l2(real.astype("f4"), predicted.astype("f4"), control).tolist() == [1.0] * 8


@pytest.mark.parametrize(
    ("dtype", "share"), [(np.float16, 2**-10 + 2**-17), (np.float32, 2**-17), (np.float64, 1e-12)]
)
def test_the_rounding_of_a_precision(dtype, share):
    assert get_rounding(dtype) == share
    values = np.random.default_rng(0).gamma(1.0, 1.0, (20_000, 5))
    exact = values.mean(axis=0)
    means = Averages.read(exact.astype(dtype))
    assert (np.abs(np.asarray(means) - exact) <= means.rounding).all()
    assert get_rounding(int) == 1e-12
    # numpy adds float16 up in float32, as everybody does.
    summed = values.astype(dtype).cumsum(axis=0, dtype=np.promote_types(dtype, np.float32))
    assert (np.abs(summed[-1] / 20_000 - exact) <= share * exact).all()
    least = Averages.read(np.array([2.1e-7, 0.0]).astype(np.float16))
    assert (np.abs(least.array - [2.1e-7, 0.0]) <= least.rounding).all()
    assert Expression(values.astype(dtype)).dtype == min(np.dtype(dtype), np.dtype(np.float32))


def test_means_remember_what_they_were_made_of():
    cells = np.array([[1.0, 2.0], [3.0, 0.0]], dtype=np.float32)
    means = compute_moments(Expression(cells), [np.array([0, 1]), np.array([], dtype=int)]).mean
    np.testing.assert_array_equal(means.array[0], [2, 1])
    np.testing.assert_array_equal(means.rounding[0], 2**-17 * np.array([2.0, 1.0]))
    other = Averages.read(np.array([2.0 + 2**-16, 5.0], dtype=np.float32))
    difference = means[0] - other
    np.testing.assert_allclose(difference.rounding, 2**-17 * np.array([4.0, 6.0]), rtol=1e-4)
    np.testing.assert_array_equal(difference.effect, [0, -4])
    np.testing.assert_array_equal((difference + other).array, [2, 1])
    # What two large values leave has their rounding, however small it is.
    assert (difference + other - other).rounding[0] > 2**-17 * 7
    joined = Averages.join([means[0], other])
    np.testing.assert_array_equal(joined.array, [2 + 2**-17, 3])


def make_cells_like(means, labels, n_cells, genes):
    obs = pd.DataFrame({"perturbation": np.repeat(labels, n_cells)})
    obs.index = [f"p{i}" for i in range(len(obs))]
    return AnnData(np.tile(means, (len(obs), 1)), obs=obs, var=pd.DataFrame(index=genes))


@pytest.fixture(scope="module")
def screen() -> AnnData:
    return scbig.data.simulate_screen(600, 60, n_targets=16, n_doubles=0, seed=1)


def test_copies_of_the_control_mean_score_alike_as_cells(screen, tmp_path):
    labels = sorted(set(screen.obs["perturbation"].astype(str)) - {"control"})
    cells = screen[screen.obs["perturbation"] == "control"].X.toarray().astype(float)
    reference = {label: screen[screen.obs["perturbation"] == label].X.mean(0) for label in labels}
    table = pd.DataFrame(np.array([np.ravel(m) for m in reference.values()]), labels)
    table.columns = screen.var_names
    evaluator = Evaluator(
        screen, scbig.data.infer_schema(screen), reference=table.iloc[:5], metrics=ON_MEANS
    )

    def score(predicted):
        scores = evaluator.score(predicted)
        assert (scores["status"] == "ok").all()
        return {name: own["value"].to_numpy() for name, own in scores.groupby("metric")}

    exact = make_cells_like(cells.mean(axis=0), labels, 1, screen.var_names)
    expected = score(exact)
    assert not expected["pearson_delta"].any()
    assert not expected["pearson_delta_top20"].any()
    for copy, make in COPIES.items():
        predicted = make_cells_like(make(cells), labels, 3, screen.var_names)
        assert_same(score(predicted), expected, copy)
        predicted.write_h5ad(tmp_path / f"{copy}.h5ad")
        assert_same(score(ad.read_h5ad(tmp_path / f"{copy}.h5ad")), expected, copy)
        backed = ad.read_h5ad(tmp_path / f"{copy}.h5ad", backed="r")
        assert_same(score(backed), expected, copy)
        backed.file.close()
    predicted = make_cells_like(table.iloc[:5].mean().to_numpy(), labels, 2, screen.var_names)
    for dtype in (np.float64, np.float32, np.float16):
        predicted.X = predicted.X.astype(dtype)
        assert not score(predicted)["pearson_delta_perturbed"].any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_copies_of_the_control_mean_score_nothing_in_a_split_screen(screen, dtype):
    adata = screen.copy()
    scbig.pp.split(adata, "unseen", seed=0)
    is_control = (adata.obs["perturbation"] == "control").to_numpy()
    layer = adata.X.toarray().astype(dtype)
    layer[~is_control] = adata.X[is_control].toarray().astype(float).mean(axis=0).astype(dtype)
    adata.layers["mine"] = layer
    names = ["pearson_delta", "pearson_delta_top20", "direction_accuracy_top20", "pds_cosine"]
    scores = scbig.tl.evaluate(adata, "mine", metrics=names)
    own = scores[scores["predictor"] == "mine"].groupby("metric")["value"]
    assert not own.get_group("pearson_delta").any()
    assert not own.get_group("pearson_delta_top20").any()
    assert not own.get_group("direction_accuracy_top20").any()
    assert own.get_group("pds_cosine").std() == pytest.approx(0)


def test_pairs_that_hardly_change_are_no_effect(screen):
    """The change is small beside the cells that it is a difference of, whatever the controls."""
    labels = sorted(set(screen.obs["perturbation"].astype(str)) - {"control"})
    rng = np.random.default_rng(0)
    source = rng.gamma(2.0, 1.0, (len(labels) * 20, 60)).astype(np.float32)
    predicted = make_cells_like(np.zeros(60), labels, 20, screen.var_names)
    predicted.X, predicted.layers["mine"] = source, source * np.float32(1 + 3e-7)
    evaluator = Evaluator(screen, scbig.data.infer_schema(screen), metrics=["pearson_delta"])
    assert not evaluator.score(predicted, layer="mine", is_paired=True)["value"].any()
    predicted.layers["mine"] = source * (1 + 1e-3 * rng.random(60)).astype(np.float32)
    assert evaluator.score(predicted, layer="mine", is_paired=True)["value"].all()


def test_a_float16_copy_of_cells_is_not_told_from_them(rng):
    """Discrete values would differ in their last places on one side."""
    cells = np.log1p(rng.poisson(1.5, (240, 30)) * 1.7).astype(np.float32)
    real, other, control = cells[:80], cells[80:160], cells[160:]
    short = other.astype(np.float16)
    # The classifier sees the same values; without levelling this is 1.0.
    assert metrics.c2st_auc(real, short) == pytest.approx(metrics.c2st_auc(real, other), abs=0.15)
    one, two = (metrics.call_de_genes(real, given, control) for given in (other, short))
    np.testing.assert_allclose(two.predicted_scores, one.predicted_scores, atol=1e-6)
    np.testing.assert_allclose(two.real_scores, one.real_scores, atol=1e-6)
    assert metrics.zero_share_error(real, short) == metrics.zero_share_error(real, other)
    assert metrics.variance_ratio(real, short) == pytest.approx(
        metrics.variance_ratio(real, other), rel=1e-3
    )


def test_cells_that_are_equal_up_to_rounding_are_equal(rng):
    mean = rng.uniform(0.5, 3, 30)
    equal = (mean * (1 + 1e-7 * rng.normal(size=(20, 30)))).astype(np.float32)
    other = rng.gamma(2.0, 1.0, (20, 30)).astype(np.float32)
    assert len(np.unique(equal, axis=0)) > 1
    with pytest.raises(ValueError, match="no bandwidth"):
        metrics.mmd_rbf(equal, other)
    with pytest.raises(ValueError, match="20 real cells are equal"):
        metrics.variance_ratio(equal, other)
    assert metrics.variance_ratio(other, equal) == 0
    with pytest.raises(ValueError, match="does not exceed its split-half noise"):
        metrics.wasserstein_axis(equal, other, np.tile(mean.astype(np.float32), (20, 1)))
    labels = ["A"] * 10 + ["B"] * 10
    for cells in (equal, sparse.csr_array(equal)):
        assert not metrics.compute_t_scores(cells, labels, ["A", "B"]).any()
    assert metrics.compute_t_scores(equal.astype(float), labels, ["A", "B"]).any()


def test_ties_of_ranks_are_up_to_rounding():
    """The prediction lies in the middle of two real profiles, but for the last place."""
    real = np.array([[1.0, 3.0], [3.0, 1.0], [9.0, 0.0]])
    middle = np.array([[2.0, 2.0], [2.0, 2.0], [9.0, 0.0]])
    aside = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    predicted = middle + 3e-7 * aside
    control = np.zeros(2)
    for pds in (metrics.pds_l1, metrics.pds_l2, metrics.pds_cosine):
        single = pds(real, predicted.astype(np.float32), control)
        np.testing.assert_allclose(single[:2], 1 - 0.5 / 3)
    assert metrics.pds_published(real, predicted.astype(np.float32)).tolist() == [0.75, 0.75, 1.0]
    assert metrics.centroid_accuracy(real, predicted.astype("f4")).tolist() == [0.5, 0.5, 1.0]
    clear = (middle + 1e-3 * aside).astype(np.float32)
    assert metrics.centroid_accuracy(real, clear).tolist() == [0.5, 0.5, 1.0]
    assert metrics.centroid_accuracy(real, clear[[1, 0, 2]]).tolist() == [1.0, 1.0, 1.0]

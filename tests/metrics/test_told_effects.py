"""Effects that a predictor tells with their errors, scored against real cells."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.stats import norm

from scbig import metrics
from scbig.data import ScreenSchema
from scbig.metrics import Evaluator

GENES = [f"G{i:02d}" for i in range(60)]
SIZES = {"control": 120, "A": 40, "B": 45, "A+B": 50, "C": 6, "D": 1}
SCHEMA = ScreenSchema("perturbation", "control", "+", ("line",))
KEYS = [(label, line) for line in "xy" for label in ("A", "B", "C", "D", "A+B")]
METRICS = list(metrics.choose_metrics("calibration"))


def draw_cells(seed: int, sizes: dict[str, int] = SIZES) -> AnnData:
    """Draw log1p counts; a third of the genes is rare, and the last one silent."""
    fixed, rng = np.random.default_rng(7), np.random.default_rng(seed)
    rate = np.r_[fixed.uniform(1, 6, 40), np.full(19, 0.02), 0.0]
    change = {
        label: np.exp(fixed.normal(0, 0.5, 60) * (fixed.random(60) < 0.4)) for label in SIZES
    }
    rows, x = [], []
    for line, scale in (("x", 1.0), ("y", 1.5)):
        for label, n_cells in sizes.items():
            fold = np.ones(60) if label == "control" else change[label]
            x.append(rng.poisson(rate * scale * fold, (n_cells, 60)))
            rows += [(label, line)] * n_cells
    obs = pd.DataFrame(rows, columns=["perturbation", "line"])
    obs.index = [f"cell{seed}_{i}" for i in range(len(obs))]
    values = np.log1p(np.concatenate(x)).astype(np.float32)
    return AnnData(values, obs=obs, var=pd.DataFrame(index=GENES))


def get_cells(adata: AnnData, label: str, line: str) -> np.ndarray:
    is_own = (adata.obs["perturbation"] == label) & (adata.obs["line"] == line)
    return np.asarray(adata[is_own].X, np.float64)


def share_variance(cells: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    """Variance of a group, drawn to that within groups, gene by gene in a loop."""
    found = []
    for g in range(cells.shape[1]):
        squares = sum(((x[:, g] - x[:, g].mean()) ** 2).sum() for x in groups)
        pooled = squares / sum(len(x) - 1 for x in groups)
        own, x = cells[:, g].var(ddof=1), cells[:, g]
        n = x.sum() ** 2 / (x**2).sum() if x.any() else 0.0
        found.append((n * own + 4 * pooled) / (n + 4) if pooled > 0 else np.nan)
    return np.array(found)


def measure(adata: AnnData, label: str, line: str) -> tuple[np.ndarray, np.ndarray]:
    """Effect and variance of its sampling error."""
    cells, control = get_cells(adata, label, line), get_cells(adata, "control", line)
    groups = [get_cells(adata, name, line) for name in SIZES]
    variance = share_variance(cells, groups) / len(cells)
    variance += share_variance(control, groups) / len(control)
    return cells.mean(axis=0) - control.mean(axis=0), variance


def tell(seed: int = 3, keys: list[tuple[str, str]] = KEYS) -> AnnData:
    """Tell effects of some conditions, with errors."""
    rng = np.random.default_rng(seed)
    shape = len(keys), len(GENES)
    effect, error = rng.normal(0, 0.3, shape), rng.uniform(0.05, 0.2, shape)
    up, down = norm.cdf((effect - 0.2) / error), norm.cdf((-effect - 0.2) / error)
    return AnnData(
        effect.astype(np.float32),
        obs=pd.DataFrame(
            keys, columns=["perturbation", "line"], index=[" | ".join(k) for k in keys]
        ),
        var=pd.DataFrame(index=GENES),
        layers={"standard_error": error, "probability_up": up, "probability_down": down},
    )


@pytest.fixture(scope="module")
def real() -> AnnData:
    return draw_cells(0)


@pytest.fixture(scope="module")
def predicted() -> AnnData:
    return draw_cells(1)


@pytest.fixture(scope="module")
def scores(real: AnnData, predicted: AnnData) -> pd.DataFrame:
    return Evaluator(real, SCHEMA, metrics="calibration").score(predicted, effects=tell())


def get_row(scores: pd.DataFrame, metric: str, label: str, line: str) -> pd.Series:
    is_own = (scores["perturbation"] == label) & (scores["context"] == line)
    [(_, row)] = scores[is_own & (scores["metric"] == metric)].iterrows()
    return row


@pytest.mark.parametrize(("label", "line"), [("A", "x"), ("A+B", "y"), ("C", "x")])
def test_scores_are_those_of_the_functions(
    scores: pd.DataFrame, real: AnnData, label: str, line: str
):
    effect, variance = (values[None] for values in measure(real, label, line))
    told = tell()[f"{label} | {line}"]
    error, up, down = (
        told.layers[k] for k in ("standard_error", "probability_up", "probability_down")
    )
    mean = told.X.astype(float)
    expected = {
        "coverage_90": metrics.coverage_90(effect, variance, mean, error),
        "coverage_90_top": metrics.coverage_90_top(effect, variance, mean, error),
        "interval_width": metrics.interval_width(variance, error),
    }
    if label != "C":
        cells = get_cells(real, label, line).astype(np.float32)
        control = get_cells(real, "control", line).astype(np.float32)
        calls = metrics.call_directions(cells, control)[None]
        assert (calls != 0).any()
        expected |= {
            "auroc_changed": metrics.auroc_changed(calls, mean, up, down),
            "auroc_direction": metrics.auroc_direction(calls, mean, up, down),
            "brier_changed": metrics.brier_changed(calls, up, down),
        }
    for name, [value] in expected.items():
        row = get_row(scores, name, label, line)
        assert row["value"] == pytest.approx(value, rel=1e-5), name
        assert row["status"] == "ok"
    assert list(scores["metric"].unique()) == METRICS


def test_calls_are_those_of_real_cells(real: AnnData, predicted: AnnData):
    cells, control = get_cells(real, "A", "x"), get_cells(real, "control", "x")
    calls = metrics.call_de_genes(cells, get_cells(predicted, "A", "x"), control)
    found = metrics.call_directions(cells, control)
    assert found.tolist() == (np.sign(calls.real_scores) * calls.is_real).tolist()
    assert set(found) == {-1, 0, 1}
    with pytest.raises(ValueError, match="real has 9 cells; at least 10 are needed"):
        metrics.call_directions(cells[:9], control)


def test_what_cannot_be_measured_says_why(scores: pd.DataFrame):
    assert get_row(scores, "auroc_changed", "C", "y")["status"] == (
        "real has 6 cells; at least 10 are needed."
    )
    assert get_row(scores, "brier_changed", "D", "y")["status"].startswith("real has 1 cells")
    lone = get_row(scores, "coverage_90", "D", "x")
    assert np.isnan(lone["value"])
    assert lone["status"].startswith("1 real cell")
    # A condition that has no called gene, or only such that go up.
    real = draw_cells(0)
    own = real.obs["perturbation"] == "A"
    control = np.asarray(real[real.obs["perturbation"] == "control"].X)
    real.X[own] = control[: own.sum()]
    real.X[(real.obs["perturbation"] == "B"), :] = control[:90]
    real.X[(real.obs["perturbation"] == "B"), 0] += 2
    found = Evaluator(real, SCHEMA, metrics="calibration").score(draw_cells(1), effects=tell())
    for label, name, text in (
        ("A", "auroc_changed", "no gene, or every gene, is called"),
        ("A", "auroc_direction", "do not go both ways"),
        ("B", "auroc_direction", "do not go both ways"),
    ):
        row = get_row(found, name, label, "x")
        assert np.isnan(row["value"])
        assert text in row["status"]
    assert get_row(found, "brier_changed", "A", "x")["status"] == "ok"


def test_genes_and_conditions_are_matched_by_name(
    scores: pd.DataFrame, real: AnnData, predicted: AnnData
):
    told = tell()
    told.obs["perturbation"] = told.obs["perturbation"].replace({"A+B": "B+A"})
    further = tell(5, [("E", "x"), ("A", "z")])
    rng = np.random.default_rng(0)
    order = ad.concat([told, further])[rng.permutation(12), rng.permutation(60)].copy()
    evaluator = Evaluator(real, SCHEMA, metrics="calibration")
    pd.testing.assert_frame_equal(evaluator.score(predicted, effects=order), scores)
    part = evaluator.score(predicted, effects=told[told.obs["perturbation"] != "B"].copy())
    is_lost = part["perturbation"] == "B"
    assert part.loc[is_lost, "value"].isna().all()
    lost = "not predicted: effects has no row of this condition in this context"
    assert part.loc[is_lost, "status"].eq(lost).all()
    pd.testing.assert_frame_equal(part[~is_lost], scores[~is_lost])


def test_cells_alone_tell_effects_but_no_errors(real: AnnData, predicted: AnnData):
    evaluator = Evaluator(real, SCHEMA, metrics="calibration")
    found = evaluator.score(predicted)
    control = get_cells(real, "control", "x")
    effect = get_cells(predicted, "A", "x").mean(axis=0) - control.mean(axis=0)
    calls = metrics.call_directions(get_cells(real, "A", "x"), control)[None]
    for name in ("auroc_changed", "auroc_direction"):
        value = getattr(metrics, name)(calls, effect[None])[0]
        assert get_row(found, name, "A", "x")["value"] == pytest.approx(value)
    rest = found[~found["metric"].str.startswith("auroc")]
    assert rest["value"].isna().all()
    assert rest["status"].str.startswith("needs effects= with layers['").all()
    # A baseline tells effects alone.
    told = tell()
    bare = AnnData(told.X, obs=told.obs, var=told.var)
    found = evaluator.score(predicted, effects=bare)
    row = get_row(found, "auroc_changed", "A", "x")
    assert row["value"] == pytest.approx(metrics.auroc_changed(calls, told["A | x"].X)[0])
    assert get_row(found, "coverage_90", "A", "x")["status"] == (
        "no errors: the prediction tells effects without layers['standard_error']"
    )


def test_half_of_the_cells_tell_the_other_half():
    sizes = {"control": 300} | {label: 120 for label in SIZES if label != "control"}
    real = draw_cells(4, sizes)
    evaluator = Evaluator(real, SCHEMA, metrics=["pearson_delta", "calibration"], seed=3)
    found = evaluator.score_ceiling()
    own = found[found["metric"] == "coverage_90"]
    assert own["value"].mean() == pytest.approx(0.9, abs=0.03)
    assert set(own["status"]) == {"ok: one half against the other"}
    # Both halves are drawn as for all other metrics.
    rng = np.random.default_rng([3, 0, 0])
    names = sorted(real.obs_names[(real.obs["perturbation"] == "A") & (real.obs["line"] == "x")])
    order = rng.permutation(120)
    label_of = real.obs["perturbation"].copy()
    halves = [real[[names[i] for i in part]] for part in (order[:60], order[60:])]
    assert label_of[names].eq("A").all()
    variances = []
    for i, half in enumerate(halves):
        others = []
        for j, label in enumerate(["A", "B", "C", "D", "A+B"]):
            is_own = (real.obs["perturbation"] == label) & (real.obs["line"] == "x")
            own_names = sorted(real.obs_names[is_own])
            drawn = np.random.default_rng([3, 0, j]).permutation(120)
            part = drawn[:60] if i == 0 else drawn[60:]
            others.append(np.asarray(real[[own_names[k] for k in part]].X, np.float64))
        groups = [get_cells(real, "control", "x"), *others]
        variances.append(share_variance(np.asarray(half.X, np.float64), groups) / 60)
    width = metrics.interval_width(variances[0][None], np.sqrt(variances[1])[None])
    assert get_row(found, "interval_width", "A", "x")["value"] == pytest.approx(width[0])
    assert found.loc[found["metric"] == "auroc_changed", "value"].mean() > 0.85
    assert found.loc[found["metric"] == "brier_changed", "value"].isna().all()
    assert get_row(found, "pearson_delta", "A", "x")["value"] > 0.8


def test_a_second_measurement_is_told_with_its_sampling_error(real: AnnData):
    sizes = dict.fromkeys(SIZES, 60)
    second = draw_cells(9, sizes)
    evaluator = Evaluator(real, SCHEMA, metrics="calibration")
    found = evaluator.score_ceiling(second)
    effect, variance = measure(real, "A", "x")
    other, error = measure(second, "A", "x")
    arrays = effect[None], variance[None], other[None], np.sqrt(error)[None]
    row = get_row(found, "coverage_90", "A", "x")
    assert row["value"] == pytest.approx(metrics.coverage_90(*arrays)[0])
    assert row["status"] == "ok: training cells against test cells"
    calls = metrics.call_directions(get_cells(real, "A", "x"), get_cells(real, "control", "x"))
    area = metrics.auroc_changed(calls[None], (other / np.sqrt(error))[None])[0]
    assert get_row(found, "auroc_changed", "A", "x")["value"] == pytest.approx(area)
    lost = evaluator.score_ceiling(second[second.obs["perturbation"] != "B"].copy())
    assert get_row(lost, "interval_width", "B", "x")["status"].startswith("not predicted")


def test_rare_genes_are_covered_as_they_should():
    """A gene that no cell of a condition happens to express was not measured without error."""
    sizes = {"control": 2000} | {f"P{i}": 40 for i in range(40)}
    rng = np.random.default_rng(0)
    labels = np.repeat(list(sizes), list(sizes.values()))
    rate = np.repeat([0.01, 0.03, 0.06, 0.1], 50)
    x = np.log1p(rng.poisson(rate, (len(labels), 200))).astype(np.float32)
    obs = pd.DataFrame({"perturbation": labels}, index=[f"c{i}" for i in range(len(labels))])
    real = AnnData(x, obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(200)]))
    names = list(sizes)[1:]
    none = AnnData(
        np.zeros((40, 200), np.float32),
        obs=pd.DataFrame({"perturbation": names}, index=names),
        var=real.var,
        layers={"standard_error": np.zeros((40, 200))},
    )
    schema = replace(SCHEMA, context_keys=())
    found = Evaluator(real, schema, metrics=["coverage_90"]).score(real, effects=none)
    # All conditions have one true variance, that over all cells.
    control = x[labels == "control"].mean(axis=0)
    effect = np.array([x[labels == name].mean(axis=0) - control for name in names])
    true = np.tile(x.var(axis=0) * (1 / 40 + 1 / 2000), (40, 1))
    expected = metrics.coverage_90(effect, true, none.X, none.layers["standard_error"]).mean()
    assert found["value"].mean() == pytest.approx(expected, abs=0.03)
    own = np.array([x[labels == name].var(axis=0, ddof=1) for name in names]) / 40
    own = metrics.coverage_90(effect, own, none.X, none.layers["standard_error"]).mean()
    assert own < expected - 0.1


def test_reliability_puts_conditions_together(real: AnnData):
    labels = [("A", "x"), ("A+B", "y")]
    told = tell(3, labels)
    evaluator = Evaluator(real, SCHEMA, metrics="calibration")
    table = evaluator.get_reliability(told)
    pairs = [measure(real, *key) for key in labels]
    effect, variance = (np.array(values) for values in zip(*pairs, strict=True))
    calls = np.array(
        [
            metrics.call_directions(get_cells(real, *key), get_cells(real, "control", key[1]))
            for key in labels
        ]
    )
    inside = metrics.tabulate_coverage(effect, variance, told.X, told.layers["standard_error"])
    own = table[table["kind"] == "coverage"].drop(columns="kind").reset_index(drop=True)
    pd.testing.assert_frame_equal(own[list(inside)], inside)
    tenths = metrics.tabulate_probability(
        calls, told.layers["probability_up"], told.layers["probability_down"]
    )
    own = table[table["kind"] == "probability"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own[list(tenths)], tenths)
    bare = AnnData(told.X, obs=told.obs, var=told.var)
    with pytest.raises(ValueError, match=r"effects has no layers \['standard_error', 'prob"):
        evaluator.get_reliability(bare)


def spoil(told: AnnData, name: str, value: float) -> AnnData:
    told.layers[name][0, 0] = value
    return told


@pytest.mark.parametrize(
    ("effects", "message"),
    [
        (spoil(tell(), "standard_error", np.nan), "in standard_error that are not finite"),
        (spoil(tell(), "standard_error", -0.1), r"negative values in layers\['standard_error'\]"),
        (spoil(tell(), "probability_up", 1.2), r"above 1 in layers\['probability_up'\]"),
        (tell()[:, :50].copy(), "effects lacks 10 of the 60 genes of real"),
        (
            AnnData(tell().X, var=tell().var),
            r"effects lacks the columns \['perturbation', 'line'\]",
        ),
        (draw_cells(1), r"effects has 120 rows of 'control' in 'x'.*predict_effects.*not cells"),
        (
            ad.concat([tell(), tell(5, [("B+A", "y")])]),
            r"effects has 2 rows of 'A\+B' in 'y', where one is expected",
        ),
        (tell().to_df(), r"effects=.*DataFrame.*AnnData"),
    ],
)
def test_effects_that_cannot_be_read_are_refused(
    real: AnnData, predicted: AnnData, effects: AnnData, message: str
):
    with pytest.raises(ValueError, match=message):
        Evaluator(real, SCHEMA, metrics="calibration").score(predicted, effects=effects)

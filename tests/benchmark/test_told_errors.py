"""Predictors that tell the errors of their effects: the rows that the benchmark adds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.stats import norm

from scbig import benchmark, metrics
from scbig.benchmark import BenchmarkSettings
from scbig.data import infer_schema
from scbig.splits import Split, get_roles, make_split

CALIBRATION = list(metrics.choose_metrics("calibration"))
OF_ERRORS = ["coverage_90", "coverage_90_top", "interval_width", "brier_changed"]
SETTINGS = BenchmarkSettings(metrics=("mse", "calibration"), n_cells=60, n_resamples=50)
ERROR = 0.3


def make_effect(label: str, n_genes: int) -> np.ndarray:
    return np.random.default_rng(list(label.encode())).normal(0, 0.2, n_genes)


def make_probability(effect: np.ndarray) -> np.ndarray:
    return norm.sf(0.5, effect, ERROR)


def make_table(adata: AnnData, labels: list[str], effect: np.ndarray) -> AnnData:
    obs = pd.DataFrame({"perturbation": labels}, index=labels)
    return AnnData(effect.astype(np.float32), obs=obs, var=pd.DataFrame(index=adata.var_names))


@pytest.fixture
def bare_class(shift_class: type) -> type:
    """Tells effects without errors, as baselines do."""

    class Bare(shift_class):
        default_key = "bare"

        def predict_effects(self, perturbations: list[str], *, contexts: object = None) -> AnnData:
            effect = np.array([make_effect(name, self.adata.n_vars) for name in perturbations])
            return make_table(self.adata, perturbations, effect)

    return Bare


@pytest.fixture
def telling_class(bare_class: type) -> type:
    """Tells errors, too."""

    class Telling(bare_class):
        default_key = "telling"

        def predict_effects(self, perturbations: list[str], *, contexts: object = None) -> AnnData:
            told = super().predict_effects(perturbations)
            told.layers["standard_error"] = np.full(told.shape, ERROR)
            told.layers["probability_up"] = make_probability(told.X)
            told.layers["probability_down"] = make_probability(-told.X)
            return told

    return Telling


@pytest.fixture
def found(
    screen: AnnData, unseen: Split, tmp_path: Path, bare_class: type, telling_class: type
) -> benchmark.BenchmarkResult:
    predictors = ["no_change", bare_class, telling_class]
    return benchmark.run(screen, [unseen], predictors, out=tmp_path, settings=SETTINGS)


def get_values(result: benchmark.BenchmarkResult, predictor: str, metric: str) -> pd.Series:
    scores = result.scores
    is_own = (scores["predictor"] == predictor) & (scores["metric"] == metric)
    return scores[is_own].set_index("perturbation")["value"]


def test_errors_that_are_told_are_scored(
    found: benchmark.BenchmarkResult, screen: AnnData, unseen: Split
):
    assert found.failures == {}
    role = get_roles(screen.obs, unseen, infer_schema(screen))
    x, labels = screen.X.toarray(), screen.obs["perturbation"].astype(str).to_numpy()
    n_called = 0
    for label in found.scores["perturbation"].unique():
        calls = metrics.call_directions(x[labels == label], x[role == "control"])
        n_called += np.count_nonzero(calls)
        effect = make_effect(label, screen.n_vars)
        up, down = make_probability(effect), make_probability(-effect)
        brier = np.square(up + down - (calls != 0)).mean()
        assert get_values(found, "telling", "brier_changed")[label] == pytest.approx(brier)
        for name, told in (("telling", (up[None], down[None])), ("bare", ())):
            area = metrics.auroc_changed(calls[None], effect[None], *told)[0]
            value = get_values(found, name, "auroc_changed")[label]
            np.testing.assert_allclose(value, area, rtol=1e-5)
    assert n_called > 20
    width = get_values(found, "telling", "interval_width")
    assert (width > 2 * 1.645 * ERROR).all()
    assert (width < 2 * width.min()).all()
    assert get_values(found, "telling", "coverage_90").between(0.2, 1).all()


def test_who_tells_no_errors_has_rows_that_say_so(found: benchmark.BenchmarkResult):
    scores = found.scores
    is_of_errors = scores["metric"].isin(OF_ERRORS)
    bare = scores[is_of_errors & (scores["predictor"] == "bare")]
    assert bare["value"].isna().all()
    assert bare["status"].str.startswith("no errors: the prediction tells effects without").all()
    assert (scores.loc[scores["metric"] == "mse", "status"].str.startswith("ok")).all()
    # One half of the real cells has sampling errors, but no probabilities.
    for name in ("coverage_90", "interval_width"):
        assert get_values(found, "ceiling", name).notna().all()
    assert get_values(found, "ceiling", "brier_changed").isna().all()


def test_the_rows_stand_in_the_tables(found: benchmark.BenchmarkResult):
    summary = pd.read_csv(found.folder / "summary.csv")
    pooled = summary[(summary["split"] == "pooled") & (summary["kind"] == "all")]
    table = pooled.pivot_table(index="predictor", columns="metric", values="mean", dropna=False)
    assert set(CALIBRATION) <= set(table)
    for name in ("coverage_90", "auroc_changed"):
        mean = get_values(found, "telling", name).mean()
        assert table.loc["telling", name] == pytest.approx(mean)
    assert np.isnan(table.loc["bare", "coverage_90"])
    compared = found.comparison.groupby("metric")["floor"].first()
    assert compared["auroc_changed"] == "no_change"
    assert set(compared.index).isdisjoint(OF_ERRORS)  # floors tell no errors
    page = (found.folder / "report.html").read_text("utf-8")
    assert "errors of effects</th>" in page
    assert ">coverage_90 →0.9</th>" in page
    assert "the prediction tells effects without layers" in page
    # Of four scores two predictors tell none, and the ceiling has no probabilities.
    whole = page.partition("<details>")[0]
    assert whole.count("<b>–</b><small>no value</small>") == 4 * 2 + 1
    assert "<small>missing</small>" not in page


def test_by_default_errors_are_scored():
    settings = BenchmarkSettings().resolve({"unseen"})
    assert set(CALIBRATION) <= set(settings.metrics)
    assert set(CALIBRATION).isdisjoint(BenchmarkSettings(metrics=("mse",)).resolve({"a"}).metrics)


def test_nobody_is_asked_for_what_is_not_scored(
    screen: AnnData, unseen: Split, tmp_path: Path, settings: BenchmarkSettings, bare_class: type
):
    class Silent(bare_class):
        def predict_effects(self, perturbations: list[str], *, contexts: object = None) -> AnnData:
            raise AssertionError

    result = benchmark.run(
        screen, [unseen], ["no_change", Silent], out=tmp_path, settings=settings
    )
    assert result.failures == {}


def test_effects_that_fail_cost_no_other_score(
    screen: AnnData, unseen: Split, tmp_path: Path, bare_class: type
):
    class Stumbling(bare_class):
        default_key = "stumbling"

        def predict_effects(self, perturbations: list[str], *, contexts: object = None) -> AnnData:
            raise RuntimeError("no effects today")

    names = ["no_change", Stumbling]
    result = benchmark.run(screen, [unseen], names, out=tmp_path, settings=SETTINGS)
    assert list(result.failures.values()) == ["predict_effects: RuntimeError: no effects today"]
    assert get_values(result, "stumbling", "mse").notna().all()
    assert get_values(result, "stumbling", "coverage_90").isna().all()
    assert not list(tmp_path.glob("parts/*stumbling*"))  # a rerun asks again


def test_the_seen_half_is_a_second_measurement(screen: AnnData, tmp_path: Path):
    seen = make_split(screen, "seen", seed=0)
    result = benchmark.run(screen, [seen], ["no_change"], out=tmp_path, settings=SETTINGS)
    own = result.scores[result.scores["predictor"] == "ceiling"].set_index("metric")
    assert set(own.loc["coverage_90", "status"]) == {"ok: training cells against test cells"}
    assert own.loc["coverage_90", "value"].mean() == pytest.approx(0.9, abs=0.05)

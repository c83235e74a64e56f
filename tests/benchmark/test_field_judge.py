"""The judge of the field: its numbers by hand, the ends of its scale, and its place in a run."""

import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from scbig import benchmark
from scbig.benchmark import BenchmarkSettings
from scbig.benchmark._context_judge import ContextJudge
from scbig.benchmark._field_judge import (
    COLUMNS,
    FieldJudge,
)
from scbig.benchmark._judged_cells import count_cells, draw_equal, draw_half
from scbig.data import ScreenSchema
from scbig.splits import Split, make_split

ERROR = "expr_mse_unbiased_capped_norm"
SIX = {
    "pds_cosine",
    ERROR,
    "de_wilcoxon_direction_fidelity_yield_raw",
    "de_wilcoxon_direction_reach_raw",
    "de_wilcoxon_sig_jaccard",
    "de_wilcoxon_lfc_nmae",
}
SCHEMA = ScreenSchema("perturbation", "control", "+")
N_CELLS, N_GENES, N_CONDITIONS = 60, 80, 6


def needs_judge() -> None:
    pytest.importorskip("cell_eval2", reason="the extra 'vcc' is not installed")


def draw_screen(seed: int, *, strength: float = 1.0) -> AnnData:
    """Poisson cells of six conditions with 15 strong genes each, and as controls twice as many.

    What is measured is the same for all seeds, the cells are others.
    """
    rng = np.random.default_rng(99)
    rate = rng.gamma(2, 3, N_GENES)
    effects = np.zeros((N_CONDITIONS + 1, N_GENES))
    for i in range(1, N_CONDITIONS + 1):
        chosen = rng.choice(N_GENES, 15, replace=False)
        effects[i, chosen] = rng.choice([-1, 1], 15) * rng.uniform(0.5, 1.2, 15)
    labels = ["control", *(f"P{i}" for i in range(1, N_CONDITIONS + 1))]
    names = np.repeat(["control", *labels], N_CELLS)
    index = np.repeat([0, *range(N_CONDITIONS + 1)], N_CELLS)
    rng = np.random.default_rng(seed)
    depth = rng.lognormal(0, 0.2, (len(names), 1))
    counts = rng.poisson(depth * rate * np.exp(strength * effects[index]))
    return make_screen(counts, names)


def make_screen(counts: np.ndarray, names: np.ndarray) -> AnnData:
    x = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32)
    obs = pd.DataFrame({"perturbation": names}, index=[f"c{i}" for i in range(len(names))])
    adata = AnnData(sparse.csr_matrix(x), obs=obs)
    adata.obsm["counts"] = counts
    return adata


def make_judge(real: AnnData, train: AnnData) -> FieldJudge:
    return FieldJudge("vcc2026", real, train, SCHEMA, 0)


@pytest.fixture(scope="module")
def real() -> AnnData:
    return draw_screen(0)


@pytest.fixture(scope="module")
def judge(real: AnnData) -> FieldJudge:
    needs_judge()
    return make_judge(real, draw_screen(1))


def get(rows: pd.DataFrame, column: str) -> pd.Series:
    return rows.set_index("metric")[column]


def bulk(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=0)
    return np.log1p(5e4 * total / total.sum())


def jackknife(counts: np.ndarray) -> float:
    """Variance of the summed profile, by leaving each cell out in turn."""
    n = len(counts)
    left = np.array([bulk(np.delete(counts, i, axis=0)) for i in range(n)])
    return (n - 1) / n * ((left - left.mean(axis=0)) ** 2).sum()


def test_two_scores_are_those_of_numpy(judge: FieldJudge, real: AnnData):
    """The expression error and the discrimination, from their definitions."""
    predicted = draw_screen(5, strength=0.7)
    found = get(judge.score(predicted), "value")
    labels = real.obs["perturbation"].to_numpy()
    control = real.obsm["counts"][labels == "control"]
    wanted = [name for name in np.unique(labels) if name != "control"]
    error, distance, of_real, of_predicted = 0.0, 0.0, [], []
    for name in wanted:
        k, p = (side.obsm["counts"][labels == name] for side in (real, predicted))
        noise = jackknife(k)
        error += ((bulk(p) - bulk(k)) ** 2).sum() - noise - min(jackknife(p), noise)
        distance += ((bulk(k) - bulk(control)) ** 2).sum() - noise - jackknife(control)
        of_real.append(bulk(k) - bulk(control))
        of_predicted.append(bulk(p) - bulk(control))
    assert found[ERROR] == pytest.approx(error / distance, rel=1e-5)
    a, b = (
        np.array(v) / np.linalg.norm(v, axis=1, keepdims=True) for v in (of_predicted, of_real)
    )
    near = a @ b.T
    ranks = (near > np.diag(near)[:, None]).sum(axis=1)
    assert found["pds_cosine"] == pytest.approx(np.mean(1 - ranks / (len(wanted) - 1)))


def test_the_ends_of_the_scale(judge: FieldJudge, real: AnnData):
    """As the judge's documentation says: mean response 0, replicate 1, control cells no skill."""
    context = next(iter(judge._judges.values()))
    scale = context.scale
    assert set(scale.baseline) == set(scale.replicate) == SIX
    assert scale.problems == {}
    for metric in SIX:
        assert context._scale_row(metric, scale.baseline[metric], {})["scaled"] == pytest.approx(0)
        assert context._scale_row(metric, scale.replicate[metric], {})["scaled"] == pytest.approx(
            1
        )
    labels = real.obs["perturbation"].to_numpy()
    counts = draw_screen(7).obsm["counts"]
    rng = np.random.default_rng(0)
    drawn = counts[labels == "control"][rng.integers(0, 2 * N_CELLS, (labels != "control").sum())]
    controls = counts.copy()
    controls[labels != "control"] = drawn
    rows = judge.score(make_screen(controls, labels))
    value, scaled = get(rows, "value"), get(rows, "scaled")
    assert value[ERROR] == pytest.approx(1, abs=0.15)  # it says: 1 predicts the control
    assert value["pds_cosine"] == pytest.approx(0.5, abs=0.3)
    assert value["de_wilcoxon_lfc_nmae"] == pytest.approx(1, abs=0.2)
    assert value["de_wilcoxon_sig_jaccard"] < 0.1
    assert scaled["average"] < 0.1
    # Another measurement of all cells is better than that of half of them.
    again = judge.score(draw_screen(8))
    assert get(again, "value")[ERROR] == pytest.approx(0, abs=0.05)
    assert get(again, "scaled")["average"] > 0.9
    assert set(again["status"]) == {"ok"}


def test_the_mean_response_is_zero(judge: FieldJudge, real: AnnData):
    """Cells of the mean response, made here: control cells, scaled gene by gene, and rounded."""
    counts, labels = real.obsm["counts"], real.obs["perturbation"].to_numpy()
    control = counts[labels == "control"]
    names = [name for name in np.unique(labels) if name != "control"]
    mean = np.mean([counts[labels == name].mean(axis=0) for name in names], axis=0)
    rng = np.random.default_rng(3)
    cells = control[rng.integers(0, len(control), len(labels))] * (mean / control.mean(axis=0))
    cells = np.floor(cells + rng.random(cells.shape))
    cells[labels == "control"] = control
    rows = judge.score(make_screen(cells, labels))
    scaled = get(rows, "scaled").drop("pds_cosine")  # by chance, as no condition differs
    assert scaled.abs().max() < 0.25


@pytest.mark.slow
def test_the_scale_is_that_of_a_real_bundle(judge: FieldJudge, tmp_path: Path):
    """The way that the judge's documentation shows: a bundle, a run, a score."""
    from cell_eval2 import aggregate_metrics_wide, compute_metrics, score_metrics
    from cell_eval2.baseline import (
        _profile_from_adata,
        build_baseline_prediction,
        build_run_meta,
    )
    from cell_eval2.real_bundle import build_real_bundle
    from cell_eval2.run import metric_output_names

    from scbig.data import make_judged

    context = next(iter(judge._judges.values()))
    config, truth = context._config, context.real
    profile = _profile_from_adata(
        truth, pert_col="target", control="non-targeting", exclude_target_gene=False
    )
    arm = build_baseline_prediction(profile, truth, pert_col="target", control="non-targeting")
    build_real_bundle(truth, arm, config=config, outdir=str(tmp_path / "b"), bundle_id="b")
    predicted = draw_screen(5, strength=0.7)
    cells, _ = make_judged(predicted, judge._real, SCHEMA, None)
    wide = aggregate_metrics_wide(
        compute_metrics(cells, truth, config=config), metrics=metric_output_names(config)
    )
    meta = build_run_meta(config, truth, cells)
    theirs = score_metrics(wide, real_bundle=str(tmp_path / "b"), user_meta=meta)
    theirs = dict(zip(theirs["metric"], theirs["from_replicate"], strict=True))
    ours = get(judge.score(predicted), "scaled")
    for metric in SIX:
        assert ours[metric] == pytest.approx(theirs[metric], abs=1e-9), metric
    assert ours["average"] == pytest.approx(theirs["avg_score"], abs=1e-9)


@pytest.mark.slow
def test_the_ceiling_is_the_training_half_or_a_half(judge: FieldJudge, real: AnnData):
    trained = judge.score_ceiling()
    pd.testing.assert_frame_equal(trained, judge.score(draw_screen(1)))
    halved = make_judge(real, real[real.obs["perturbation"] == "control"].copy()).score_ceiling()
    assert get(halved, "value")["pds_cosine"] == pytest.approx(1)
    assert set(halved["metric"]) == SIX | {"average"}
    half = draw_half(real.obs["perturbation"], 0)
    assert real.obs["perturbation"][half].value_counts().to_dict() == {
        "control": N_CELLS,
        **{f"P{i}": N_CELLS // 2 for i in range(1, N_CONDITIONS + 1)},
    }


def test_as_many_cells_as_there_are_real_ones(real: AnnData):
    counted = count_cells(real, SCHEMA)
    assert counted == {((f"P{i}",), "all"): N_CELLS for i in range(1, N_CONDITIONS + 1)}
    wanted = dict.fromkeys(counted, 7) | {(("P1",), "all"): 500}
    drawn = draw_equal(real, SCHEMA, wanted, 0)
    labels = real.obs["perturbation"].iloc[drawn].value_counts()
    assert (labels["control"], labels["P1"], labels["P2"]) == (2 * N_CELLS, N_CELLS, 7)
    assert np.array_equal(drawn, np.unique(drawn))


def test_a_context_without_effects_does_not_spoil_the_other():
    """Without any effect there are no DE genes and no distance to divide by."""
    needs_judge()
    sides = []
    for seed in (0, 1):
        strong, none = draw_screen(seed), draw_screen(seed, strength=0.0)
        both = ad.concat({"strong": strong, "none": none}, label="line", index_unique="-")
        sides.append(both)
    schema = ScreenSchema("perturbation", "control", "+", ("line",))
    judge = FieldJudge("vcc2026", *sides, schema, 0)
    rows = judge.score(sides[1]).set_index(["context", "metric"])
    assert rows.loc["strong", "status"].eq("ok").all()
    alone = make_judge(draw_screen(0), draw_screen(1)).score(draw_screen(1))
    np.testing.assert_allclose(rows.loc["strong", "scaled"], get(alone, "scaled"), atol=1e-6)
    none = rows.loc["none"]
    assert none.loc["de_wilcoxon_lfc_nmae", "status"].startswith("no value: ")
    assert none.loc["pds_cosine", "value"] == pytest.approx(0.5, abs=0.4)
    assert none.loc["average", "status"] == "some scores have no scaled value"
    assert none.loc[["de_wilcoxon_lfc_nmae", "average"], "scaled"].isna().all()
    lacking = sides[1][sides[1].obs["perturbation"] != "P3"].copy()
    failed = judge.score(lacking)
    assert failed["status"].eq("1 conditions are not predicted: ['P3'].").all()


@pytest.fixture(scope="module")
def seen(real: AnnData) -> Split:
    return make_split(real, "seen", seed=0)


def run(
    screen: AnnData, split: Split, out: Path, judge: str | None, extra: list[type]
) -> benchmark.BenchmarkResult:
    settings = BenchmarkSettings(metrics=("mse",), n_cells=20, n_resamples=20, judge=judge)
    return benchmark.run(screen, [split], ["no_change", *extra], out=out, settings=settings)


def test_a_run_with_a_judge(
    real: AnnData, seen: Split, tmp_path: Path, shift_class: type, failing_class: type
):
    needs_judge()
    out = tmp_path / "out"
    result = run(real, seen, out, "vcc2026", [shift_class, failing_class])
    judged = result.judged
    assert judged is not None
    assert tuple(judged) == COLUMNS
    assert len(judged) == 4 * 7
    is_failed = judged["predictor"] == "failing"
    assert judged.loc[is_failed, "status"].eq("HiddenError: no luck today").all()
    assert judged.loc[~is_failed & (judged["metric"] == ERROR), "value"].notna().all()
    # Control cells of training against held-out ones; the ceiling are the training cells.
    error = judged[judged["metric"] == ERROR].set_index("predictor")["value"]
    assert error["no_change"] == pytest.approx(1, abs=0.3)
    assert error["ceiling"] == pytest.approx(0, abs=0.1)
    read = pd.read_csv(out / "judge.csv")
    pd.testing.assert_frame_equal(read, judged, check_dtype=False)
    page = (out / "report.html").read_text("utf-8")
    assert "Judged by vcc2026, cell-eval2" in page
    again = run(real, seen, out, "vcc2026", [shift_class, failing_class])
    pd.testing.assert_frame_equal(again.judged, judged, check_dtype=False)
    with pytest.raises(ValueError, match=r"judge was 'vcc2026, cell-eval2 .*' and is None"):
        run(real, seen, out, None, [shift_class])


def test_combinations_are_said_to_keep_their_targets(caplog: pytest.LogCaptureFixture):
    """Two genes are measured targets, and a third condition is both."""
    needs_judge()
    screen = draw_screen(0)
    names = {"P1": "0", "P2": "1", "P3": "0+1"}
    screen.obs["perturbation"] = screen.obs["perturbation"].replace(names)
    with caplog.at_level("INFO", "scbig"):
        for _ in range(2):  # as for two splits
            make_judge(screen, screen)
    said = [record.message for record in caplog.records]
    assert len(said) == 1
    assert "1 combinations, such as '0+1', are no gene to it" in said[0]
    screen.obs["perturbation"] = screen.obs["perturbation"].replace({"0+1": "P3"})
    caplog.clear()
    make_judge(screen, screen)
    assert not caplog.records


def test_other_errors_than_refusals_are_not_kept_as_scores(
    judge: FieldJudge, monkeypatch: pytest.MonkeyPatch
):
    def refuse(self: ContextJudge, *arguments: object) -> pd.DataFrame:
        raise error

    monkeypatch.setattr(ContextJudge, "score", refuse)
    error: Exception = ValueError("no such thing")
    assert judge.score(draw_screen(1))["status"].eq("no such thing").all()
    error = KeyError("accident")
    with pytest.raises(KeyError, match="accident"):
        judge.score(draw_screen(1))


def test_real_counts_are_read_once(judge: FieldJudge, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ContextJudge, "score", lambda self, cells: self.get_failed("not asked"))
    monkeypatch.delattr("scbig.data._cell_eval.get_counts")
    shown = draw_screen(1)
    shown.X = shown.X.toarray() + 0.3  # no counts: rounded at depths of real control cells
    assert judge.score(shown)["status"].eq("not asked").all()


def test_without_a_judge_nothing_is_asked(real: AnnData, seen: Split, tmp_path: Path):
    result = run(real, seen, tmp_path / "out", None, [])
    assert result.judged is None
    assert not (tmp_path / "out" / "judge.csv").exists()
    assert "Judged by" not in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_a_judge_that_is_not_there(
    real: AnnData, seen: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(ValueError, match=r"no judge 'vcc2027'. Those known: \['vcc2026'\]"):
        BenchmarkSettings(judge="vcc2027")
    monkeypatch.setitem(sys.modules, "cell_eval2", None)
    with pytest.raises(ImportError, match=r"pip install 'scbig-perturb\[vcc\]'"):
        run(real, seen, tmp_path / "out", "vcc2026", [])


@pytest.mark.slow
def test_cells_without_counts_are_refused_before_training(
    real: AnnData, seen: Split, tmp_path: Path, shift_class: type
):
    needs_judge()
    spoilt = real.copy()
    spoilt.X = spoilt.X * 1.01
    with pytest.raises(ValueError, match=r"neither counts nor log1p of normalised counts"):
        run(spoilt, seen, tmp_path / "out", "vcc2026", [shift_class])
    assert shift_class.trained_on == []
    # The screen's own counts are read, and no predictor is shown them.
    spoilt.layers["counts"] = spoilt.obsm["counts"]
    result = run(spoilt, seen, tmp_path / "counts", "vcc2026", [])
    assert result.judged["status"].eq("ok").all()

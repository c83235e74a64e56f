"""The whole run: what predictors are given, what is scored, and what a rerun repeats."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig import benchmark
from scbig.benchmark import BenchmarkSettings
from scbig.data import infer_schema
from scbig.splits import Split, get_roles, make_split, read_splits

COLUMNS = [
    "predictor", "split", "seed", "perturbation", "context", "metric", "value", "status",
    "seconds", "peak_memory_mb",
]  # fmt: skip
FLOORS = ["no_change", "train_mean"]


def get_dense(adata: AnnData) -> np.ndarray:
    return adata.X.toarray().astype(float)


@pytest.fixture(scope="module")
def result(
    screen: AnnData,
    unseen: Split,
    additive: Split,
    settings: BenchmarkSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> benchmark.BenchmarkResult:
    out = tmp_path_factory.mktemp("bench") / "out"
    return benchmark.run(screen, [unseen, additive], FLOORS, out=out, settings=settings)


def test_every_score_has_a_row(
    result: benchmark.BenchmarkResult, screen: AnnData, unseen: Split, additive: Split
):
    scores = result.scores
    assert list(scores) == COLUMNS
    n_conditions = len(unseen.test) + len(additive.test)
    assert len(scores) == 3 * 2 * n_conditions  # two floors and the ceiling, two metrics
    assert scores["status"].str.startswith("ok").all()
    assert scores["value"].notna().all()
    assert set(scores["predictor"]) == {*FLOORS, "ceiling"}
    tested = set(scores["perturbation"])
    assert tested == {"+".join(t) for t in (*unseen.test, *additive.test)}
    assert scores["seed"].unique().tolist() == [0, 1]  # those of the splits
    assert (scores["peak_memory_mb"] > 50).all()
    assert result.failures == {}


def test_values_are_those_of_numpy(
    result: benchmark.BenchmarkResult, screen: AnnData, additive: Split
):
    """`train_mean` adds the mean training effect; the noise of the drawn controls cancels."""
    role = get_roles(screen.obs, additive, infer_schema(screen))
    x, labels = get_dense(screen), screen.obs["perturbation"].astype(str).to_numpy()
    control = x[role == "control"].mean(axis=0)
    trained = sorted(set(labels[np.isin(role, ["train", "val"])]))
    effect = np.mean([x[labels == label].mean(axis=0) - control for label in trained], axis=0)
    rows = result.scores[
        (result.scores["split"] == additive.name)
        & (result.scores["predictor"] == "train_mean")
        & (result.scores["metric"] == "pearson_delta")
    ]
    assert len(rows) == len(additive.test)
    for row in rows.itertuples():
        real = x[labels == row.perturbation].mean(axis=0) - control
        assert row.value == pytest.approx(np.corrcoef(real, effect)[0, 1], abs=0.05)


def test_the_tables_are_written(result: benchmark.BenchmarkResult, unseen: Split, screen: AnnData):
    folder = result.folder
    read = pd.read_csv(folder / "scores.csv", keep_default_na=False, na_values={"value": [""]})
    pd.testing.assert_frame_equal(read, result.scores, check_exact=False, check_dtype=False)
    assert len(pd.read_csv(folder / "summary.csv")) == len(result.summary)
    assert len(pd.read_csv(folder / "comparison.csv")) == len(result.comparison)
    assert read_splits(folder / "splits.json", infer_schema(screen))[unseen.name] == unseen
    config = json.loads((folder / "config.json").read_text())
    assert config["fixed"]["screen"]["n_cells"] == screen.n_obs
    assert config["fixed"]["metrics"] == ["pearson_delta", "mse"]
    assert config["versions"]["scbig"]
    assert config["splits"][unseen.name]["test"] == [list(t) for t in unseen.test]
    assert "<html" in (folder / "report.html").read_text("utf-8")


def test_means_are_plain_means_of_the_scores(result: benchmark.BenchmarkResult):
    mean = result.scores.groupby(["split", "predictor", "metric"])["value"].mean()
    rows = result.summary[
        (result.summary["split"] != "pooled") & (result.summary["kind"] == "all")
    ]
    found = rows.set_index(["split", "predictor", "metric"])["mean"]
    pd.testing.assert_series_equal(found.sort_index(), mean.sort_index(), check_names=False)
    kinds = result.summary.loc[result.summary["task"] == "unseen", "kind"].unique()
    assert {"all", "unseen_single", "seen1"} <= set(kinds)


def test_a_stranger_is_trained_on_what_is_not_held_out(
    screen: AnnData, unseen: Split, settings: BenchmarkSettings, tmp_path: Path, shift_class: type
):
    found = benchmark.run(
        screen, [unseen], ["no_change", shift_class], out=tmp_path, settings=settings
    )
    [seen] = shift_class.trained_on
    held_out = {"+".join(targets) for targets in unseen.test}
    assert held_out.isdisjoint(seen)
    assert set(seen) | held_out == set(screen.obs["perturbation"])
    own = found.scores[found.scores["predictor"] == "shift"]
    assert (own["status"] == "ok").sum() >= len(unseen.test)  # of pearson_delta and mse
    x, labels = get_dense(screen), screen.obs["perturbation"].astype(str).to_numpy()
    control = x[labels == "control"].mean(axis=0)
    row = own[own["metric"] == "mse"].iloc[0]
    real = x[labels == row["perturbation"]].mean(axis=0)
    assert row["value"] == pytest.approx(np.mean((control + 0.5 - real) ** 2), rel=0.2)
    assert set(screen.obs) == {"perturbation", "batch", "n_targets"}  # left as it was


def test_a_predictor_that_fails_costs_its_own_scores_only(
    screen: AnnData,
    unseen: Split,
    settings: BenchmarkSettings,
    tmp_path: Path,
    failing_class: type,
):
    predictors = ["no_change", failing_class]
    found = benchmark.run(screen, [unseen], predictors, out=tmp_path, settings=settings)
    own = found.scores[found.scores["predictor"] == "failing"]
    assert len(own) == 2 * len(unseen.test)
    assert set(own["status"]) == {"HiddenError: no luck today"}
    assert own["value"].isna().all()
    assert found.failures == {f"{unseen.name}, seed 0, failing": "HiddenError: no luck today"}
    others = found.scores[found.scores["predictor"] != "failing"]
    assert others["value"].notna().all()
    failed = found.summary[found.summary["predictor"] == "failing"]
    assert (failed["n"] == 0).all()


def test_a_failed_part_is_tried_again(
    screen: AnnData, unseen: Split, settings: BenchmarkSettings, tmp_path: Path, shift_class: type
):
    class Lucky(shift_class):
        default_key = "lucky"
        is_lucky = False

        def train(self, *, validation: object = None, use_refit: bool = True) -> None:
            if not self.is_lucky:
                raise RuntimeError("not yet")

    first = benchmark.run(screen, [unseen], ["no_change", Lucky], out=tmp_path, settings=settings)
    assert list(first.failures.values()) == ["RuntimeError: not yet"]
    Lucky.is_lucky = True
    again = benchmark.run(screen, [unseen], ["no_change", Lucky], out=tmp_path, settings=settings)
    assert again.failures == {}
    # The correlation of a constant shift is not defined, and its row says so.
    assert set(again.scores.loc[again.scores["metric"] == "mse", "status"]) >= {"ok"}


def test_a_rerun_repeats_nothing_that_is_finished(
    screen: AnnData,
    unseen: Split,
    additive: Split,
    settings: BenchmarkSettings,
    tmp_path: Path,
    shift_class: type,
):
    class Interrupted(shift_class):
        default_key = "interrupted"
        calls = 0

        def train(self, *, validation: object = None, use_refit: bool = True) -> None:
            Interrupted.calls += 1
            if Interrupted.calls == 2:  # on the second split, once
                raise KeyboardInterrupt

    splits, predictors = [unseen, additive], ["no_change", Interrupted]
    with pytest.raises(KeyboardInterrupt):
        benchmark.run(screen, splits, predictors, out=tmp_path, settings=settings)
    finished = sorted(p.name for p in (tmp_path / "parts").iterdir())
    assert len(finished) == 4  # three of the first split, and no_change of the second
    shown: list[benchmark.Progress] = []
    found = benchmark.run(
        screen, splits, predictors, out=tmp_path, settings=settings, progress=shown.append
    )
    assert Interrupted.calls == 3
    assert [p.running for p in shown] == [
        f"{additive.name}, seed 1, interrupted", f"{additive.name}, seed 1, ceiling", "",
    ]  # fmt: skip
    assert (shown[0].n_done, shown[0].n_total) == (4, 6)
    whole = benchmark.run(screen, splits, predictors, out=tmp_path / "new", settings=settings)
    columns = ["predictor", "split", "perturbation", "metric", "value", "status"]
    pd.testing.assert_frame_equal(found.scores[columns], whole.scores[columns])


def test_predictors_splits_and_seeds_can_be_added(
    screen: AnnData, unseen: Split, settings: BenchmarkSettings, tmp_path: Path
):
    benchmark.run(screen, [unseen], ["no_change"], out=tmp_path, settings=settings)
    more = BenchmarkSettings(
        seeds=(0, 4), metrics=settings.metrics, n_cells=settings.n_cells, n_resamples=50
    )
    shown: list[benchmark.Progress] = []
    found = benchmark.run(
        screen, [unseen], ["no_change", "additive"], out=tmp_path, settings=more,
        progress=shown.append,
    )  # fmt: skip
    assert len(shown) == 3 + 1  # all but no_change and the ceiling with seed 0, and the end
    assert found.scores.groupby("predictor")["seed"].unique().map(list).to_dict() == {
        "additive": [0, 4], "no_change": [0, 4], "ceiling": [0],
    }  # fmt: skip


def test_another_configuration_is_refused(
    screen: AnnData, unseen: Split, settings: BenchmarkSettings, tmp_path: Path
):
    benchmark.run(screen, [unseen], ["no_change"], out=tmp_path, settings=settings)
    other = screen.copy()
    other.X = other.X * 1.01
    with pytest.raises(ValueError, match=r"screen.fingerprint was .*use_overwrite=True"):
        benchmark.run(other, [unseen], ["no_change"], out=tmp_path, settings=settings)
    fewer = Split(unseen.name, "unseen", 0, unseen.test[:2])
    with pytest.raises(ValueError, match="another split 'unseen_seed0'"):
        benchmark.run(screen, [fewer], ["no_change"], out=tmp_path, settings=settings)


def test_contexts_are_those_of_the_split(
    screen: AnnData, settings: BenchmarkSettings, tmp_path: Path
):
    schema = infer_schema(screen, context_keys=["batch"])
    split = make_split(screen, "context", schema=schema, context="batch_2")
    found = benchmark.run(
        screen, [split], ["train_mean"], out=tmp_path / "a", schema=schema, settings=settings
    )
    assert set(found.scores["context"]) == {"batch_2"}
    assert len(found.scores) == 2 * 2 * len(split.test)
    with pytest.raises(ValueError, match=r"within the contexts \['batch'\].*read with none"):
        benchmark.run(screen, [split], ["train_mean"], out=tmp_path / "b", settings=settings)


def test_low_sample_splits_are_pooled_by_their_size(
    screen: AnnData, settings: BenchmarkSettings, tmp_path: Path
):
    splits = [make_split(screen, "low_sample", n_cells=n) for n in (2, 4)]
    found = benchmark.run(
        screen, {s.name: s for s in splits}, ["train_mean"], out=tmp_path, settings=settings
    )
    assert found.summary["task"].unique().tolist() == ["low_sample2", "low_sample4"]


def test_what_cannot_be_run_is_refused_before_anything_is_written(
    screen: AnnData, unseen: Split, tmp_path: Path
):
    counts = screen.copy()
    counts.X = counts.layers["counts"]
    with pytest.raises(ValueError, match="raw counts"):
        benchmark.run(counts, [unseen], ["no_change"], out=tmp_path)
    nothing = Split("none", "custom", 0, ())
    with pytest.raises(ValueError, match="Split 'none' tests nothing"):
        benchmark.run(screen, [nothing], ["no_change"], out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_log_names_a_failure(
    screen: AnnData,
    unseen: Split,
    settings: BenchmarkSettings,
    tmp_path: Path,
    failing_class: type,
    caplog: pytest.LogCaptureFixture,
):
    with caplog.at_level(logging.WARNING, logger="scbig"):
        benchmark.run(
            screen, [unseen], ["no_change", failing_class], out=tmp_path, settings=settings
        )
    assert "failing failed: HiddenError: no luck today" in caplog.text


@pytest.mark.slow
def test_scbig_runs_beside_the_baselines(
    screen: AnnData, unseen: Split, settings: BenchmarkSettings, tmp_path: Path
):
    names = ["no_change", "scbig_anchor"]
    found = benchmark.run(screen, [unseen], names, out=tmp_path, settings=settings)
    own = found.scores[found.scores["predictor"] == "scbig_anchor"]
    assert own["value"].notna().all()
    assert found.failures == {}

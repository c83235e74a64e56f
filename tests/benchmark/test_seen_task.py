"""The seen task: halves of cells on both sides, and none on both; floors of its own."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig import benchmark
from scbig.baselines import FLOORS, OwnMean
from scbig.benchmark import BenchmarkSettings, get_predictor_names
from scbig.benchmark._settings import resolve_predictors
from scbig.benchmark._split_run import read_split, take_cells
from scbig.data import infer_schema
from scbig.metrics import METRICS
from scbig.model._effect_regression import Shifted
from scbig.splits import Split, get_roles, make_split

SETTINGS = BenchmarkSettings(metrics=("pearson_delta", "mse"), n_cells=400, n_resamples=20)


@pytest.fixture(scope="module")
def seen(screen: AnnData) -> Split:
    return make_split(screen, "seen", seed=0)


@pytest.fixture(scope="module")
def result(
    screen: AnnData, seen: Split, tmp_path_factory: pytest.TempPathFactory
) -> benchmark.BenchmarkResult:
    names = ["no_change", "own_mean", "shifted", "scbig_anchor"]
    out = tmp_path_factory.mktemp("seen") / "out"
    return benchmark.run(screen, [seen], names, out=out, settings=SETTINGS)


def get_values(result: benchmark.BenchmarkResult, predictor: str, metric: str) -> pd.Series:
    rows = result.scores[
        (result.scores["predictor"] == predictor) & (result.scores["metric"] == metric)
    ]
    return rows.set_index("perturbation")["value"]


def test_every_condition_is_scored_and_the_report_is_written(
    result: benchmark.BenchmarkResult, screen: AnnData
):
    assert result.failures == {}
    assert result.scores["status"].str.startswith("ok").mean() > 0.7  # no_change has no direction
    assert set(result.scores["perturbation"]) == set(screen.obs["perturbation"]) - {"control"}
    assert set(result.summary["kind"]) == {"all"}
    assert set(result.summary["task"]) == {"seen"}
    assert set(result.comparison["floor"]) <= {"no_change", "own_mean", "shifted"}
    assert "own_mean" in (result.folder / "report.html").read_text("utf-8")


def test_scores_of_own_mean_are_those_of_the_training_half(
    result: benchmark.BenchmarkResult, screen: AnnData, seen: Split
):
    """Effects of both halves are taken to the controls of the same half."""
    role = get_roles(screen.obs, seen, infer_schema(screen))
    x, labels = screen.X.toarray().astype(float), screen.obs["perturbation"].astype(str)
    is_control, is_test = (labels == "control").to_numpy(), role == "test"
    before, after = (x[is_control & mask].mean(axis=0) for mask in (~is_test, is_test))
    deltas, errors = (get_values(result, "own_mean", name) for name in ("pearson_delta", "mse"))
    assert len(deltas) == len(seen.test)
    for label in deltas.index:
        own = (labels == label).to_numpy()
        effect = x[own & ~is_test].mean(axis=0) - before
        real = x[own & is_test].mean(axis=0)
        expected = np.corrcoef(effect, real - after)[0, 1]
        assert deltas[label] == pytest.approx(expected, abs=0.02)
        assert errors[label] == pytest.approx(np.mean((after + effect - real) ** 2), rel=0.1)


def test_the_ceiling_is_the_training_half(
    result: benchmark.BenchmarkResult, screen: AnnData, seen: Split
):
    role = get_roles(screen.obs, seen, infer_schema(screen))
    x, labels = screen.X.toarray().astype(float), screen.obs["perturbation"].astype(str)
    is_test = role == "test"
    errors = get_values(result, "ceiling", "mse")
    for label in errors.index:
        # Each half has controls of its own.
        one, other = (
            x[(labels == label) & half].mean(axis=0) - x[(labels == "control") & half].mean(axis=0)
            for half in (~is_test, is_test)
        )
        assert errors[label] == pytest.approx(np.square(one - other).mean(), rel=1e-5)
    rows = result.scores[result.scores["predictor"] == "ceiling"]
    assert set(rows["status"]) == {"ok: training cells against test cells"}


def test_cells_are_looked_at_where_distributions_are_known():
    other, seen = (BenchmarkSettings().resolve({task}) for task in ("unseen", "seen"))
    assert (other.n_cells, seen.n_cells) == (500, None)
    assert other.metrics == tuple(
        n for n in METRICS if METRICS[n].group in ("default", "calibration") and n != "des"
    )
    assert seen.metrics == tuple(name for name in METRICS if name != "des")
    chosen = BenchmarkSettings(metrics=("mse", "realism"), n_cells=30).resolve({"unseen"})
    assert (chosen.metrics[:2], chosen.n_cells) == (("mse", "c2st_auc"), 30)
    assert chosen.resolve({"seen"}) == chosen
    # What needs another library is scored where it is named itself.
    groups = BenchmarkSettings(metrics=("default", "realism", "calibration"))
    groups = groups.resolve({"unseen"})
    assert groups.metrics == seen.metrics
    assert "des" in BenchmarkSettings(metrics=("default", "des")).resolve({"unseen"}).metrics


def test_shifted_is_the_regression_carried_as_a_shift(result: benchmark.BenchmarkResult):
    for metric in ("pearson_delta", "mse"):
        shifted, anchor = (
            get_values(result, name, metric) for name in ("shifted", "scbig_anchor")
        )
        # Cells of the regression have the mean that it is carried to as a shift.
        np.testing.assert_allclose(shifted, anchor, rtol=0.15, atol=0.03)


def test_shifted_does_not_follow_what_others_are_carried_by(
    screen: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Shifted.setup_anndata(screen)
    model = Shifted(screen, seed=0)
    model.train(validation=[])
    expected = model.predict(perturbations=["GENE0001"], n_cells=5).layers["shifted"]
    model.save(tmp_path / "model")
    for name in ("transport_cells", "move_cells"):
        monkeypatch.setattr(f"scbig.data._make_cells.{name}", None)
    loaded = Shifted.load(tmp_path / "model")
    found = loaded.predict(perturbations=["GENE0001"], n_cells=5).layers["shifted"]
    np.testing.assert_array_equal(found, expected)


def test_no_cell_is_on_both_sides(screen: AnnData, seen: Split):
    schema = infer_schema(screen)
    cells = take_cells(screen, read_split(screen.obs, seen, schema), schema)
    train, real = set(cells.train.obs_names), set(cells.real.obs_names)
    assert train.isdisjoint(real)
    assert train | real == set(screen.obs_names)
    controls = cells.get_controls()
    assert set(controls.obs["perturbation"]) == {"control"}
    assert set(controls.obs_names) < train
    held_out = cells.real.obs_names[cells.real.obs["perturbation"] == "control"]
    assert abs(len(held_out) - controls.n_obs) <= 1


def test_predictors_meet_no_test_cell(
    screen: AnnData, seen: Split, tmp_path: Path, shift_class: type, caplog
):
    class Watching(shift_class):
        default_key = "watching"
        met: ClassVar[set[str]] = set()

        def train(self, *, validation: Sequence[str] | None = None, use_refit: bool = True):
            super().train(validation=validation, use_refit=use_refit)
            self.met.update(self.adata.obs_names)

        def predict(self, adata: AnnData | None = None, **options) -> AnnData:
            self.met.update(adata.obs_names)
            return super().predict(adata, **options)

    with caplog.at_level(logging.WARNING, logger="scbig"):
        benchmark.run(screen, [seen], ["no_change", Watching], out=tmp_path, settings=SETTINGS)
    role = get_roles(screen.obs, seen, infer_schema(screen))
    assert Watching.met == set(screen.obs_names[role != "test"])
    assert "in the reference, too" not in caplog.text


def test_other_tasks_have_their_controls_on_both_sides(screen: AnnData, unseen: Split):
    schema = infer_schema(screen)
    cells = take_cells(screen, read_split(screen.obs, unseen, schema), schema)
    controls = set(screen.obs_names[screen.obs["perturbation"] == "control"])
    assert controls <= set(cells.train.obs_names) & set(cells.real.obs_names)
    assert set(cells.get_controls().obs_names) == controls


def test_its_floors_are_added_to_its_tables_only(shift_class: type):
    keys = [floor.default_key for floor in FLOORS]
    added = [spec.name for spec in resolve_predictors([shift_class], {"seen"})]
    assert added == [*keys, "own_mean", "shifted", "shift"]
    assert [spec.name for spec in resolve_predictors([shift_class], {"unseen"})][:-1] == keys
    [spec] = resolve_predictors(["own_mean"], {"seen"})
    assert (spec.predictor_class, spec.is_floor) == (OwnMean, True)
    left_out = set(get_predictor_names()) - set(get_predictor_names(tasks=["unseen"]))
    assert left_out == {"own_mean", "shifted"}
    assert get_predictor_names(tasks=["seen", "unseen"]) == get_predictor_names()

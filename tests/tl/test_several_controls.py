"""Controls with several labels are scored as those with one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scbig
from scbig.data import infer_schema

LABELS = ["NT1", "NT2"]


@pytest.fixture(scope="module")
def guides(screen: AnnData) -> AnnData:
    cells = screen.copy()
    labels = cells.obs["perturbation"].astype(str).to_numpy(dtype=object)
    controls = np.flatnonzero(labels == "control")
    labels[controls], labels[controls[::2]] = LABELS
    cells.obs["perturbation"] = pd.Categorical(labels.astype(str))
    return cells


@pytest.fixture(scope="module")
def tabled(screen: AnnData) -> tuple[AnnData, dict[str, str]]:
    """Two guides of each target, and of the controls."""
    cells = screen.copy()
    labels = cells.obs["perturbation"].astype(str)
    numbers = np.where(np.arange(cells.n_obs) % 2, "1", "2")
    cells.obs["perturbation"] = pd.Categorical(labels.str.replace("+", "/") + "_g" + numbers)
    table = zip(cells.obs["perturbation"], labels, strict=True)
    return cells, dict(table)


def predict(train_on, cells: AnnData, **setup) -> tuple[AnnData, AnnData]:
    cells = cells.copy()
    split = scbig.splits.make_split(cells, "additive", schema=infer_schema(cells, **setup))
    scbig.splits.assign_split(cells, split, infer_schema(cells, **setup))
    train = cells[cells.obs["scbig_split"] != "test"].copy()
    train.obs["perturbation"] = train.obs["perturbation"].cat.remove_unused_categories()
    return train_on(train, **setup).predict(cells.copy(), key_added="mine"), cells


def test_scores_are_those_of_one_label(screen: AnnData, guides: AnnData, train_on):
    metrics = ["mse", "pearson_delta"]
    expected = scbig.tl.evaluate(predict(train_on, screen)[0], "mine", metrics=metrics)
    scores = scbig.tl.evaluate(
        predict(train_on, guides, control=LABELS)[0], "mine", metrics=metrics
    )
    pd.testing.assert_frame_equal(scores, expected, rtol=1e-5)


def test_scores_of_guides_are_those_of_their_genes(screen: AnnData, tabled, train_on):
    cells, table = tabled
    metrics = ["mse", "pearson_delta"]
    annotated, whole = predict(train_on, cells, guide_to_gene=table)
    del annotated.uns["mine"]["schema"]
    scores = scbig.tl.evaluate(annotated, "mine", metrics=metrics, guide_to_gene=table)
    expected = scbig.tl.evaluate(predict(train_on, screen)[0], "mine", metrics=metrics)
    shown = [frame["perturbation"].unique().tolist() for frame in (scores, expected)]
    assert shown[0] == shown[1]
    is_floor = scores["predictor"] != "mine"
    pd.testing.assert_frame_equal(scores[is_floor], expected[is_floor], rtol=1e-5)
    assert set(whole.obs["scbig_split"]) == {"train", "val", "test", "control"}


def test_a_benchmark_of_guides_is_that_of_their_genes(screen: AnnData, tabled, tmp_path):
    cells, table = tabled
    one = run_benchmark(screen, tmp_path / "genes")
    other = run_benchmark(cells, tmp_path / "guides", guide_to_gene=table)
    pd.testing.assert_frame_equal(one, other, rtol=1e-5)


def test_a_benchmark_is_that_of_one_label(screen: AnnData, guides: AnnData, tmp_path):
    one = run_benchmark(screen, tmp_path / "one")
    other = run_benchmark(guides, tmp_path / "two", control=LABELS)
    pd.testing.assert_frame_equal(one, other, rtol=1e-5)


def run_benchmark(cells: AnnData, out: Path, **setup) -> pd.DataFrame:
    """Scores of two baselines on pairs, without what differs from run to run."""
    schema = infer_schema(cells, **setup)
    result = scbig.benchmark.run(
        cells,
        [scbig.splits.make_split(cells, "additive", schema=schema)],
        ["additive", "no_change"],
        out=out,
        schema=schema,
        settings=scbig.benchmark.BenchmarkSettings(metrics=("mse", "pearson_delta")),
    )
    assert not result.failures
    return result.scores.drop(columns=["seconds", "peak_memory_mb"])


def test_files_for_judges_have_all_controls(guides: AnnData, train_on, tmp_path):
    schema = infer_schema(guides, control=LABELS)
    out = train_on(guides, control=LABELS).predict(perturbations=["GENE0001"], n_cells=20)
    predicted, real = scbig.data._cell_eval.make_judged(
        out, layer="additive", schema=schema, real=guides
    )
    n_controls = guides.obs["perturbation"].isin(LABELS).sum()
    for cells in (predicted, real):
        assert (cells.obs["target"] == "non-targeting").sum() == n_controls
        assert not set(cells.obs["target"]) & set(LABELS)

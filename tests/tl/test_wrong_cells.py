"""Wrong matrices are refused, or warned of once, wherever measured cells are scored."""

import re

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

import scbig
from scbig.baselines import NoChange
from scbig.benchmark import BenchmarkSettings, run
from scbig.metrics import Evaluator
from scbig.tl import evaluate, evaluate_cells

METRICS = ["mse"]


@pytest.fixture(scope="module")
def scored() -> AnnData:
    """Give a split screen of 60 genes, with a prediction in a layer; counts are kept aside."""
    adata = scbig.data.simulate_screen(600, 60, n_programs=4, n_targets=6, n_doubles=4, seed=0)
    scbig.pp.split(adata, "additive")
    adata.uns["raw"] = sparse.csr_matrix(adata.layers.pop("counts"), dtype=np.float32)
    NoChange.setup_anndata(adata)
    model = NoChange(adata)
    model.train()
    return model.predict(adata, key_added="mine")


def spoil(scored: AnnData, kind: str) -> AnnData:
    adata, counts = scored.copy(), scored.uns["raw"]
    if kind == "counts":
        adata.X = counts.copy()
        adata.X.data = np.minimum(adata.X.data, 6)
    elif kind == "not logged":
        adata.X = adata.X.expm1()
    elif kind == "not normalised":
        adata.X = counts.log1p()
    else:
        adata.X[5, 5] = float(kind)
    return adata


def score_all(adata: AnnData, path, *, is_log1p: bool = False):
    """Give what scores the cells, each to be called by itself."""
    del adata.uns["raw"]
    split = scbig.splits.make_split(adata, "additive", seed=0)
    settings = BenchmarkSettings(metrics=METRICS, is_log1p=is_log1p)
    schema = scbig.data.infer_schema(adata)
    return {
        "evaluate": lambda: evaluate(adata, "mine", metrics=METRICS, is_log1p=is_log1p),
        "evaluate_cells": lambda: evaluate_cells(
            adata, scored_cells(adata), metrics=METRICS, is_log1p=is_log1p
        ),
        "benchmark": lambda: run(adata, [split], ["no_change"], out=path, settings=settings),
        "evaluator": lambda: Evaluator(adata, schema, metrics=METRICS, is_log1p=is_log1p),
    }


def scored_cells(adata: AnnData) -> AnnData:
    cells = adata[adata.obs["scbig_split"].isin(["test", "control"])].copy()
    cells.X = cells.layers["mine"]
    return cells


DOORS = ("evaluate", "evaluate_cells", "benchmark", "evaluator")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("counts", "raw counts"),
        ("not logged", "as no log1p value does"),
        ("nan", "1 NaN"),
        ("-1", "Scaled or centred"),
        ("1e30", "no count and no logarithm"),
    ],
)
def test_wrong_cells_are_refused(scored, kind, message, door, tmp_path):
    if kind in ("nan", "-1", "1e30"):
        scored = scored.copy()
        scored.X = scored.X.toarray() if sparse.issparse(scored.X) else scored.X
    doors = score_all(spoil(scored, kind), tmp_path / "out")
    with pytest.raises(ValueError, match=message):
        doors[door]()


@pytest.mark.parametrize("door", DOORS)
def test_cells_of_many_depths_are_warned_of_once(scored, door, tmp_path, caplog):
    score_all(spoil(scored, "not normalised"), tmp_path / "out")[door]()
    found = [m for m in caplog.messages if "counts that were not normalised" in m]
    assert len(found) == 1
    assert re.search(r"between \d+ and \d+, in whole numbers", found[0])
    caplog.clear()
    score_all(spoil(scored, "not normalised"), tmp_path / "in", is_log1p=True)[door]()
    assert "normalised" not in caplog.text


@pytest.mark.parametrize("door", DOORS)
def test_right_cells_are_not(scored, door, tmp_path, caplog):
    score_all(scored.copy(), tmp_path / "out")[door]()
    assert "normalised" not in caplog.text

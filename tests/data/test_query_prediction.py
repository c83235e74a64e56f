"""Predictions over a query, by hand, and what is written of them."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scbig.data import (
    GeneMatch,
    Prediction,
    ScreenSchema,
    annotate_query,
    make_query,
    match_genes,
    predict_query,
    write_prediction,
)

SCHEMA = ScreenSchema("perturbation", "control", "+", ("batch",))
GENES = [f"G{i}" for i in range(8)]


def make_shift(query):
    """Add 1 for each target and 10 for context b, and subtract 50 from the first gene."""
    groups = list(query.groups())

    def shift(x, group):
        assert x.dtype == np.float32
        targets, context, _ = groups[group]
        shifted = x + len(targets) + 10 * context
        shifted[:, 0] -= 50
        return shifted

    return shift


def run(query, match, predictor=None, *, control_mean=None, seed=0):
    predictor = make_shift(query) if predictor is None else predictor
    control_mean = np.full(len(match.columns), 3.0) if control_mean is None else control_mean
    return predict_query(query, match, predictor, control_mean=control_mean)


def annotate(adata):
    rng = np.random.default_rng(0)
    return annotate_query(adata, SCHEMA, contexts=("a", "b"), rng=rng)


def test_prediction_by_hand(store, values, obs, storage):
    query = annotate(store(values, storage))
    prediction = run(query, match_genes(pd.Index(GENES), GENES))
    n_targets = obs["perturbation"].map({"control": 0, "G0": 1, "G1": 1, "G0+G1": 2}).astype(int)
    added = (n_targets + 10 * (obs["batch"] == "b")).where(n_targets > 0, 0).to_numpy()
    expected = values[query.source_row] + added[:, None].astype(np.float32)
    expected[n_targets > 0, 0] = 0  # negative values are none
    np.testing.assert_allclose(prediction.expression, expected, rtol=1e-6)
    assert prediction.expression.dtype == np.float32
    assert prediction.counts is None
    assert prediction.kind == "expected"


def test_genes_by_name(adata):
    genes = ["G3", "absent", "G1"]
    match = match_genes(adata.var_names, genes, max_missing=0.5)
    seen = []

    def record(x, group):
        seen.append(x)
        return x + np.array([1, 2, 3], np.float32)

    query = annotate(adata)
    mean = run(query, match, record, control_mean=np.array([7.0, 8.0, 9.0])).expression
    source = adata.X[query.source_row]
    rows = np.flatnonzero(adata.obs["perturbation"] != "control")
    inputs = np.concatenate(seen)
    assert (inputs[:, 1] == 8).all()
    assert sorted(inputs[:, 0]) == sorted(source[rows, 3])
    expected = source.copy()
    expected[rows, 3] += 1
    expected[rows, 1] += 3
    np.testing.assert_allclose(mean, expected, rtol=1e-6)


def test_large_groups_are_predicted_in_pieces(adata, monkeypatch):
    monkeypatch.setattr("scbig.data._write.BATCH_SIZE", 4)
    match = GeneMatch(np.arange(8), (), 0)
    query = annotate(adata)
    sizes = []
    pieces = run(query, match, lambda x, *_: sizes.append(len(x)) or x * 2).expression
    assert max(sizes) == 4
    assert sum(sizes) == 45
    monkeypatch.undo()
    np.testing.assert_array_equal(pieces, run(query, match, lambda x, *_: x * 2).expression)


def test_groups_are_counted_as_the_query_lists_them(adata, monkeypatch):
    """Each piece of a group comes with its number; its rows start from the cells that it got."""
    monkeypatch.setattr("scbig.data._write.BATCH_SIZE", 4)
    query = annotate(adata)
    seen = {}

    def record(x, group):
        seen.setdefault(group, []).append(x)
        return x

    run(query, GeneMatch(np.arange(8), (), 0), record)
    groups = list(query.groups())
    assert list(seen) == list(range(len(groups))) == list(range(6))
    for number, (targets, context, rows) in enumerate(groups):
        np.testing.assert_array_equal(
            np.concatenate(seen[number]), adata.X[query.source_row[rows]]
        )
        assert {SCHEMA.parse(label) for label in adata.obs["perturbation"].iloc[rows]} == {targets}
        assert set(adata.obs["batch"].iloc[rows]) == {"ab"[context]}


def test_what_is_written(adata, tmp_path):
    before, x = adata.X.copy(), np.full(adata.shape, 2.0, np.float32)
    counts = sparse.csr_matrix(np.ones(adata.shape, np.int32))
    confidence = pd.Series(np.linspace(0, 1, 60))
    description = {"class": "Dummy", "schema": {"control": "control"}, "seed": 1}
    query = annotate(adata)
    out = write_prediction(
        query,
        "dummy",
        Prediction(x, counts, query.source_row, "counts"),
        confidence=confidence,
        description=description,
    )
    assert out is adata
    np.testing.assert_array_equal(adata.X, before)
    adata.write_h5ad(tmp_path / "out.h5ad")
    read = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(read.layers["dummy"], x)
    np.testing.assert_array_equal(read.layers["dummy_counts"].toarray(), 1)
    np.testing.assert_allclose(read.obs["dummy_confidence"], confidence, atol=1e-7)
    sources = adata.obs_names.get_indexer(read.obs["dummy_source"])
    np.testing.assert_array_equal(sources, query.source_row)
    assert read.uns["dummy"]["schema"]["control"] == "control"
    assert read.uns["dummy"]["seed"] == 1
    assert read.uns["dummy"]["cells"] == "counts"


def test_new_cells_have_the_prediction_as_expression(adata):
    adata.uns["log1p"] = {"base": 2}
    rng = np.random.default_rng(0)
    query = make_query(adata, SCHEMA, ["G0"], contexts=("a", "b"), n_cells=None, rng=rng)
    prediction = run(query, match_genes(pd.Index(GENES), GENES))
    out = write_prediction(query, "k", prediction, confidence=None, description={})
    np.testing.assert_array_equal(out.X, prediction.expression)
    np.testing.assert_array_equal(out.layers["k"], out.X)
    # scanpy works in place: one of them must not change with the other.
    out.X[:] = 0
    assert out.layers["k"].max() > 0
    assert out.uns["log1p"] == {"base": 2}
    assert out.uns["k"] == {"cells": "expected"}


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_written(adata, value, is_sparse):
    query, x = annotate(adata), np.ones(adata.shape, np.float32)
    x[3, 2] = x[3, 4] = x[7, 0] = value
    wrong = Prediction(sparse.csr_matrix(x) if is_sparse else x, None, query.source_row, "values")
    name = adata.obs_names[3]
    with pytest.raises(ValueError, match=rf"2 of 60 cells is not finite, such as that of '{name}"):
        write_prediction(query, "k", wrong, confidence=None, description={})
    assert "k" not in adata.layers


def test_what_is_left_of_an_earlier_prediction_goes(adata):
    query = annotate(adata)
    x, ones = np.ones(adata.shape, np.float32), np.ones(60)
    counts = sparse.csr_matrix(x)
    whole = Prediction(x, counts, query.source_row, "counts")
    write_prediction(query, "k", whole, confidence=ones, description={"n": 2})
    write_prediction(query, "l", whole, confidence=ones, description={})
    bare = Prediction(2 * x, None, query.source_row, "values")
    write_prediction(query, "k", bare, confidence=None, description={"n": 1})
    assert {"k", "l", "l_counts"} <= set(adata.layers)
    assert "k_counts" not in adata.layers
    assert "k_confidence" not in adata.obs
    assert "l_confidence" in adata.obs
    assert adata.layers["k"].max() == 2
    assert adata.uns["k"] == {"n": 1, "cells": "values"}

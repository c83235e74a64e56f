"""Predictions over a query, by hand, and what is written of them."""

import anndata
import numpy as np
import pandas as pd
import pytest

from scbig.data import (
    GeneMatch,
    Prediction,
    ScreenSchema,
    annotate_query,
    match_genes,
    predict_query,
    write_prediction,
)

SCHEMA = ScreenSchema("perturbation", "control", "+", ("batch",))
GENES = [f"G{i}" for i in range(8)]


def make_shift(query):
    """Add 1 for each target and 10 for context b, and subtract 50 from the first gene."""
    groups = list(query.groups())

    def shift(x, group, rng):
        assert x.dtype == np.float32
        targets, context, _ = groups[group]
        shifted = x + len(targets) + 10 * context
        shifted[:, 0] -= 50
        return shifted

    return shift


def run(query, match, predictor=None, *, control_mean=None, n_samples=1, seed=0):
    predictor = make_shift(query) if predictor is None else predictor
    control_mean = np.full(len(match.columns), 3.0) if control_mean is None else control_mean
    rng = np.random.default_rng(seed)
    return predict_query(
        query, match, predictor, control_mean=control_mean, n_samples=n_samples, rng=rng
    )


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
    np.testing.assert_allclose(prediction.mean, expected, rtol=1e-6)
    assert prediction.mean.dtype == np.float32
    assert prediction.std is None


def test_genes_by_name(adata):
    genes = ["G3", "absent", "G1"]
    match = match_genes(adata.var_names, genes, max_missing=0.5)
    seen = []

    def record(x, group, rng):
        seen.append(x)
        return x + np.array([1, 2, 3], np.float32)

    query = annotate(adata)
    mean = run(query, match, record, control_mean=np.array([7.0, 8.0, 9.0])).mean
    source = adata.X[query.source_row]
    rows = np.flatnonzero(adata.obs["perturbation"] != "control")
    inputs = np.concatenate(seen)
    assert (inputs[:, 1] == 8).all()
    assert sorted(inputs[:, 0]) == sorted(source[rows, 3])
    expected = source.copy()
    expected[rows, 3] += 1
    expected[rows, 1] += 3
    np.testing.assert_allclose(mean, expected, rtol=1e-6)


def test_samples(adata):
    match = match_genes(adata.var_names, GENES)
    query = annotate(adata)

    def noisy(x, group, rng):
        return x + rng.uniform(1, 2, size=x.shape)

    seen = []
    prediction = run(query, match, lambda *a: seen.append(noisy(*a)) or seen[-1], n_samples=4)
    groups = list(query.screen.get_groups())
    for i, (_, _, rows) in enumerate(groups):
        samples = np.stack(seen[4 * i : 4 * i + 4])
        np.testing.assert_allclose(prediction.mean[rows], samples.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(prediction.std[rows], samples.std(axis=0), rtol=1e-5)
    controls = query.screen.is_control
    np.testing.assert_array_equal(prediction.mean[controls], adata.X[controls])
    assert (prediction.std[controls] == 0).all()
    again = run(query, match, noisy, n_samples=4)
    np.testing.assert_array_equal(again.mean, prediction.mean)
    assert (run(query, match, noisy, n_samples=4, seed=1).mean != again.mean).any()
    with pytest.raises(ValueError, match="n_samples=0; give at least 1"):
        run(query, match, n_samples=0)


def test_large_groups_are_predicted_in_pieces(adata, monkeypatch):
    monkeypatch.setattr("scbig.data._write.BATCH_SIZE", 4)
    match = GeneMatch(np.arange(8), (), 0)
    query = annotate(adata)
    sizes = []
    pieces = run(query, match, lambda x, *_: sizes.append(len(x)) or x * 2).mean
    assert max(sizes) == 4
    assert sum(sizes) == 45
    monkeypatch.undo()
    np.testing.assert_array_equal(pieces, run(query, match, lambda x, *_: x * 2).mean)


def test_groups_are_counted_as_the_query_lists_them(adata, monkeypatch):
    """Each piece of a group comes with its number; its rows start from the cells that it got."""
    monkeypatch.setattr("scbig.data._write.BATCH_SIZE", 4)
    query = annotate(adata)
    seen = {}

    def record(x, group, rng):
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
    mean = np.full(adata.shape, 2.0, np.float32)
    confidence = pd.Series(np.linspace(0, 1, 60))
    description = {"class": "Dummy", "schema": {"control": "control"}, "seed": 1}
    out = write_prediction(
        adata,
        "dummy",
        Prediction(mean, mean / 4),
        confidence=confidence,
        description=description,
    )
    assert out is adata
    adata.write_h5ad(tmp_path / "out.h5ad")
    read = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(read.layers["dummy"], mean)
    np.testing.assert_array_equal(read.layers["dummy_std"], mean / 4)
    np.testing.assert_allclose(read.obs["dummy_confidence"], confidence, atol=1e-7)
    assert read.uns["dummy"]["schema"]["control"] == "control"
    assert read.uns["dummy"]["seed"] == 1


def test_what_is_left_of_an_earlier_prediction_goes(adata):
    x = np.ones(adata.shape, np.float32)
    ones = np.ones(60)
    write_prediction(adata, "k", Prediction(x, x), confidence=ones, description={"n": 2})
    write_prediction(adata, "l", Prediction(x, x), confidence=ones, description={})
    write_prediction(adata, "k", Prediction(2 * x, None), confidence=None, description={"n": 1})
    assert {"k", "l", "l_std"} <= set(adata.layers)
    assert "k_std" not in adata.layers
    assert "k_confidence" not in adata.obs
    assert "l_confidence" in adata.obs
    assert adata.layers["k"].max() == 2
    assert adata.uns["k"] == {"n": 1}

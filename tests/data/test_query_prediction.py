"""Predictions over a query, by hand, and what is written of them."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from scbig.data import (
    GeneMatch,
    Prediction,
    PredictMixin,
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


class Dummy(PredictMixin):
    """The least that a model has to bring along; it knows G0 and G1."""

    default_key = "dummy"
    _schema = SCHEMA
    _genes = GENES
    _contexts = ("a", "b")
    _is_log1p = False
    _n_training_steps = 5

    def __init__(self, adata, schema=SCHEMA):
        self._adata = adata
        self._schema = schema

    def _check_trained(self):
        pass

    def _get_seed(self, seed):
        return 11 if seed is None else seed

    def _get_adata(self, adata):
        return self._adata if adata is None else adata

    def _get_control_pool(self):
        return self._adata, self._schema

    def _get_control_mean(self, context):
        return np.zeros(8)

    def _resolve(self, targets):
        return targets

    def _resolve_gene(self, gene, known):
        return None

    def _check_known(self, targets):
        if unknown := set(targets) - {"G0", "G1"}:
            raise ValueError(f"nothing is known of {sorted(unknown)}")

    def _get_confidence(self, targets, context):
        return np.array([1 / (1 + len(t)) for t in targets]) * (1 - 0.5 * context)

    def _predict_cells(self, x, targets, context, rng, *, is_sampled):
        return x + len(targets) + rng.uniform(0, 0.1 if is_sampled else 0, size=x.shape)


@pytest.mark.parametrize("n_samples", [1, 3])
def test_predict_makes_cells_for_scanpy(adata, tmp_path, n_samples):
    out = Dummy(adata).predict(perturbations=["G0", ["G0", "G1"]], n_samples=n_samples, seed=3)
    assert ("dummy_std" in out.layers) == (n_samples > 1)
    out.write_h5ad(tmp_path / "out.h5ad")
    read = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert read.uns["dummy"]["class"] == "Dummy"
    assert read.uns["dummy"]["n_samples"] == n_samples
    assert read.uns["dummy"]["seed"] == 3
    assert set(read.uns["dummy"]["schema"]) == set(SCHEMA.to_dict()) - {"layer", "gene_key"}
    expected = {("G0", "a"): 1 / 2, ("G0", "b"): 1 / 4, ("G0+G1", "a"): 1 / 3}
    values = read.obs.groupby(["perturbation", "batch"], observed=True)["dummy_confidence"].mean()
    for group, value in expected.items():
        assert values[group] == pytest.approx(value)
    assert values["control"].tolist() == [1, 1]
    sc.tl.rank_genes_groups(read, "perturbation", reference="control", layer="dummy")
    assert (read.uns["rank_genes_groups"]["logfoldchanges"]["G0"] > 0).all()


def test_predict_annotates(adata):
    model = Dummy(adata)
    assert model.predict(key_added="k") is adata
    np.testing.assert_array_equal(adata.layers["k"], model.get_predicted_expression())
    other = adata[::-1, [3, 2, 1, 0, 4, 5, 6, 7]].copy()
    assert model.predict(other) is other
    controls = (other.obs["perturbation"] == "control").to_numpy()
    np.testing.assert_array_equal(other.layers["dummy"][controls], other.X[controls])
    assert "dummy" not in adata.layers


def test_predict_checks_its_input(adata):
    model = Dummy(adata)
    bad = adata.copy()
    bad.X[3, 3] = np.nan
    with pytest.raises(ValueError, match="1 NaN"):
        model.predict(bad)
    with pytest.raises(ValueError, match="3 of the model's 8 genes are missing"):
        model.predict(adata[:, :5].copy(), perturbations=["G0"])
    with pytest.raises(ValueError, match=r"nothing is known of \['G9'\]"):
        model.predict(perturbations=["G0", "G9"])
    with pytest.raises(ValueError, match="context_keys='batch' is not a column of obs"):
        model.predict(type(adata)(adata.X, obs=adata.obs[["perturbation"]], var=adata.var))


def test_measured_expression_is_not_overwritten(adata):
    adata.layers["log"] = adata.X.copy()
    model = Dummy(adata, ScreenSchema("perturbation", "control", "+", ("batch",), "log"))
    message = r"layers\['log'\] holds the measured.*key_added='dummy'"
    with pytest.raises(ValueError, match=message):
        model.predict(key_added="log")
    assert "log" in model.predict(perturbations=["G0"], key_added="log").layers
    np.testing.assert_array_equal(adata.layers["log"], adata.X)


def test_confidence_by_label(adata):
    confidence = Dummy(adata).get_confidence(["G0", ["G0", "G1"]])
    assert confidence.index.tolist() == ["G0", "G0+G1"]
    np.testing.assert_allclose(confidence, [0.375, 0.25])
    assert Dummy(adata).get_confidence("G0").to_dict() == {"G0": 0.375}

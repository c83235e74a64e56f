"""Raw counts in X or a layer, as users of scvi-tools have them: normalised as they are read."""

import logging

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from scbig.baselines import Additive
from scbig.data import Expression

WANTED = ["GENE0001"]


@pytest.fixture(scope="module")
def raw() -> AnnData:
    rng = np.random.default_rng(3)
    n_cells, n_genes = 400, 120
    mean = rng.lognormal(-1.0, 1.0, n_genes)
    labels = np.array(["control"] * 250 + ["GENE0001"] * 150)
    ratio = np.ones((n_cells, n_genes))
    ratio[labels == "GENE0001", :30] = 0.3
    counts = rng.poisson(rng.gamma(2.0, rng.lognormal(0, 0.3, (n_cells, 1)) * mean * ratio / 2))
    counts[:, -1] += counts.sum(axis=1) == 0
    adata = AnnData(sparse.csr_matrix(counts, dtype=np.float32))
    adata.obs["perturbation"] = labels
    adata.var_names = [f"GENE{i:04d}" for i in range(n_genes)]
    return adata


def normalise(raw: AnnData, target_sum: float = 1e4) -> AnnData:
    adata = raw.copy()
    adata.layers["counts"] = raw.X.copy()
    sc.pp.normalize_total(adata, target_sum=target_sum)
    sc.pp.log1p(adata)
    return adata


def train(adata: AnnData, **setup) -> Additive:
    Additive.setup_anndata(adata, **setup)
    model = Additive(adata, seed=0)
    model.train()
    return model


def assert_same(one: AnnData, other: AnnData):
    for layer in ("additive", "additive_counts"):
        np.testing.assert_allclose(
            one.layers[layer].toarray(), other.layers[layer].toarray(), atol=2e-5
        )
    assert one.obs["additive_source"].tolist() == other.obs["additive_source"].tolist()


@pytest.mark.parametrize("target_sum", [None, 5000.0])
@pytest.mark.parametrize("layer", [None, "umi"])
def test_counts_are_what_their_log1p_values_are(raw, layer, target_sum, caplog, tmp_path):
    adata = raw.copy()
    if layer is not None:
        adata.layers[layer], adata.X = adata.X, np.full(adata.shape, 0.5, dtype=np.float32)
    with caplog.at_level(logging.INFO, "scbig"):
        model = train(adata, layer=layer, target_sum=target_sum)
    where = "X" if layer is None else "layers['umi']"
    assert f"{where} holds raw counts" in caplog.text
    assert f"normalised to {target_sum or 1e4:g}" in caplog.text
    expected = train(normalise(raw, target_sum or 1e4)).predict(perturbations=WANTED, n_cells=60)
    out = model.predict(perturbations=WANTED, n_cells=60)
    assert_same(out, expected)
    assert out.uns["additive"]["cells"] == "counts"
    assert "log1p" in out.uns
    model.save(tmp_path / "model")
    loaded = Additive.load(tmp_path / "model")
    assert_same(loaded.predict(perturbations=WANTED, n_cells=60), expected)
    # New control cells may be counts too, in the same place.
    assert_same(
        loaded.predict(adata, perturbations=WANTED, n_cells=60),
        model.predict(adata, perturbations=WANTED, n_cells=60),
    )


def test_annotating_leaves_the_counts_alone(raw):
    adata = raw.copy()
    out = train(adata).predict()
    assert out is adata
    assert (out.X != raw.X).nnz == 0
    rows = (out.obs["perturbation"] == "control").to_numpy()
    expected = normalise(raw).X.toarray()
    np.testing.assert_allclose(out.layers["additive"].toarray()[rows], expected[rows], atol=1e-5)
    np.testing.assert_array_equal(
        out.layers["additive_counts"].toarray()[rows], raw.X.toarray()[rows]
    )


def test_a_model_of_log1p_values_reads_counts_at_its_own_sum(raw):
    log1p = normalise(raw, 2000)
    model = train(log1p)
    assert_same(
        model.predict(raw.copy(), perturbations=WANTED, n_cells=60),
        model.predict(log1p, perturbations=WANTED, n_cells=60),
    )


def test_rows_are_normalised_over_all_genes():
    counts = np.array([[1, 3, 0], [0, 0, 0], [2, 2, 4]])
    expected = np.log1p([[0, 25], [0, 0], [50, 25]])
    found = Expression(counts, np.array([2, 0]), target_sum=100)
    np.testing.assert_allclose(found.rows(np.arange(3)), expected, rtol=1e-6)
    (_, chunk), = found.chunks()  # fmt: skip
    np.testing.assert_allclose(chunk, expected, rtol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("target_sum", [0, -1.0, np.nan])
def test_a_sum_that_is_none_is_refused(raw, target_sum):
    with pytest.raises(ValueError, match=r"target_sum=.*(above 0|finite number)"):
        Additive.setup_anndata(raw.copy(), target_sum=target_sum)


@pytest.mark.parametrize("named", [None, "umis"])
@pytest.mark.parametrize("layer", [None, "reads"])
def test_raw_counts_are_those_of_the_layer_with_counts(raw, layer, named):
    adata, kept = raw.copy(), named or "counts"
    if layer is not None:
        adata.layers[layer] = raw.X.copy()
    adata.layers[kept] = raw.X.copy()
    Additive.setup_anndata(adata, layer=layer, counts_layer=named)
    model = Additive(adata, seed=0)
    model.train()
    adata.layers[kept][[7, 300]] *= 2
    where = "X" if layer is None else "layers['reads']"
    message = (
        rf"{where} holds raw counts, and layers['{kept}'].* 2 of 400 cells .* the first is '7'"
    )
    message = message.replace("[", r"\[").replace("]", r"\]")
    with pytest.raises(ValueError, match=message) as error:
        Additive.setup_anndata(adata, layer=layer, counts_layer=named)
    with pytest.raises(ValueError, match=message):
        model.predict(adata, perturbations=WANTED, n_cells=5)
    one, other = str(error.value).rpartition("Keep one of them: ")[2].split(", or: ")
    for line in (one, other):
        mended = adata.copy()
        exec(line, {"adata": mended})
        is_left = kept in mended.layers
        Additive.setup_anndata(mended, layer=layer, counts_layer=named if is_left else None)


def test_empty_cells_to_predict_from_are_counted(raw, caplog):
    model = train(raw.copy())
    further = raw[raw.obs["perturbation"] == "control"].copy()
    rows = np.ones(250)
    rows[5] = 0
    further.X = sparse.csr_matrix(sparse.diags_array(rows) @ further.X)
    assert "zeros" not in caplog.text
    model.predict(further, perturbations=WANTED, n_cells=5)
    assert (
        "1 of 250 control cells and 0 of 0 perturbed cells have nothing but zeros in X"
        in caplog.text
    )

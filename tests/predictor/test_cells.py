"""What `predict` hands out: cells with counts, and the means that were predicted."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from scbig.baselines import Additive, NoChange

WANTED = ["GENE0001", "GENE0002"]


@pytest.fixture(scope="module")
def counted() -> AnnData:
    """Sparse counts of a screen, normalised; rises and falls by half and double."""
    rng = np.random.default_rng(5)
    n_cells, n_genes = 900, 150
    mean = rng.lognormal(-1.2, 1.0, n_genes)
    labels = np.array(["control"] * 500 + ["GENE0001"] * 250 + ["GENE0002"] * 150)
    ratio = np.ones((n_cells, n_genes))
    ratio[labels == "GENE0001", :20] = 0.4
    ratio[labels == "GENE0001", 20:40] = 2.5
    ratio[labels == "GENE0002", 40:50] = 3.0
    size = rng.lognormal(0, 0.3, n_cells) * np.where(labels == "control", 1.0, 1.3)
    rate = size[:, None] * mean * ratio
    counts = rng.poisson(rng.gamma(2.0, rate / 2.0))
    counts[:, -1] += counts.sum(axis=1) == 0
    adata = AnnData(sparse.csr_matrix(counts, dtype=np.float32))
    adata.obs["perturbation"] = labels
    adata.var_names = [f"GENE{i:04d}" for i in range(n_genes)]
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    adata.uns["counts"] = sparse.csr_matrix(counts)
    return adata


@pytest.fixture(scope="module")
def trained(counted: AnnData) -> Additive:
    return train(counted)


def train(adata: AnnData, cls: type = Additive, **setup):
    adata = adata.copy()
    cls.setup_anndata(adata, **setup)
    model = cls(adata, seed=0)
    model.train()
    return model


def get_rows(out: AnnData, label: str) -> np.ndarray:
    return np.flatnonzero((out.obs["perturbation"] == label).to_numpy())


def test_means_are_the_population_mean_and_the_effect(counted: AnnData, trained: Additive):
    out = trained.predict(perturbations=WANTED, n_cells=400)
    for label in WANTED:
        rows = get_rows(out, label)
        assert len(rows) == 400
        # The effect of a condition that was trained on alone is its own mean.
        real = counted[counted.obs["perturbation"] == label].X.mean(axis=0).A1
        np.testing.assert_allclose(out.X[rows].mean(axis=0).A1, real, atol=0.03)


def test_counts_are_whole_and_normalise_to_the_layer(trained: Additive):
    out = trained.predict(perturbations=WANTED)
    counts = out.layers["additive_counts"]
    assert counts.dtype == np.int32
    assert counts.format == "csr"
    again = AnnData(counts.astype(np.float64), obs=out.obs)
    sc.pp.normalize_total(again, target_sum=1e4)
    sc.pp.log1p(again)
    np.testing.assert_allclose(out.layers["additive"].toarray(), again.X.toarray(), atol=2e-6)
    np.testing.assert_array_equal(out.X.toarray(), out.layers["additive"].toarray())
    assert not np.shares_memory(out.X.data, out.layers["additive"].data)


def test_cells_vary_as_real_cells_do(counted: AnnData, trained: Additive):
    out = trained.predict(perturbations=WANTED[:1], n_cells=500)
    mine = out[get_rows(out, WANTED[0])].X.toarray()
    real = counted[counted.obs["perturbation"] == WANTED[0]].X.toarray()
    assert (mine == 0).mean() == pytest.approx((real == 0).mean(), abs=0.01)
    assert mine.var(axis=0).sum() == pytest.approx(real.var(axis=0).sum(), rel=0.1)
    depth = out.layers["additive_counts"][get_rows(out, WANTED[0])].sum(axis=1).A1
    of_real = counted.uns["counts"][(counted.obs["perturbation"] == WANTED[0]).to_numpy()]
    real_depth = np.asarray(of_real.sum(axis=1)).ravel()
    assert np.median(depth) == pytest.approx(np.median(real_depth), rel=0.1)


def test_control_rows_are_control_cells(counted: AnnData, trained: Additive):
    out = trained.predict(perturbations=WANTED)
    rows = get_rows(out, "control")
    sources = counted.obs_names.get_indexer(out.obs["additive_source"])
    assert (counted.obs["perturbation"].iloc[sources] == "control").all()
    np.testing.assert_array_equal(out.X[rows].toarray(), counted.X[sources[rows]].toarray())
    counts = out.layers["additive_counts"][rows].toarray()
    np.testing.assert_array_equal(counts, counted.uns["counts"][sources[rows]].toarray())


def test_a_saved_model_makes_the_same_counts_in_another_process(trained: Additive, tmp_path):
    out = trained.predict(perturbations=WANTED, n_cells=30)
    trained.save(tmp_path / "model")
    script = (
        "import sys, scbig; m = scbig.baselines.Additive.load(sys.argv[1]); "
        f"m.predict(perturbations={WANTED}, n_cells=30).write_h5ad(sys.argv[2])"
    )
    paths = [str(tmp_path / "model"), str(tmp_path / "out.h5ad")]
    subprocess.run([sys.executable, "-W", "ignore", "-c", script, *paths], check=True)
    read = sc.read_h5ad(paths[1])
    assert (read.layers["additive_counts"] != out.layers["additive_counts"]).nnz == 0


def test_a_condition_does_not_depend_on_the_others(trained: Additive):
    alone = trained.predict(perturbations=WANTED[1], n_cells=60)
    among = trained.predict(perturbations=WANTED, n_cells=60)
    counts = [out.layers["additive_counts"][get_rows(out, WANTED[1])] for out in (alone, among)]
    assert (counts[0] != counts[1]).nnz == 0
    other = trained.predict(perturbations=WANTED[1], n_cells=60, seed=4)
    other_counts = other.layers["additive_counts"][get_rows(other, WANTED[1])]
    assert (counts[0] != other_counts).nnz > 0


@pytest.mark.parametrize("label", WANTED)
def test_more_cells_than_controls_are_no_copies(trained: Additive, label: str):
    out = trained.predict(perturbations=[label], n_cells=1200)
    rows = get_rows(out, label)
    assert len(rows) == 1200
    assert len(get_rows(out, "control")) == 500
    assert len(np.unique(out.X[rows].toarray(), axis=0)) == 1200


def test_annotating_leaves_the_expression_alone(counted: AnnData, trained: Additive):
    adata = counted.copy()
    assert trained.predict(adata) is adata
    assert (adata.X != counted.X).nnz == 0
    assert {"additive", "additive_counts"} <= set(adata.layers)
    rows = get_rows(adata, WANTED[0])
    sources = adata.obs_names.get_indexer(adata.obs["additive_source"].iloc[rows])
    assert (adata.obs["perturbation"].iloc[sources] == "control").all()
    controls = get_rows(adata, "control")
    assert (adata.layers["additive"][controls] != adata.X[controls]).nnz == 0
    np.testing.assert_allclose(
        adata.layers["additive"][rows].mean(axis=0), adata.X[rows].mean(axis=0), atol=0.04
    )


def test_scanpy_finds_the_genes_that_change(trained: Additive):
    out = trained.predict(perturbations=WANTED, n_cells=250)
    for layer in (None, "additive"):
        sc.tl.rank_genes_groups(
            out, "perturbation", reference="control", layer=layer, method="wilcoxon"
        )
        top = out.uns["rank_genes_groups"]["names"][WANTED[1]][:8]
        assert {int(name[4:]) for name in top} <= set(range(40, 50))


def test_without_counts_values_are_moved_and_this_is_said(counted: AnnData, caplog):
    smooth = counted.copy()
    smooth.X = smooth.X.toarray() * np.random.default_rng(0).uniform(0.8, 1.2, smooth.shape)
    with caplog.at_level(logging.INFO, logger="scbig"):
        model = train(smooth)
    assert "too few to make cells of counts" in caplog.text
    out = model.predict(perturbations=WANTED, n_cells=300)
    assert out.uns["additive"]["cells"] == "values"
    assert "additive_counts" not in out.layers
    real = np.asarray(smooth[smooth.obs["perturbation"] == WANTED[0]].X).mean(axis=0)
    np.testing.assert_allclose(out.X[get_rows(out, WANTED[0])].mean(axis=0).A1, real, atol=1e-4)


def test_counts_of_a_layer_are_taken_and_checked(counted: AnnData):
    adata = counted.copy()
    adata.layers["mine"] = adata.uns["counts"]
    model = train(adata, counts_layer="mine")
    assert model._cells.share == 1
    travel = model._vocabulary.controls.layers["counts"]
    assert travel.dtype == np.int32
    assert (travel != adata.uns["counts"][:500]).nnz == 0
    adata.layers["mine"] = adata.layers["mine"] + sparse.identity(900, format="csr")[:, :150]
    with pytest.raises(ValueError, match=r"layers\['mine'\]: The counts of .* do not agree"):
        train(adata, counts_layer="mine")
    with pytest.raises(ValueError, match="There is no layer 'other' with counts"):
        train(adata, counts_layer="other")


@pytest.mark.parametrize("cls", [NoChange, Additive])
def test_copies_of_what_is_not_drawn_are_told(counted: AnnData, cls: type, caplog):
    model = train(counted, cls)
    told = model.predict(perturbations=WANTED, n_cells=501, sampling=False)
    rows = get_rows(told, WANTED[0])
    assert len(np.unique(told.X[rows], axis=0)) == 500
    [line] = [text for text in caplog.messages if "are copies" in text]
    assert line.startswith("2 of 1002 predicted rows are copies: no more")
    assert line.endswith("n_cells=500")
    caplog.clear()
    model.predict(perturbations=WANTED, n_cells=500, sampling=False)
    model.predict(counted.copy(), sampling=False)
    if cls is Additive:
        model.predict(perturbations=WANTED, n_cells=501)
    assert "copies" not in caplog.text


def test_no_change_hands_out_control_cells(counted: AnnData):
    out = train(counted, NoChange).predict(perturbations=WANTED, n_cells=40)
    sources = counted.obs_names.get_indexer(out.obs["no_change_source"])
    np.testing.assert_array_equal(out.X, counted.X[sources].toarray())


@pytest.fixture(scope="module")
def narrow(counted: AnnData) -> Additive:
    """Trained on two thirds of the genes, normalised by themselves."""
    adata = counted[:, :100].copy()
    adata.X = narrow_values(counted)
    return train(adata)


def test_genes_that_the_model_does_not_know_have_the_depth_of_the_others(
    counted: AnnData, narrow: Additive
):
    out = narrow.predict(counted[:, ::-1].copy(), perturbations=WANTED, n_cells=500)
    rows, others = get_rows(out, WANTED[1]), np.arange(50)
    counts, values = out.layers["additive_counts"], out.X
    depth = np.asarray(counts.sum(axis=1)).ravel()
    again = np.log1p(counts.toarray() / depth[:, None] * 1e4)
    np.testing.assert_allclose(values.toarray(), again, atol=1e-5)
    # Their mean is that of the control cells, as nearly as cells of one sum have it.
    controls = counted.X[:500, ::-1]
    means = [np.ravel(x[:, others].mean(axis=0)) for x in (values[rows], controls)]
    np.testing.assert_allclose(*means, atol=0.04)
    # Perturbed cells are deeper, in these genes as in those that were measured.
    whole = counted.uns["counts"][:, ::-1].tocsr()
    before = whole[:500].sum(axis=1).A1.astype(float)
    ratio = depth[rows].mean() / before.mean()
    after = narrow._cells.contexts[0].compute_depths(before, (WANTED[1],))
    # Depths give way, by two and a half errors at most, for means that were measured apart.
    moved = np.log(after.mean() / before.mean() / ratio)
    assert 0 < moved < 2.5 * narrow._cells.contexts[0].get_depth_error((WANTED[1],))
    assert ratio > 1.3
    # Deep cells have a mean logarithm with fewer counts for their depth.
    their = counts[rows][:, others].sum() / whole[:500, others].sum()
    assert 1.1 < their < ratio
    made, real = counts[rows].toarray(), whole[get_rows(counted, WANTED[1])].toarray()
    for part in (others, np.arange(50, 150)):
        silent = [np.mean(x[:, part] == 0) for x in (made, real)]
        assert silent[0] == pytest.approx(silent[1], abs=0.05)
        spread = [np.log1p(x[:, part]).var(axis=0).sum() for x in (made, real)]
        # Of cells that are less deep by a seventh.
        assert spread[0] == pytest.approx(spread[1], rel=0.15)


def test_genes_without_counts_keep_the_values_of_the_source_cell(counted: AnnData, narrow):
    wider = sparse.csr_matrix(np.random.default_rng(1).normal(3, 1, (900, 2)), dtype=np.float32)
    values = sparse.hstack([wider, narrow_values(counted)], format="csr")
    adata = AnnData(abs(values), obs=counted.obs.copy())
    adata.var_names = ["protein1", "protein2", *counted.var_names[:100]]
    out = narrow.predict(adata, perturbations=WANTED, n_cells=100)
    sources = adata.obs_names.get_indexer(out.obs["additive_source"])
    np.testing.assert_array_equal(out.X[:, :2].toarray(), adata.X[sources, :2].toarray())
    assert out.layers["additive_counts"][:, :2].nnz == 0
    assert out.layers["additive_counts"][:, 2:].nnz > 0


def narrow_values(counted: AnnData) -> sparse.csr_matrix:
    """Log1p values of the first genes, normalised by themselves."""
    counts = counted.uns["counts"][:, :100].toarray()
    depth = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return sparse.csr_matrix(np.log1p(counts / depth * 1e4), dtype=np.float32)

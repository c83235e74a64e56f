"""Expression of the control cells that predicted cells are made of."""

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from scbig.baselines import Additive
from scbig.tl import source_expression


@pytest.fixture(scope="module")
def model(screen: AnnData, train_on) -> Additive:
    return train_on(screen.copy())


def read(adata: AnnData, names) -> np.ndarray:
    x = adata[names].X
    return x.toarray() if sparse.issparse(x) else np.asarray(x)


@pytest.mark.parametrize("is_given", [False, True])
def test_sources_are_those_that_are_named(screen: AnnData, model: Additive, is_given: bool):
    source = screen[:, ::-1].copy() if is_given else model.controls
    out = model.predict(screen if is_given else None, perturbations=["GENE0001"], n_cells=30)
    x = out.X.copy()
    assert source_expression(out, source, "additive") is None
    expected = read(source[:, out.var_names], out.obs["additive_source"])
    assert sparse.isspmatrix_csr(out.layers["control"])
    np.testing.assert_allclose(out.layers["control"].toarray(), expected, atol=1e-6)
    assert (x != out.X).nnz == 0
    # Control cells are themselves.
    is_control = (out.obs["perturbation"] == "control").to_numpy()
    change = (out.layers["additive"] - out.layers["control"])[is_control]
    assert abs(change).max() < 1e-5


def test_annotated_cells_and_other_names(screen: AnnData, model: Additive):
    cells = model.predict(screen.copy(), key_added="mine")
    source_expression(cells, cells, "mine", key_added="before")
    np.testing.assert_allclose(
        cells.layers["before"].toarray(), read(screen, cells.obs["mine_source"]), atol=1e-6
    )


def test_a_layer_that_was_read_is_read_again(screen: AnnData, train_on):
    cells = screen.copy()
    cells.layers["log"], cells.X = cells.X, np.zeros(cells.shape, dtype=np.float32)
    out = train_on(cells, layer="log").predict(cells, perturbations=["GENE0001"], n_cells=10)
    source_expression(out, cells, "additive")
    expected = read(screen, out.obs["additive_source"])
    np.testing.assert_allclose(out.layers["control"].toarray(), expected, atol=1e-6)


def test_whole_log1p_values_are_taken_where_it_is_said(screen: AnnData, train_on):
    cells = screen.copy()
    cells.X = np.rint(cells.X.toarray() if sparse.issparse(cells.X) else cells.X)
    del cells.layers["counts"]
    model = train_on(cells, is_log1p=True)
    for source in (cells, model.controls):
        given = source if source is cells else None
        out = model.predict(given, perturbations=["GENE0001"], n_cells=10)
        with pytest.raises(ValueError, match="say so: is_log1p=True"):
            source_expression(out, source, "additive")
        source_expression(out, source, "additive", is_log1p=True)
        expected = read(cells, out.obs["additive_source"])
        np.testing.assert_array_equal(out.layers["control"].toarray(), expected)


def test_other_data_are_refused(screen: AnnData, model: Additive):
    out = model.predict(perturbations=["GENE0001"], n_cells=10)
    with pytest.raises(ValueError, match=r"cells are not in source, such as .*model.controls"):
        source_expression(out, screen[:5].copy(), "additive")
    with pytest.raises(ValueError, match="5 genes are not in source"):
        source_expression(out, screen[:, 5:].copy(), "additive")
    with pytest.raises(ValueError, match="no column 'scbig_source'"):
        source_expression(out, screen)
    raw = screen.copy()
    raw.X = raw.layers["counts"].copy()
    with pytest.raises(ValueError, match=r"source holds raw counts.*model.controls"):
        source_expression(out, raw, "additive")
    twice = screen[np.r_[:500, 0]].copy()
    with pytest.raises(ValueError, match="Names of cells of source are not unique"):
        source_expression(out, twice, "additive")

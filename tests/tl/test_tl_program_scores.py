from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from scbig import pp, tl


@pytest.fixture
def adata() -> ad.AnnData:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    adata = ad.AnnData(x)
    adata.var_names = ["A", "B", "C", "D"]
    adata.layers["doubled"] = 2 * x
    pp.set_gene_programs(adata, {"A": "odd", "B": "even", "C": "odd", "D": "even"})
    return adata


def test_scores_are_means(adata: ad.AnnData, tmp_path: Path) -> None:
    assert tl.program_scores(adata) is None
    adata.write_h5ad(tmp_path / "scores.h5ad")
    scores = ad.read_h5ad(tmp_path / "scores.h5ad").obsm["scbig_programs"]
    assert scores.columns.tolist() == ["even", "odd"]
    np.testing.assert_allclose(scores["odd"], [1, 5, 9])
    np.testing.assert_allclose(scores["even"], [2, 6, 10])


def test_layer_and_key(adata: ad.AnnData) -> None:
    tl.program_scores(adata, layer="doubled", key_added="twice")
    np.testing.assert_allclose(adata.obsm["twice"]["odd"], [2, 10, 18])


def test_sparse_and_backed_values(adata: ad.AnnData, tmp_path: Path) -> None:
    adata.X = sparse.csr_matrix(adata.X)
    adata.write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    for screen in (adata, backed):
        tl.program_scores(screen)
        np.testing.assert_allclose(screen.obsm["scbig_programs"]["odd"], [1, 5, 9])
    backed.file.close()


def test_genes_are_matched_by_name(adata: ad.AnnData) -> None:
    subset = adata[:, ["C", "B"]].copy()
    tl.program_scores(subset)
    np.testing.assert_allclose(subset.obsm["scbig_programs"], [[1, 2], [5, 6], [9, 10]])


def test_missing_programs_and_layers_are_refused(adata: ad.AnnData) -> None:
    with pytest.raises(ValueError, match=r"no layer 'scbig'\. Layers found: \['doubled'\]"):
        tl.program_scores(adata, layer="scbig")
    del adata.uns["scbig_programs"]
    with pytest.raises(ValueError, match=r"Run scbig\.pp\.gene_programs"):
        tl.program_scores(adata)

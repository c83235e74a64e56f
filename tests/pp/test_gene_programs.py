import logging
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from scbig import pp
from scbig.pp import _gene_programs
from scbig.priors import GeneEmbedding, GeneGraph, load_gene_embedding, load_string
from scbig.programs import compute_coherence, get_gene_programs

TRUTH = np.repeat(np.arange(4), 10)


@pytest.fixture
def adata() -> ad.AnnData:
    """Programs are planted in the control cells alone; the perturbed ones are noise."""
    rng = np.random.default_rng(0)
    controls = 2 * rng.normal(size=(300, 4))[:, TRUTH] + 0.3 * rng.normal(size=(300, 40))
    x = np.log1p(np.exp(np.vstack([controls, 5 * rng.normal(size=(300, 40))])))
    obs = pd.DataFrame({"perturbation": ["control"] * 300 + ["G00"] * 300})
    obs.index = [f"c{i}" for i in range(600)]
    var = pd.DataFrame({"truth": pd.Categorical(TRUTH.astype(str))})
    var.index = [f"G{i:02d}" for i in range(40)]
    return ad.AnnData(sparse.csr_matrix(x, dtype=np.float32), obs, var)


@pytest.fixture
def graph(adata: ad.AnnData) -> GeneGraph:
    return GeneGraph(tuple(adata.var_names), (TRUTH[:, None] == TRUTH) - np.eye(40), "cliques")


def test_programs_from_the_data_alone(adata: ad.AnnData, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="scbig.pp"):
        assert pp.gene_programs(adata, 4) is None
    column = adata.var["scbig_program"]
    assert column.cat.categories.tolist() == ["P00", "P01", "P02", "P03"]
    assert adjusted_rand_score(TRUTH, column) == 1.0
    np.testing.assert_array_equal(column.cat.codes, get_gene_programs(adata.uns).labels)
    assert "4 programs of 10 to 10 genes from co-expression" in caplog.text


def test_layer_and_labels_can_be_named(adata: ad.AnnData) -> None:
    adata.layers["log1p"] = adata.X.copy()
    adata.X = np.zeros(adata.shape)
    adata.obs["arm"] = adata.obs.pop("perturbation").replace({"control": "plain"})
    pp.gene_programs(adata, 4, layer="log1p", perturbation_key="arm", control="plain")
    assert adjusted_rand_score(TRUTH, adata.var["scbig_program"]) == 1.0


def test_priors_need_no_control_cells(
    adata: ad.AnnData, graph: GeneGraph, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = np.eye(4)[TRUTH] + 0.1 * np.random.default_rng(1).normal(size=(40, 4))
    embedding = GeneEmbedding(tuple(adata.var_names), vectors, "toy")
    del adata.obs["perturbation"]
    with caplog.at_level(logging.INFO, logger="scbig.pp"):
        pp.gene_programs(adata, 4, embedding=embedding, graph=graph)
    programs = get_gene_programs(adata.uns)
    assert adjusted_rand_score(TRUTH, programs.labels) == 1.0
    assert programs.coherence is not None
    assert programs.coherence.p_value == 1 / 201
    assert "toy: 40 of 40 genes; cliques: 40 of 40 genes; edge density 1.0000" in caplog.text


def test_order_of_genes_is_kept_and_does_not_matter(adata: ad.AnnData) -> None:
    order = np.random.default_rng(2).permutation(40)
    shuffled = adata[:, order].copy()
    pp.gene_programs(adata, 7)
    pp.gene_programs(shuffled, 7)
    assert shuffled.var_names.tolist() == adata.var_names[order].tolist()
    assert (shuffled.var["scbig_program"][adata.var_names] == adata.var["scbig_program"]).all()


def test_same_seed_same_programs_also_from_a_sample_of_cells(
    adata: ad.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_gene_programs, "MAX_CONTROL_CELLS", 100)
    other = adata.copy()
    pp.gene_programs(adata, 4, seed=1)
    pp.gene_programs(other, 4, seed=1)
    assert (adata.var["scbig_program"] == other.var["scbig_program"]).all()
    assert adjusted_rand_score(TRUTH, adata.var["scbig_program"]) == 1.0


@pytest.mark.parametrize("use_graph", [True, False])
def test_file_round_trip(
    adata: ad.AnnData, graph: GeneGraph, tmp_path: Path, use_graph: bool
) -> None:
    pp.gene_programs(adata, 4, graph=graph if use_graph else None)
    adata.write_h5ad(tmp_path / "screen.h5ad")
    again = ad.read_h5ad(tmp_path / "screen.h5ad")
    before, after = get_gene_programs(adata.uns), get_gene_programs(again.uns)
    assert after.members == before.members
    assert (after.coherence, after.settings) == (before.coherence, before.settings)
    assert after.source == before.source
    np.testing.assert_array_equal(again.var["scbig_program"].cat.codes, before.labels)


def test_backed_file(adata: ad.AnnData, tmp_path: Path) -> None:
    adata.write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    pp.gene_programs(backed, 4)
    pp.gene_programs(adata, 4)
    assert (backed.var["scbig_program"] == adata.var["scbig_program"]).all()
    backed.file.close()


def test_known_grouping(adata: ad.AnnData, graph: GeneGraph, tmp_path: Path) -> None:
    pp.set_gene_programs(adata, "truth", graph=graph)
    programs = get_gene_programs(adata.uns)
    np.testing.assert_array_equal(programs.labels, TRUTH)
    assert programs.source == "var['truth']: 40 of 40 genes grouped; cliques: 40 of 40 genes"
    assert programs.coherence is not None
    assert programs.coherence.density == pytest.approx(1.0)
    adata.write_h5ad(tmp_path / "known.h5ad")
    assert get_gene_programs(ad.read_h5ad(tmp_path / "known.h5ad").uns).settings == {}


def test_known_grouping_as_mapping(adata: ad.AnnData) -> None:
    pp.set_gene_programs(adata, {"G00": "a", "G01": "b"})
    assert adata.var["scbig_program"].value_counts().to_dict() == {
        "unassigned": 38,
        "a": 1,
        "b": 1,
    }


def test_bad_inputs_are_refused(adata: ad.AnnData) -> None:
    with pytest.raises(ValueError, match="n_programs=21 is too many for 40 genes"):
        pp.gene_programs(adata, 21)
    with pytest.raises(ValueError, match=r"'modules' is not a column of var\..*\['truth'\]"):
        pp.set_gene_programs(adata, "modules")
    with pytest.raises(ValueError, match="control label 'x'"):
        pp.gene_programs(adata, 4, perturbation_key="perturbation", control="x")
    counts = adata.copy()
    counts.X = np.random.default_rng(0).poisson(20, size=adata.shape).astype(np.float32)
    with pytest.raises(ValueError, match="raw counts"):
        pp.gene_programs(counts, 4)
    adata.var_names = ["A", *adata.var_names[1:-1], "A"]
    with pytest.raises(ValueError, match="duplicate gene name"):
        pp.gene_programs(adata, 4)


@pytest.mark.data_kit
def test_priors_make_coherent_programs_on_a_real_screen(data_kit: Path) -> None:
    adata = ad.read_h5ad(data_kit / "papalexi2021.h5ad")
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    graph = load_string(
        data_kit / "priors/9606.protein.links.subset.txt.gz",
        data_kit / "priors/9606.protein.info.subset.txt.gz",
    )
    embedding = load_gene_embedding(data_kit / "priors/gene_embedding_go_string_128.parquet")
    pp.gene_programs(adata, 10, embedding=embedding, graph=graph)
    with_priors = get_gene_programs(adata.uns)
    pp.gene_programs(adata, 10)
    alone = get_gene_programs(adata.uns)
    edges = graph.align(list(adata.var_names)).adjacency
    assert sorted(with_priors.sizes) == [29] + [30] * 9
    assert with_priors.coherence is not None
    assert with_priors.coherence.z_score > 10
    assert with_priors.coherence.density > 2 * compute_coherence(alone.labels, edges).density

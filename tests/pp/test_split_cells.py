"""`pp.split`: makes a split and marks the cells."""

import anndata as ad
import pytest
from anndata import AnnData

import scbig
from scbig.data import infer_schema
from scbig.splits import get_roles, make_split


@pytest.fixture
def adata() -> AnnData:
    return scbig.data.simulate_screen(600, 40, n_programs=4, n_targets=12, n_doubles=10, seed=0)


def test_the_split_is_returned_and_written(adata: AnnData):
    split = scbig.pp.split(adata, "additive", seed=3)
    schema = infer_schema(adata)
    assert split == make_split(adata, "additive", seed=3)
    assert (adata.obs["scbig_split"] == get_roles(adata.obs, split, schema)).all()
    assert set(adata.obs["scbig_split"]) == {"train", "val", "test", "control"}


def test_options_are_passed_on(adata: AnnData):
    genes = sorted(adata.obs.loc[adata.obs["n_targets"] == 1, "perturbation"].unique())[:3]
    split = scbig.pp.split(adata, "unseen", candidates=genes)
    assert {t[0] for t in split.test + split.val if len(t) == 1} <= set(genes)
    split = scbig.pp.split(adata, "replicate", context_keys="batch", context="batch_2")
    assert split.test_contexts == ("batch_2",)
    tested = adata.obs["scbig_split"] == "test"
    assert set(adata.obs.loc[tested, "batch"]) == {"batch_2"}
    assert scbig.pp.split(adata, "low_sample", n_cells=2).n_cells == 2
    assert (adata.obs["scbig_split"] == "unused").any()


def test_a_schema_can_be_given(adata: AnnData):
    adata.obs["what"] = adata.obs["perturbation"].cat.rename_categories({"control": "mock"})
    schema = infer_schema(adata, perturbation_key="what", control="mock")
    split = scbig.pp.split(adata, "context", schema=schema, context_keys="batch", seed=1)
    assert (split.context_keys, split.test_contexts) == (("batch",), ("batch_2",))
    assert scbig.pp.split(adata, "additive", schema=schema).context_keys == ()


def test_the_column_can_be_written_to_a_file(adata: AnnData, tmp_path):
    scbig.pp.split(adata, "unseen")
    adata.write_h5ad(tmp_path / "screen.h5ad")
    read = ad.read_h5ad(tmp_path / "screen.h5ad").obs["scbig_split"]
    assert read.tolist() == adata.obs["scbig_split"].tolist()


def test_an_impossible_split_writes_nothing(adata: AnnData):
    with pytest.raises(ValueError, match="There is no task 'magic'"):
        scbig.pp.split(adata, "magic")
    with pytest.raises(ValueError, match="'dose' is not a column of obs"):
        scbig.pp.split(adata, "context", context_keys="dose")
    assert "scbig_split" not in adata.obs

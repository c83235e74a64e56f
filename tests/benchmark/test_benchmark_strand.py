"""STRAND in the benchmark: only where there are loci."""

from pathlib import Path

import pytest

from scbig.benchmark import Resources, get_predictor_names, get_predictors
from scbig.data import simulate_locus_screen
from scbig.model import STRAND

pytest.importorskip("pyfaidx")


def test_strand_is_left_out_without_loci():
    assert "strand" in get_predictor_names()
    assert "strand" not in get_predictor_names(Resources())
    with pytest.raises(ValueError, match=r"'strand' needs the resource\(s\) \['loci'\]"):
        get_predictors()["strand"].make_predictor(None, Resources(), 0)


def test_strand_is_made_of_its_resources(tmp_path: Path):
    adata, loci, fasta = simulate_locus_screen(tmp_path, n_targets=9, n_genes=40, n_cells=200)
    resources = Resources(loci=loci, fasta=fasta)
    assert "strand" in get_predictor_names(resources)
    described = resources.describe()
    assert described["loci"]["source"] == "simulated loci"
    assert described["loci"] != Resources(loci=loci.take(loci.ids[1:])).describe()["loci"]
    STRAND.setup_anndata(adata, locus_key="locus")
    model = get_predictors()["strand"].make_predictor(adata, resources, 7)
    assert (model._seed, len(model._method.table)) == (7, len(loci))

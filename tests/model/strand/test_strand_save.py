import json

import numpy as np
import pytest

from scbig.model import SCBIG, STRAND


def test_a_saved_model_predicts_the_same_bits_without_data(strand, tmp_path):
    strand.save(tmp_path / "model")
    again = STRAND.load(tmp_path / "model")
    wanted = {"perturbations": ["TARGET001-P1", "TARGET007-P2"], "n_cells": 9}
    mine, theirs = strand.predict(**wanted), again.predict(**wanted)
    for layer in ("strand", "strand_counts"):
        np.testing.assert_array_equal(mine.layers[layer].toarray(), theirs.layers[layer].toarray())
    names = ["TARGET001-P1", "TARGET007-P2"]
    assert again._method.table.loci.records == strand._method.table.loci.records
    np.testing.assert_array_equal(
        again.get_locus_embedding(names), strand.get_locus_embedding(names)
    )
    assert again.comparison_ == strand.comparison_
    assert {p.suffix for p in (tmp_path / "model").iterdir()} == {".json", ".safetensors"}


def test_a_loaded_model_reads_new_places(strand, loci_screen, tmp_path):
    strand.save(tmp_path / "model")
    again = STRAND.load(tmp_path / "model")
    out = again.predict(perturbations=["chr1:900"], n_cells=3, fasta=loci_screen.fasta)
    assert (out.obs["locus"] == "chr1:900").sum() == 3
    again.save(tmp_path / "more")
    assert STRAND.load(tmp_path / "more").predict(perturbations=["chr1:900"], n_cells=2).n_obs == 4


def test_confidence_is_between_zero_and_one_and_travels(strand, tmp_path):
    values = strand.get_confidence(["TARGET001-P1", "TARGET002-P1"])
    assert values.between(0, 1).all()
    strand.save(tmp_path / "model")
    again = STRAND.load(tmp_path / "model").get_confidence(["TARGET001-P1", "TARGET002-P1"])
    np.testing.assert_array_equal(values, again)
    out = strand.predict(perturbations=["TARGET001-P1"], n_cells=2)
    assert out.obs["strand_confidence"].tolist()[2:] == pytest.approx([values.iloc[0]] * 2)


def test_another_class_is_refused_by_name(strand, tmp_path):
    strand.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"holds STRAND, not SCBIG"):
        SCBIG.load(tmp_path / "model")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        strand.save(tmp_path / "model")
    values = json.loads((tmp_path / "model" / "model.json").read_text())
    assert values["method"]["config"]["window"] == 128


def test_an_untrained_model_does_not_predict(loci_screen, strand_config):
    STRAND.setup_anndata(loci_screen.adata)
    model = STRAND(
        loci_screen.adata, loci=loci_screen.loci, fasta=loci_screen.fasta, preset=strand_config
    )
    with pytest.raises(RuntimeError, match="has not been trained"):
        model.predict(perturbations=["TARGET001-P1"])

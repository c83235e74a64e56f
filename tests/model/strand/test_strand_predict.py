from dataclasses import replace

import numpy as np
import pytest
import torch

from scbig._protocols import Predictor
from scbig.model import STRAND
from scbig.priors import Loci, Locus


def test_strand_follows_the_protocol(strand):
    assert isinstance(strand, Predictor)


def test_a_layer_is_written_for_each_locus_and_the_controls(strand):
    out = strand.predict(perturbations=["TARGET001-P1", "TARGET001-P2"], n_cells=7)
    assert out.obs["locus"].value_counts().to_dict() == {
        "control": 7, "TARGET001-P1": 7, "TARGET001-P2": 7
    }  # fmt: skip
    layer = out.layers["strand"].toarray()
    assert layer.min() >= 0
    np.testing.assert_array_equal(layer, out.X.toarray())
    is_control = (out.obs["locus"] == "control").to_numpy()
    source = strand.adata[out.obs["strand_source"].to_numpy()].X.toarray()
    np.testing.assert_array_equal(layer[is_control], source[is_control])
    first, second = (layer[out.obs["locus"] == f"TARGET001-P{i}"] for i in (1, 2))
    assert np.abs(first.mean(0) - second.mean(0)).max() > 1e-3
    assert out.uns["strand"]["class"] == "STRAND"


def test_the_same_seed_gives_the_same_bits_and_another_does_not(strand):
    wanted = {"perturbations": ["TARGET002-P1"], "n_cells": 5}
    first, again, other = (strand.get_predicted_expression(**wanted, seed=i) for i in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_training_data_are_annotated_in_place(strand):
    adata = strand.adata.copy()
    assert strand.predict(adata) is adata
    assert adata.layers["strand"].shape == adata.shape


def test_a_prediction_is_the_cell_and_the_decoded_change(loci_screen, fit_strand):
    model = fit_strand(loci_screen, {"transport": "regression"})
    out = model.predict(perturbations=["TARGET003-P1"], n_cells=6, sampling=False)
    rows = (out.obs["locus"] == "TARGET003-P1").to_numpy()
    x = model.adata[out.obs["strand_source"][rows].to_numpy()].X.toarray()
    vector = model.get_locus_embedding(["TARGET003-P1"]).to_numpy(np.float64)
    context = model.module.context.weight[0].detach().numpy()
    vector = vector * (1 + context[:16]) + context[16:]
    effect = vector @ model.module.effect.weight.detach().numpy().T
    effect += model.module.effect.bias.detach().numpy()
    latent = model.module.latent
    change = effect * float(latent.unit) @ latent.components.numpy()
    mean = np.asarray(model.adata.X[(model.adata.obs["locus"] == "control").to_numpy()].mean(0))
    fallen = 1 + np.minimum(change, 0) / np.maximum(mean, 1e-6)
    expected = x * np.maximum(fallen, 0) + np.maximum(change, 0)
    np.testing.assert_allclose(out.layers["strand"][rows], expected, atol=2e-4)


def test_an_untrained_bridge_without_noise_moves_nothing(loci_screen, fit_strand):
    still = {"use_noise": False, "use_anchor": False, "drop_locus": 0.0}
    model = fit_strand(loci_screen, still, train={"max_steps": 0})
    out = model.predict(perturbations=["TARGET003-P1"], n_cells=4, sampling=False)
    source = model.adata[out.obs["strand_source"].to_numpy()].X.toarray()
    np.testing.assert_allclose(out.layers["strand"], source, atol=1e-5)


def test_a_gene_is_all_of_its_loci_and_a_guide_is_one(strand):
    ids = ["TARGET004-P1", "TARGET004-P2", "TARGET004-P3"]
    ids = [id for id in ids if id in strand._method.table.loci]
    wanted = {"n_cells": 4, "sampling": False}
    both = strand.predict(perturbations=["+".join(ids)], **wanted)
    gene = strand.predict(perturbations=["TARGET004"], **wanted)
    np.testing.assert_array_equal(both.layers["strand"], gene.layers["strand"])


def test_a_pair_of_loci_begins_as_their_sum(loci_screen, fit_strand):
    changes = {"transport": "regression"}
    model = fit_strand(loci_screen, changes, train={"max_locus_steps": 0})
    single = model.get_locus_embedding(["TARGET001-P1", "TARGET002-P1"]).to_numpy()
    pair = model._method.embed([("TARGET001-P1", "TARGET002-P1")], np.array([-1])).numpy()
    np.testing.assert_allclose(pair[0], single.sum(0), atol=1e-5)


def test_embeddings_of_loci_are_found_by_id(strand):
    every = strand.get_locus_embedding()
    assert every.shape == (len(strand._method.table), 16)
    some = strand.get_locus_embedding(["TARGET005-P2", "TARGET001-P1"])
    np.testing.assert_allclose(some, every.loc[some.index], atol=1e-5)


def test_latents_are_principal_components_in_one_unit(strand):
    latents = strand.get_latent_representation()
    assert latents.shape == (900, 6)
    assert np.sqrt(np.square(latents - latents.mean(0)).mean()) == pytest.approx(1, abs=0.05)
    assert latents.std(0)[0] == latents.std(0).max()


# --- loci that were not there ------------------------------------------------------------------


def test_a_place_is_predicted_as_the_locus_at_it(loci_screen, fit_strand):
    model = fit_strand(loci_screen, train={"max_locus_steps": 20, "max_steps": 0})
    locus = next(x for x in loci_screen.loci if x.strand == "+")
    place = f"{locus.chrom}:{locus.start + 1}"  # text counts from 1
    out = model.predict(perturbations=[place], n_cells=3, fasta=loci_screen.fasta)
    assert set(out.obs["locus"]) == {"control", place}
    vectors = model.get_locus_embedding([place, locus.id]).to_numpy()
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)


def test_new_loci_come_with_their_dna(loci_screen, fit_strand):
    first = loci_screen.loci.records[0]
    known = Loci(loci_screen.loci.records[1:], "simulated")
    adata = loci_screen.adata[loci_screen.adata.obs["locus"] != first.id].copy()
    model = fit_strand(loci_screen._replace(adata=adata, loci=known), train={"max_steps": 0})
    with pytest.raises(ValueError, match="TARGET001-P1"):
        model.predict(perturbations=[first.id])
    new = Loci((first,), "simulated")
    with pytest.raises(ValueError, match=r"no DNA to read for 1 loci: \['TARGET001-P1'\]"):
        model.predict(perturbations=[first.id], loci=new)
    out = model.predict(perturbations=[first.id], loci=new, fasta=loci_screen.fasta, n_cells=3)
    assert (out.obs["locus"] == first.id).sum() == 3
    with pytest.raises(ValueError, match="known at another place"):
        model.add_loci(Loci((replace(first, start=5, end=6),), "simulated"))
    with pytest.raises(ValueError, match="belong to hg38"):
        model.add_loci(Loci((Locus("x", "chr1", 5, 6),), "hg38"))


def test_unknown_places_ask_for_the_genome(strand):
    with pytest.raises(ValueError, match=r"DNA of \['chr1:500'\].*fasta="):
        strand.predict(perturbations=["chr1:500"])
    with pytest.raises(ValueError, match="no locus id, guide or gene"):
        strand.predict(perturbations=["NOTHING"])


def test_a_screen_with_an_unknown_label_is_refused_or_has_a_null(loci_screen, fit_strand):
    labels = loci_screen.adata.obs["locus"].astype(str)
    loci_screen.adata.obs["locus"] = labels.where(labels != "TARGET002-P1", "UNLISTED")
    STRAND.setup_anndata(loci_screen.adata)
    with pytest.raises(ValueError, match="UNLISTED"):
        STRAND(loci_screen.adata, loci=loci_screen.loci, fasta=loci_screen.fasta)
    model = fit_strand(loci_screen, missing_locus="unknown", train={"max_steps": 0})
    vectors = model._method.embed([("UNLISTED",), ("OTHER",)], np.array([-1, -1]))
    nothing = torch.zeros(1, 1, 16), torch.zeros(1, 1, dtype=torch.bool)
    with torch.no_grad():
        null = model.module.locus_set(*nothing)[0]
    torch.testing.assert_close(vectors, torch.stack([null, null]))


def test_a_locus_without_dna_is_named(loci_screen):
    STRAND.setup_anndata(loci_screen.adata)
    with pytest.raises(ValueError, match="no DNA to read"):
        STRAND(loci_screen.adata, loci=loci_screen.loci)


def test_two_columns_for_the_loci_are_refused(loci_screen):
    with pytest.raises(ValueError, match="name two columns"):
        STRAND.setup_anndata(loci_screen.adata, locus_key="locus", perturbation_key="gene")
    STRAND.setup_anndata(loci_screen.adata, perturbation_key="gene")


def test_the_plus_of_a_guide_joins_nothing(loci_screen, strand_config):
    labels = loci_screen.adata.obs["locus"].astype(str)
    guides = {id: f"G{i}_+_{i + 100}.23-P1" for i, id in enumerate(loci_screen.loci.ids)}
    loci_screen.adata.obs["guide"] = labels.replace(guides)
    STRAND.setup_anndata(loci_screen.adata, locus_key="guide")
    loci = Loci(tuple(replace(x, guide=guides[x.id]) for x in loci_screen.loci), "simulated")
    model = STRAND(loci_screen.adata, loci=loci, fasta=loci_screen.fasta, preset=strand_config)
    assert model._vocabulary.schema.separator is None
    assert len(model._method.table.find((guides["TARGET001-P1"],))) == 1

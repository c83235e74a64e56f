"""The point of STRAND, on a screen of which the truth is known: start sites of unseen genes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scbig.data import simulate_locus_screen
from scbig.metrics import pearson_delta
from scbig.model import STRAND, STRANDConfig

pytestmark = pytest.mark.slow

CONFIG = STRANDConfig(window=512, bridge_steps=300)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    adata, loci, fasta = simulate_locus_screen(tmp_path_factory.mktemp("full"))
    genes = np.unique([locus.gene for locus in loci])
    chosen = set(np.random.default_rng(0).permutation(genes)[:36])
    return adata, loci, fasta, [locus.id for locus in loci if locus.gene in chosen]


def _average(matrix, labels, names):
    return np.stack([np.asarray(matrix[labels == name].mean(axis=0)).ravel() for name in names])


def _measure(full, **changes):
    """Score unseen loci, their ceiling, and differences of start sites of an unseen gene."""
    torch.set_num_threads(1)
    adata, loci, fasta, held_out = full
    labels = adata.obs["locus"].astype(str).to_numpy()
    train = adata[~np.isin(labels, held_out)].copy()
    STRAND.setup_anndata(train, locus_key="locus")
    model = STRAND(train, loci=loci, fasta=fasta, preset=replace(CONFIG, **changes))
    model.train(accelerator="cpu", use_progress_bar=False)
    out = model.predict(perturbations=held_out, n_cells=100, sampling=False)
    names = out.obs["locus"].astype(str).to_numpy()
    effects = _average(out.layers["strand"], names, held_out)
    effects -= _average(out.layers["strand"], names, ["control"])
    observed = _average(adata.X, labels, held_out) - _average(adata.X, labels, ["control"])
    truth = adata.uns["truth"]["effects"].loc[held_out].to_numpy()
    zero = np.zeros(adata.n_vars)
    genes = np.array([loci[id].gene for id in held_out])
    left, right = np.nonzero(np.triu(genes[:, None] == genes, k=1))
    differences = effects[left] - effects[right]
    score = pearson_delta(observed, effects, zero).mean()
    ceiling = pearson_delta(observed, truth, zero).mean()
    between = pearson_delta(truth[left] - truth[right], differences, zero).mean()
    return score / ceiling, between, np.abs(differences).max()


def test_dna_predicts_unseen_loci_and_tells_start_sites_apart(full):
    share, between, _ = _measure(full)
    assert share > 0.6
    assert between > 0.5


def test_shuffled_dna_says_nothing(full):
    share, between, _ = _measure(full, sequence="shuffled", transport="regression")
    assert abs(share) < 0.25
    assert abs(between) < 0.2


def test_a_gene_name_says_nothing_of_start_sites(full):
    share, _, largest = _measure(full, sequence="gene", transport="regression")
    assert abs(share) < 0.25
    assert largest < 1e-5

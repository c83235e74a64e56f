"""STRAND on the simulated locus screen: held-out genes, twins and ablations.

python docs/scripts/strand_simulated.py strand_simulated.csv [ROW ...]
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA

from scbig.data import simulate_locus_screen
from scbig.metrics import energy_distance, pearson_delta
from scbig.model import STRAND, STRANDConfig

# Rows above the line differ in what is known of a locus, those below in how cells are moved.
ROWS = {
    "STRAND": {},
    "regression, no bridge": {"transport": "regression"},
    "random pairs": {"pairing": "random"},
    "bridge without anchor": {"use_anchor": False},
    "deterministic bridge": {"use_noise": False},
    "joint": {"use_joint": True},
    "joint from the start": {"use_joint": True, "locus_steps": 0, "bridge_steps": 1400},
    "gene-name twin": {"sequence": "gene", "transport": "regression"},
    "shuffled DNA": {"sequence": "shuffled", "transport": "regression"},
    "random DNA": {"sequence": "random", "transport": "regression"},
    "mask: whole window": {"target": "window", "transport": "regression"},
    "no CLIP": {"clip_weight": 0.0, "transport": "regression"},
    "with cross-attention": {"n_readings": 2, "transport": "regression"},
    "with convolutions": {"n_convolutions": 2, "transport": "regression"},
    "window of 512": {"window": 512, "transport": "regression"},
}
SEED = 0
TEST_SHARE = 0.2


def split_genes(loci, seed):
    """Hold out a fifth of the genes, with all of their start sites."""
    genes = np.unique([locus.gene for locus in loci])
    chosen = np.random.default_rng(seed).permutation(genes)[: round(TEST_SHARE * len(genes))]
    return [locus.id for locus in loci if locus.gene in set(chosen)]


def average(matrix, labels, wanted):
    return np.stack([np.asarray(matrix[labels == name].mean(axis=0)).ravel() for name in wanted])


def correlate(left, right):
    """Row-wise correlation; 0 where a row does not vary, as for a twin's differences."""
    return pearson_delta(left, right, np.zeros(left.shape[1]))


def measure(effects, observed, truth, pairs):
    left, right = pairs
    difference = effects[left] - effects[right]
    # What is left of rounding, where two start sites are predicted alike, has no direction.
    difference[np.abs(difference).max(axis=1) < 1e-3] = 0
    return {
        "pearson_delta": correlate(observed, effects).mean(),
        "difference_truth": correlate(truth[left] - truth[right], difference).mean(),
        "difference_observed": correlate(observed[left] - observed[right], difference).mean(),
    }


def measure_cells(predicted, real, labels, real_labels, wanted):
    """Clouds of cells: spread beside the real one, and energy distance in 20 components."""
    pca = PCA(20, random_state=SEED).fit(real[real_labels == "control"])
    ratios, distances = [], []
    for name in wanted:
        mine, theirs = predicted[labels == name], real[real_labels == name]
        ratios.append(mine.std(axis=0) / theirs.std(axis=0).clip(1e-6))
        distances.append(energy_distance(pca.transform(theirs), pca.transform(mine)))
    return {"spread": np.median(np.concatenate(ratios)), "energy": np.mean(distances)}


def run(row, adata, loci, fasta, held_out):
    labels = adata.obs["locus"].astype(str).to_numpy()
    train = adata[~np.isin(labels, held_out)].copy()
    config = replace(STRANDConfig(), **ROWS[row])
    STRAND.setup_anndata(train, locus_key="locus")
    started = time.time()
    model = STRAND(train, loci=loci, fasta=fasta, preset=config, seed=SEED)
    model.train(use_progress_bar=False, accelerator="cpu")
    seconds = time.time() - started
    wanted = {"perturbations": held_out, "n_cells": 200, "seed": SEED}
    out = model.predict(**wanted)
    layer, names = out.layers["strand"].toarray(), out.obs["locus"].astype(str).to_numpy()
    # Expected expression starts from the same control cells everywhere: their draw cancels.
    expected = model.get_predicted_expression(**wanted, sampling=False)
    effects = average(expected, names, held_out) - average(expected, names, ["control"])
    cells = measure_cells(layer, adata.X.toarray(), names, labels, held_out)
    return effects, cells | {"seconds": round(seconds)}


def main():
    torch.set_num_threads(1)
    out, rows = Path(sys.argv[1]), sys.argv[2:] or list(ROWS)
    with tempfile.TemporaryDirectory() as folder:
        adata, loci, fasta = simulate_locus_screen(folder, seed=SEED)
        held_out = split_genes(loci, SEED)
        labels = adata.obs["locus"].astype(str).to_numpy()
        observed = average(adata.X, labels, held_out) - average(adata.X, labels, ["control"])
        truth = adata.uns["truth"]["effects"].loc[held_out].to_numpy()
        genes = np.array([loci[id].gene for id in held_out])
        pairs = np.nonzero(np.triu(genes[:, None] == genes, k=1))
        table = {"ceiling (the truth)": measure(truth, observed, truth, pairs)}
        for row in rows:
            effects, costs = run(row, adata, loci, fasta, held_out)
            table[row] = measure(effects, observed, truth, pairs) | costs
            frame = pd.DataFrame(table).T
            frame.to_csv(out, float_format="%.3f")
            print(frame.loc[row].round(3).to_dict(), row, flush=True)
    print(frame.round(3).to_string())


if __name__ == "__main__":
    main()

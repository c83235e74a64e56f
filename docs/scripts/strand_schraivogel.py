"""STRAND on promoter guides of Schraivogel et al. 2020: a test of the plumbing.

python docs/scripts/strand_schraivogel.py schraivogel2020.h5ad out.csv

There is no genome here. The vectors of the guides are made by this script of their positions,
and guides of a gene have others of the same gene in training: what is learned is which gene.
"""

import sys

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc

from scbig.data import Expression, compute_effects, get_matrix, infer_schema, make_screen
from scbig.metrics import pearson_delta
from scbig.model import STRAND, STRANDConfig
from scbig.priors import GeneEmbedding, TableEncoder, make_loci, parse_guide
from scbig.regression import predict_floors

CHROM = "chr8"  # of all promoters in this panel
LEAST_CELLS = 30
SEED = 0


def is_guide(name):
    try:
        parse_guide(name)
    except ValueError:
        return False
    return True


def read_screen(path):
    """Controls, and guides of promoters that state their position, log1p-normalised."""
    adata = ad.read_h5ad(path)
    labels = adata.obs["guide"].astype(str).where(adata.obs["perturbation"] != "control")
    labels = labels.fillna("control")
    counts = labels.value_counts()
    kept = [x for x in counts.index if is_guide(x) and counts[x] >= LEAST_CELLS]
    adata = adata[labels.isin([*kept, "control"]).to_numpy()].copy()
    adata.obs["locus"] = labels[labels.isin([*kept, "control"])].to_numpy()
    if float(adata.X.max()) > 20:
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
    return adata, sorted(kept)


def make_table(loci):
    """Position on the chromosome, distance to the gene's other guides, strand and TSS label."""
    frame = loci.to_frame()
    others = frame.groupby("gene")["start"]
    centre = (others.transform("sum") - frame["start"]) / (others.transform("count") - 1).clip(1)
    columns = [
        frame["start"] / 1e6,
        np.arcsinh((frame["start"] - centre).where(others.transform("count") > 1, 0)),
        frame["strand"].map({"+": 1.0, "-": -1.0}),
        frame["tss_label"].notna().astype(float),
    ]
    # Neighbourhoods of a megabase, so that a linear layer can tell the promoters apart.
    middles = np.sort(frame.groupby("gene")["start"].median().to_numpy())
    near = np.exp(-np.abs(frame["start"].to_numpy()[:, None] - middles) / 1e5)
    vectors = np.column_stack([*columns, near]).astype(np.float32)
    return GeneEmbedding(loci.ids, vectors, "positions of guides")


def main(path, out):
    adata, guides = read_screen(path)
    loci = make_loci(
        pd.DataFrame({"guide": guides, "chrom": CHROM}), assembly="hg19", coordinates="1-based"
    )
    rng = np.random.default_rng(SEED)
    gene = {guide: parse_guide(guide).gene for guide in guides}
    held_out, validation = [], []
    for name in sorted(set(gene.values())):
        own = rng.permutation([guide for guide in guides if gene[guide] == name]).tolist()
        held_out += own[:1] if len(own) > 1 else []
        validation += own[1:2] if len(own) > 2 else []
    train = adata[~adata.obs["locus"].isin(held_out).to_numpy()].copy()

    STRAND.setup_anndata(train, locus_key="locus", control="control")
    config = STRANDConfig(n_latent=20)
    model = STRAND(train, loci=loci, encoder=TableEncoder(make_table(loci)), preset=config)
    model.train(validation=validation, use_progress_bar=False, accelerator="cpu")
    predicted = model.predict(perturbations=held_out, n_cells=500, seed=SEED, sampling=False)

    schema = infer_schema(adata, perturbation_key="locus", control="control", separator="")
    effects = compute_effects(Expression(get_matrix(adata, None)), make_screen(adata.obs, schema))
    is_test = np.array([targets[0] in held_out for targets in effects.targets])
    trained, test = effects.subset(~is_test), effects.subset(is_test)
    names = [targets[0] for targets in test.targets]
    found = predict_floors(trained, test.targets, test.context, ())
    trained_gene = np.array([gene[targets[0]] for targets in trained.targets])
    found["mean of the gene's other guides"] = np.stack(
        [trained.delta[trained_gene == gene[name]].mean(axis=0) for name in names]
    )
    labels = predicted.obs["locus"].astype(str).to_numpy()
    layer = predicted.layers["strand"]
    control = layer[labels == "control"].mean(axis=0)
    found["STRAND"] = np.stack([layer[labels == name].mean(axis=0) - control for name in names])
    zero = np.zeros(adata.n_vars)
    table = pd.DataFrame(
        {key: pearson_delta(test.delta, e, zero) for key, e in found.items()}, names
    )
    table.T.assign(mean=table.mean()).to_csv(out, float_format="%.3f")
    print(f"{len(guides)} guides of {len(set(gene.values()))} promoters, {len(names)} held out")
    print(table.mean().round(3).to_string())


if __name__ == "__main__":
    main(*sys.argv[1:3])

"""SCBIG on an exported split, measured as its peers are.

    python docs/scripts/peers/scbig_peer.py exchange/additive_seed0 --gene-embedding EMBEDDING

In the environment of scbig.
"""

import argparse
from pathlib import Path

import anndata as ad
import numpy as np
from exchange import CONTROL, N_CELLS, SEED, Cost, read_exchange, write_prediction

from scbig.model import SCBIG, EffectRegression
from scbig.priors import load_gene_embedding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of exchange.py")
    parser.add_argument("--gene-embedding", type=Path)
    parser.add_argument("--regression", action="store_true", help="its regression alone")
    arguments = parser.parse_args()
    train, query = read_exchange(arguments.folder)
    path, cost = arguments.gene_embedding, Cost()
    predictor = EffectRegression if arguments.regression else SCBIG
    embedding = None if path is None else load_gene_embedding(path)
    with cost.measure("train"):
        predictor.setup_anndata(train, perturbation_key="perturbation", control=CONTROL)
        model = predictor(train, gene_embedding=embedding, seed=SEED)
        val = train.obs.loc[train.obs["role"] == "val", "perturbation"].unique().tolist()
        model.train(validation=val or None)
    with cost.measure("predict"):
        predicted = predict(model, train, query)
    print(f"networks in use: {model.uses_networks}")
    source = query.X.toarray()
    write_prediction(query, source, predicted, predictor.default_key, arguments.folder, cost)


def predict(model: SCBIG | EffectRegression, train: ad.AnnData, query: ad.AnnData) -> np.ndarray:
    """Predict the query, whose control cells are drawn anew with the same seed."""
    controls = train[train.obs["perturbation"] == CONTROL].copy()
    labels = query.obs["perturbation"].unique().tolist()
    # Expected expression starts from the same control cells as what the others predict.
    out = model.predict(controls, perturbations=labels, n_cells=N_CELLS, seed=SEED, sampling=False)
    out = out[out.obs["perturbation"] != CONTROL]
    source = out.obs[f"{model.default_key}_source"]
    assert (source.to_numpy() == query.obs["scbig_source"].to_numpy()).all()
    return out.layers[model.default_key]


if __name__ == "__main__":
    main()

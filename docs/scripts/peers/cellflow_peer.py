"""CellFlow on an exported split.

    python docs/scripts/peers/cellflow_peer.py exchange/additive_seed0
    python docs/scripts/peers/cellflow_peer.py exchange/unseen_seed0 --gene-embedding EMBEDDING

In the environment of ``cellflow.txt``. Cells are 50 principal components of the training cells,
and predictions are decoded back to genes by their loadings. A perturbation is a one-hot code of
its gene, or the vector of its gene where an embedding is given, which says something of genes that
were not perturbed in training. Validation conditions are trained on: there is nothing to choose.
"""

import argparse
from pathlib import Path

import anndata as ad
import diffrax
import numpy as np
import optax
import pandas as pd
from cellflow.model import CellFlow
from exchange import (
    CONTROL,
    SEED,
    Cost,
    get_control_mean,
    get_targets,
    read_exchange,
    write_prediction,
)
from sklearn.decomposition import PCA

N_COMPONENTS = 50
N_ITERATIONS = 5000
BATCH_SIZE = 256
TOLERANCE = 1e-3
NONE = "none"
COLUMNS = ("target_1", "target_2")
# Small layers, which one core can train; the defaults are 2,048 to 4,096 wide.
LIGHT = {
    "condition_embedding_dim": 64,
    "cond_output_dropout": 0.5,
    "time_freqs": 128,
    "time_encoder_dims": (128, 128),
    "hidden_dims": (256, 256),
    "decoder_dims": (512, 512),
    "pooling": "mean",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of exchange.py")
    parser.add_argument("--gene-embedding", type=Path, help="parquet, genes by features")
    arguments = parser.parse_args()
    train, query = read_exchange(arguments.folder)
    vectors = read_vectors(train, query, arguments.gene_embedding)
    rows = [i for i, label in enumerate(query.obs["perturbation"]) if is_known(label, vectors)]
    query, cost = query[rows].copy(), Cost()
    with cost.measure("train"):
        pca = PCA(N_COMPONENTS, random_state=SEED).fit(train.X.toarray())
        model = fit(annotate(train, pca, vectors))
    with cost.measure("predict"):
        predicted = pca.inverse_transform(predict(model, query, pca, vectors))
    source = get_control_mean(train)
    write_prediction(query, source, predicted, "cellflow", arguments.folder, cost)


def read_vectors(
    train: ad.AnnData, query: ad.AnnData, embedding: Path | None
) -> dict[str, np.ndarray]:
    """Give each gene that can be predicted a vector, and no gene the zero vector."""
    labels = set(train.obs["perturbation"]) | set(query.obs["perturbation"])
    genes = sorted({gene for label in labels for gene in get_targets(label)})
    if embedding is None:
        trained = sorted(
            {g for label in set(train.obs["perturbation"]) for g in get_targets(label)}
        )
        table = pd.DataFrame(np.eye(len(trained)), index=trained)
    else:
        table = pd.read_parquet(embedding)
    known = [gene for gene in genes if gene in table.index]
    print(f"no vector of {sorted(set(genes) - set(known))}")
    vectors = {gene: table.loc[gene].to_numpy(np.float32) for gene in known}
    return vectors | {NONE: np.zeros(table.shape[1], np.float32)}


def is_known(label: str, vectors: dict[str, np.ndarray]) -> bool:
    """Whether there is a vector of each target of a condition."""
    return all(gene in vectors for gene in get_targets(label))


def get_columns(labels: pd.Series) -> pd.DataFrame:
    """Write the targets of each label into two columns."""
    targets = [(*get_targets(label), NONE, NONE)[:2] for label in labels]
    columns = pd.DataFrame(targets, index=labels.index, columns=list(COLUMNS), dtype="category")
    return columns.assign(is_control=(labels == CONTROL).to_numpy())


def annotate(cells: ad.AnnData, pca: PCA, vectors: dict[str, np.ndarray]) -> ad.AnnData:
    """Lay the cells with a known label out as CellFlow reads them."""
    rows = [is_known(label, vectors) for label in cells.obs["perturbation"]]
    obs = cells.obs[rows]
    out = ad.AnnData(obs=get_columns(obs["perturbation"].astype(str)))
    out.obsm["X_pca"] = pca.transform(cells.X[rows].toarray()).astype(np.float32)
    out.uns["vectors"] = vectors
    return out


def fit(cells: ad.AnnData) -> CellFlow:
    """Train the flow."""
    model = CellFlow(cells, solver="otfm")
    model.prepare_data(
        sample_rep="X_pca",
        control_key="is_control",
        perturbation_covariates={"gene": COLUMNS},
        perturbation_covariate_reps={"gene": "vectors"},
    )
    model.prepare_model(**LIGHT, optimizer=optax.adam(1e-3), seed=SEED)
    model.train(num_iterations=N_ITERATIONS, batch_size=BATCH_SIZE, valid_freq=N_ITERATIONS + 1)
    return model


def predict(
    model: CellFlow, query: ad.AnnData, pca: PCA, vectors: dict[str, np.ndarray]
) -> np.ndarray:
    """Carry the control cells of each condition along the flow."""
    labels = query.obs["perturbation"].astype(str)
    # The control cells are the same, in the same order, for each condition.
    cells = annotate(query[labels == labels.iloc[0]], pca, vectors)
    cells.obs["is_control"] = True
    conditions = get_columns(labels.drop_duplicates()).assign(name=labels.unique())
    predicted = model.predict(
        cells,
        conditions,
        sample_rep="X_pca",
        condition_id_key="name",
        # The default, 1e-5, is near the last digit of single precision and takes many more steps.
        stepsize_controller=diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE),
    )
    return np.concatenate([predicted[label] for label in labels.unique()])


if __name__ == "__main__":
    main()

"""CPA on an exported split.

    python docs/scripts/peers/cpa_peer.py exchange/additive_seed0

In the environment of ``cpa.txt``. CPA reads counts and learns an embedding of each gene that was
perturbed, so that it has none of a gene that was not: such conditions are left out. A tenth of the
cells says when to stop.

``predict`` of CPA returns mean counts of each cell. The logarithm of a mean is far above the mean
of logarithms where counts are small, so that cells are drawn from the negative binomial
distribution that CPA learned, five of each control cell, and treated as measured ones.
"""

import argparse
from pathlib import Path

import anndata as ad
import cpa
import numpy as np
import pandas as pd
from exchange import (
    CONTROL,
    SEED,
    Cost,
    get_control_mean,
    get_targets,
    read_exchange,
    write_prediction,
)

BATCH_SIZE = 512
SHARE_STOP = 0.1
N_DRAWS = 5
MODEL = {
    "n_latent": 32,
    "recon_loss": "nb",
    "doser_type": "linear",
    "n_hidden_encoder": 256,
    "n_layers_encoder": 2,
    "n_hidden_decoder": 256,
    "n_layers_decoder": 2,
    "seed": SEED,
}
PLAN = {
    "n_epochs_pretrain_ae": 10,
    "n_epochs_adv_warmup": 20,
    "n_epochs_mixup_warmup": 10,
    "mixup_alpha": 0.1,
    "lr": 1e-3,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of exchange.py")
    parser.add_argument("--epochs", type=int, default=100, help="at most")
    arguments = parser.parse_args()
    train, query = read_exchange(arguments.folder)
    known = {gene for label in set(train.obs["perturbation"]) for gene in get_targets(label)}
    labels = query.obs["perturbation"].astype(str)
    query = query[[known.issuperset(get_targets(label)) for label in labels]].copy()
    cost = Cost()
    with cost.measure("train"):
        cells = join(train, query)
        model = fit(cells, arguments.folder / "cpa", arguments.epochs)
    with cost.measure("predict"):
        asked = cells[cells.obs["part"] == "ood"].copy()
        model.predict(asked, batch_size=BATCH_SIZE, n_samples=1)
        counts = draw(np.tile(asked.obsm["CPA_pred"], (N_DRAWS, 1)), model)
        query = query[np.tile(np.arange(query.n_obs), N_DRAWS)].copy()
        query.obs_names_make_unique()
    predicted = np.log1p(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * 1e4)
    write_prediction(query, get_control_mean(train), predicted, "cpa", arguments.folder, cost)


def draw(mean: np.ndarray, model: cpa.CPA) -> np.ndarray:
    """Draw counts from the distribution that was learned."""
    size = np.exp(model.module.px_r.detach().cpu().numpy().astype(float))
    return np.random.default_rng(SEED).negative_binomial(size, size / (size + mean))


def join(train: ad.AnnData, query: ad.AnnData) -> ad.AnnData:
    """Put the rows to predict, which are control cells, below those to learn from.

    CPA has to know every label from the beginning, and leaves out the part ``"ood"``.
    """
    is_stop = np.random.default_rng(SEED).random(train.n_obs) < SHARE_STOP
    both = ad.concat([train, query])
    labels = both.obs["perturbation"].astype(str).to_numpy()
    part = [*np.where(is_stop, "test", "train"), *["ood"] * query.n_obs]
    obs = pd.DataFrame({"perturbation": labels, "part": part, "cell_type": "all"})
    obs.index = [f"cell_{i}" for i in range(len(obs))]
    return ad.AnnData(both.layers["counts"].copy(), obs=obs, var=both.var)


def fit(cells: ad.AnnData, folder: Path, epochs: int) -> cpa.CPA:
    """Train the autoencoder."""
    # Without it, version 0.8.1 looks for chemical structures.
    cpa.CPA.pert_smiles_map = {}
    cpa.CPA.setup_anndata(
        cells,
        perturbation_key="perturbation",
        control_group=CONTROL,
        categorical_covariate_keys=["cell_type"],
        is_count_data=True,
    )
    model = cpa.CPA(cells, split_key="part", **MODEL)
    model.train(
        max_epochs=epochs,
        use_gpu=False,
        batch_size=BATCH_SIZE,
        plan_kwargs=PLAN,
        check_val_every_n_epoch=5,
        early_stopping_patience=5,
        save_path=str(folder),
    )
    return model


if __name__ == "__main__":
    main()

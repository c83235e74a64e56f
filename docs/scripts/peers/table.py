"""Put the scores and costs of peers on one split into a table.

    python docs/scripts/peers/table.py exchange/papalexi_seen --cells

Reads what `scbig evaluate` wrote, ``scores_NAME.csv``, and the costs, ``NAME.json``. Means are
over the conditions that all methods in the folder predict; floors and ceiling stand in each file
and are taken once. ``--cells`` adds the AUC of `c2st_auc`, and how many genes `call_de_genes`
calls in predicted cells and in as many held-out ones: as `scbig evaluate --metrics realism`, which
takes the floors again for every method.
"""

import argparse
import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

METRICS = {
    "pearson_delta": "Pearson",
    "pearson_delta_top20": "top 20",
    "pearson_delta_perturbed": "Pearson, perturbed",
    "mse": "MSE ×100",
    "pds_l1": "PDS",
    "energy_distance": "energy",
}
# As many of each method: the power of a test and of a classifier grows with the number of cells.
N_CELLS = 200
# `c2st_auc` refuses fewer cells.
MIN_CLASSIFIED = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of exchange.py")
    parser.add_argument("--cells", action="store_true", help="compare cells, too")
    arguments = parser.parse_args()
    scores = read_scores(arguments.folder)
    values = scores.pivot_table(
        index=["predictor", "perturbation"], columns="metric", values="value", sort=False
    )
    found = scores[scores["metric"] == "mse"].pivot_table(
        index="perturbation", columns="predictor", values="value"
    )
    found = found.dropna()
    print(f"{len(found)} conditions that all predict, of {scores['perturbation'].nunique()}")
    table = values.loc[(slice(None), found.index), :].groupby("predictor", sort=False).mean()
    table = table[[name for name in METRICS if name in table]].rename(columns=METRICS)
    table["MSE ×100"] *= 100
    for path in sorted(arguments.folder.glob("*.json")):
        cost = json.loads(path.read_text())
        for name, value in cost.items():
            table.loc[path.stem, name] = value
        if arguments.cells:
            compared = compare_cells(arguments.folder, path.stem, found.index)
            table.loc[path.stem, ["AUC", "genes", "genes, real"]] = compared
    print(table.round(3).to_csv(sep="|", na_rep=""))


def read_scores(folder: Path) -> pd.DataFrame:
    """Join the tables; floors and ceiling stand in each, and are taken once."""
    tables = [pd.read_csv(path) for path in sorted(folder.glob("scores_*.csv"))]
    keys = ["predictor", "perturbation", "context", "metric"]
    return pd.concat(tables).drop_duplicates(keys)


def compare_cells(folder: Path, name: str, labels: pd.Index) -> list[float]:
    """Mean area under the curve, and numbers of genes called in predicted and held-out cells."""
    import scanpy as sc

    from scbig.metrics import c2st_auc, call_de_genes

    real, predicted = ad.read_h5ad(folder / "screen.h5ad"), ad.read_h5ad(folder / f"{name}.h5ad")
    real = real[(real.obs["scbig_split"] == "test").to_numpy()].copy()
    sc.pp.normalize_total(real, target_sum=1e4)
    sc.pp.log1p(real)
    groups = real.obs["perturbation"].astype(str).to_numpy()
    control = real.X[groups == "control"]
    found = []
    for label in labels:
        rows = np.flatnonzero(predicted.obs["perturbation"] == label)[:N_CELLS]
        cells = predicted.layers[name][rows]
        held_out = real.X[groups == label]
        calls = call_de_genes(held_out, cells, control)
        auc = c2st_auc(held_out, cells) if held_out.shape[0] >= MIN_CLASSIFIED else np.nan
        found.append((auc, calls.is_predicted.sum(), calls.is_real.sum()))
    return np.nanmean(found, axis=0).tolist()


if __name__ == "__main__":
    main()

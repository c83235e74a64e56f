"""Train on two real screens, predict, rank genes, and print what came out.

    python docs/scripts/real_screens.py DATA_FOLDER [--out real_screens.csv]

``papalexi2021`` holds real cells; nothing is held out, and the effect of each knock-out on its
own gene is compared with the data. ``norman2019_resampled`` has real condition means and
simulated cells; the conditions of ``additive_seed0`` are held out and predicted.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc

import scbig


def main() -> None:
    """Run both screens."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data kit")
    parser.add_argument("--out", type=Path, help="CSV file for the figures")
    arguments = parser.parse_args()
    splits = json.loads((arguments.data / "splits" / "norman2019_resampled.json").read_text())
    figures = [
        run(arguments.data / "papalexi2021.h5ad", held_out=[], validation=None),
        run(
            arguments.data / "norman2019_resampled.h5ad",
            held_out=splits["additive_seed0"]["test"],
            validation=splits["additive_seed0"]["val"],
        ),
    ]
    table = pd.concat(figures, ignore_index=True)
    print(table.to_string(index=False))
    if arguments.out is not None:
        table.to_csv(arguments.out, index=False)


def run(path: Path, *, held_out: list[str], validation: list[str] | None) -> pd.DataFrame:
    """Train on one screen and predict: the held-out conditions, or else all of them."""
    adata = ad.read_h5ad(path)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    train = adata[~adata.obs["perturbation"].isin(held_out)].copy()

    start = time.perf_counter()
    scbig.model.SCBIG.setup_anndata(train)
    model = scbig.model.SCBIG(train)
    model.train(validation=validation)
    seconds = time.perf_counter() - start

    wanted = held_out or [name for name in train.obs["perturbation"].unique() if name != "control"]
    out = model.predict(perturbations=wanted)
    sc.tl.rank_genes_groups(out, "perturbation", reference="control", layer="scbig")

    rows = {"train_seconds": seconds, "peak_memory_mb": get_peak_memory()}
    rows |= score(adata, out, wanted)
    ranked = out.uns["rank_genes_groups"]["names"]
    rows["n_ranked"] = len(ranked.dtype.names)
    figures = pd.DataFrame({"metric": rows.keys(), "value": rows.values()})
    figures.insert(0, "screen", path.stem)
    return figures


def score(adata: ad.AnnData, out: ad.AnnData, wanted: list[str]) -> dict[str, float]:
    """Compare predicted with real effects, over genes and on the targets' own genes."""
    real, predicted = get_effects(adata, adata.X), get_effects(out, out.layers["scbig"])
    r = [np.corrcoef(real.loc[name], predicted.loc[name])[0, 1] for name in wanted]
    own = [name for name in wanted if name in adata.var_names]
    falls = [name for name in own if real.loc[name, name] < 0]
    n_right = sum(predicted.loc[name, name] < 0 for name in falls)
    return {
        "pearson_delta": float(np.mean(r)),
        "own_gene_falls": len(falls),
        "own_gene_predicted_to_fall": n_right,
    }


def get_effects(adata: ad.AnnData, x: np.ndarray) -> pd.DataFrame:
    """Mean shift from control, perturbations by genes."""
    values = pd.DataFrame(x if isinstance(x, np.ndarray) else x.toarray(), columns=adata.var_names)
    means = values.groupby(adata.obs["perturbation"].astype(str).to_numpy()).mean()
    return means - means.loc["control"]


def get_peak_memory() -> float:
    """Largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

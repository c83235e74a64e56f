"""Train on two real screens, predict, rank genes, and print what came out.

    python docs/scripts/real_screens.py DATA_FOLDER [--out real_screens.csv]

``papalexi2021`` holds real cells; nothing is held out, and the effect of each knock-out on its
own gene is compared with the data. ``norman2019_resampled`` has real condition means and
simulated cells; the conditions of ``additive_seed0`` are held out, predicted, and scored beside
the simple baselines.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import anndata as ad
import pandas as pd
import scanpy as sc

from scbig.baselines import Additive, NoChange, TrainMean
from scbig.metrics import get_target_mask, mse, pds_l1, pearson_delta, pearson_delta_top20
from scbig.model import SCBIG


def main() -> None:
    """Run both screens."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data kit")
    parser.add_argument("--out", type=Path, help="CSV file for the figures")
    arguments = parser.parse_args()
    figures = run_papalexi(arguments.data) + run_norman(arguments.data)
    table = pd.DataFrame(figures, columns=["screen", "predictor", "metric", "value"])
    print(table.to_string(index=False))
    if arguments.out is not None:
        table.to_csv(arguments.out, index=False)


def run_papalexi(data: Path) -> list[tuple]:
    """Predict every perturbation of the screen, and look at the targets' own genes."""
    adata = read(data / "papalexi2021.h5ad")
    labels = [name for name in adata.obs["perturbation"].unique() if name != "control"]
    out, figures = predict(SCBIG, adata, labels, None, {})
    sc.tl.rank_genes_groups(out, "perturbation", reference="control", layer="scbig")
    figures["n_ranked"] = len(out.uns["rank_genes_groups"]["names"].dtype.names)

    real, predicted = get_means(adata, adata.X), get_means(out, out.layers["scbig"])
    # Predicted cells have the predicted mean, whatever control cells were drawn.
    real, predicted = (means - real.loc["control"] for means in (real, predicted))
    own = [name for name in labels if name in adata.var_names and real.loc[name, name] < 0]
    figures["own_gene_falls"] = len(own)
    figures["own_gene_predicted_to_fall"] = sum(predicted.loc[name, name] < 0 for name in own)
    return [("papalexi2021", "scbig", *figure) for figure in figures.items()]


def run_norman(data: Path) -> list[tuple]:
    """Predict held-out double perturbations: SCBIG, its anchor alone, and the baselines."""
    splits = json.loads((data / "splits" / "norman2019_resampled.json").read_text())
    split = splits["additive_seed0"]
    adata = read(data / "norman2019_resampled.h5ad")
    train = adata[~adata.obs["perturbation"].isin(split["test"])].copy()
    rows = []
    no_flow = {"max_epochs": 0, "max_steps": 0}
    predictors = {
        "scbig": (SCBIG, {}),
        "anchor alone": (SCBIG, no_flow),
        "additive": (Additive, {}),
        "train_mean": (TrainMean, {}),
        "no_change": (NoChange, {}),
    }
    for name, (predictor, options) in predictors.items():
        key = predictor.default_key
        out, figures = predict(predictor, train, split["test"], split["val"], options)
        sc.tl.rank_genes_groups(out, "perturbation", reference="control", layer=key)
        figures["n_ranked"] = len(out.uns["rank_genes_groups"]["names"].dtype.names)
        figures |= score(adata, out, key, split["test"])
        rows += [("norman2019_resampled", name, *figure) for figure in figures.items()]
    return rows


def read(path: Path) -> ad.AnnData:
    """Read counts and normalise them."""
    adata = ad.read_h5ad(path)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


def predict(
    predictor: type,
    train: ad.AnnData,
    labels: list[str],
    validation: list[str] | None,
    options: dict[str, int],
) -> tuple[ad.AnnData, dict[str, float]]:
    """Train on a screen and predict perturbations; return what it cost, too."""
    start = time.perf_counter()
    predictor.setup_anndata(train)
    model = predictor(train)
    # Held-out conditions choose when to stop and are then learned from, by every predictor.
    model.train(validation=validation, use_refit=True, **options)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out = model.predict(perturbations=labels)
    return out, {"train_seconds": seconds, "peak_memory_mb": peak}


def score(adata: ad.AnnData, out: ad.AnnData, key: str, labels: list[str]) -> dict[str, float]:
    """Score mean predictions of held-out conditions."""
    means, predicted = get_means(adata, adata.X), get_means(out, out.layers[key])
    control, real = means.loc["control"].to_numpy(), means.loc[labels].to_numpy()
    predicted = predicted.loc[labels].to_numpy()
    targets = get_target_mask([label.split("+") for label in labels], list(adata.var_names))
    return {
        "pearson_delta": float(pearson_delta(real, predicted, control).mean()),
        "pearson_delta_top20": float(pearson_delta_top20(real, predicted, control).mean()),
        "mse_x100": float(100 * mse(real, predicted, control).mean()),
        "pds_l1": float(pds_l1(real, predicted, control, target_mask=targets).mean()),
    }


def get_means(adata: ad.AnnData, x: object) -> pd.DataFrame:
    """Mean expression of each perturbation."""
    dense = x.toarray() if hasattr(x, "toarray") else x
    values = pd.DataFrame(dense, columns=adata.var_names)
    return values.groupby(adata.obs["perturbation"].astype(str).to_numpy()).mean()


if __name__ == "__main__":
    main()

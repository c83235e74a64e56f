"""Is a confidence of 0.6 a score of 0.6? Predict held-out conditions, and compare.

    python docs/scripts/calibration.py DATA_FOLDER --out docs/benchmarks/calibration.svg

SCBIG is trained without its networks on each split of ``norman2019_resampled`` (less than a minute
a split): confidence is about the regression inside it. What ``get_confidence`` says of the test
conditions is set beside the ``pearson_delta`` that their predictions reach.
"""

import argparse
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from matplotlib.axes import Axes
from scipy.stats import spearmanr

from scbig.data import infer_schema
from scbig.metrics import pearson_delta
from scbig.model import SCBIG
from scbig.priors import GeneEmbedding, load_gene_embedding
from scbig.splits import Split, get_roles, read_splits

N_BINS = 6
N_RESAMPLES = 2000
BLUE, GREY = "#0072B2", "#8C8C8C"
# By the number of targets.
KINDS = {1: ("singles", "#D55E00"), 2: ("pairs", GREY)}


def main() -> None:
    """Score all splits, print the agreement and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data kit")
    parser.add_argument("--out", type=Path, required=True, help="file for the figure")
    arguments = parser.parse_args()
    points = score_splits(arguments.data)
    for by in (["task", "split"], ["task"], ["task", "n_targets"]):
        print(compare(points, by), end="\n\n")
    draw(points, arguments.out)


def score_splits(data: Path) -> pd.DataFrame:
    """Confidence and score of each test condition of each split."""
    adata = ad.read_h5ad(data / "norman2019_resampled.h5ad")
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    splits = read_splits(data / "splits" / "norman2019_resampled.json", infer_schema(adata))
    embedding = load_gene_embedding(data / "priors" / "gene_embedding_go_string_128.parquet")
    tables = [
        score(adata, split, embedding).assign(task=split.task, split=name)
        for name, split in splits.items()
    ]
    return pd.concat(tables, ignore_index=True)


def score(adata: AnnData, split: Split, embedding: GeneEmbedding) -> pd.DataFrame:
    """Confidence and score of the test conditions of a split."""
    schema = infer_schema(adata)
    is_test = get_roles(adata.obs, split, schema) == "test"
    train = adata[~is_test].copy()
    test = sorted(set(adata.obs.loc[is_test, schema.perturbation_key]))
    SCBIG.setup_anndata(train)
    model = SCBIG(train, gene_embedding=embedding, missing_embedding="mean")
    model.train(max_epochs=0, max_steps=0, validation=split.val, use_progress_bar=False)
    real = get_means(adata, schema.perturbation_key)
    out = model.predict(perturbations=test, n_cells=200, sampling=False)
    predicted = get_means(out, schema.perturbation_key, layer="scbig")
    # The effect of the drawn control cells is taken off, so that the draw adds no noise.
    effect = predicted.loc[test] - predicted.loc["control"]
    control = real.loc["control"].to_numpy()
    return pd.DataFrame(
        {
            "condition": test,
            "n_targets": [len(schema.parse(label)) for label in test],
            "confidence": model.get_confidence(test).to_numpy(),
            "pearson": pearson_delta(real.loc[test], effect + control, control),
        }
    )


def get_means(adata: AnnData, key: str, layer: str | None = None) -> pd.DataFrame:
    """Mean expression of each perturbation."""
    means = sc.get.aggregate(adata, by=key, func="mean", layer=layer)
    return means.to_df(layer="mean")


def compare(points: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Rank correlation of confidence and score, and errors of confidence, in each group."""
    return points.groupby(by)[["confidence", "pearson"]].apply(compare_group)


def compare_group(points: pd.DataFrame) -> pd.Series:
    """Agreement in one group; an error is worth something below that of the mean score."""
    difference = points["confidence"] - points["pearson"]
    values = {
        "n": len(points),
        "spearman": spearmanr(points["confidence"], points["pearson"]).statistic,
        "bias": difference.mean(),
        "error": difference.abs().mean(),
        "error_of_mean": (points["pearson"] - points["pearson"].mean()).abs().mean(),
    }
    return pd.Series(values).round(3)


def draw(points: pd.DataFrame, out: Path) -> None:
    """Draw one panel for each task."""
    plt.rcParams["svg.hashsalt"] = "scbig"
    tasks = sorted(points["task"].unique())
    _, axes = plt.subplots(
        1, len(tasks), figsize=(8, 4), sharex=True, sharey=True, layout="constrained"
    )
    for task, ax in zip(tasks, axes, strict=True):
        draw_task(points[points["task"] == task], ax)
        ax.set_title(task)
    axes[0].set_ylabel("Pearson delta reached")
    axes[-1].legend(loc="upper left", frameon=False)
    plt.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)


def draw_task(points: pd.DataFrame, ax: Axes) -> None:
    """Draw conditions, and means of as many conditions each with their 95% intervals."""
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    for n_targets, (kind, color) in KINDS.items():
        x, y = points.loc[points["n_targets"] == n_targets, ["confidence", "pearson"]].to_numpy().T
        ax.scatter(x, y, s=9, color=color, alpha=0.45, linewidths=0, label=kind)
    bins = points.groupby(pd.qcut(points["confidence"], N_BINS), observed=True)
    rows = [(*group[["confidence", "pearson"]].mean(), *resample(group)) for _, group in bins]
    x, y, low, high = np.transpose(rows)
    ax.errorbar(x, y, yerr=(y - low, high - y), fmt="o-", color=BLUE, capsize=3)
    ax.set(xlabel="confidence", xlim=(0, 1), aspect="equal")
    ax.spines[["top", "right"]].set_visible(False)


def resample(points: pd.DataFrame) -> np.ndarray:
    """95% interval of the mean score, drawing conditions: splits share them."""
    each = points.groupby("condition")["pearson"].agg(["sum", "size"]).to_numpy()
    rng = np.random.default_rng(0)
    drawn = each[rng.integers(len(each), size=(N_RESAMPLES, len(each)))].sum(axis=1)
    return np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])


if __name__ == "__main__":
    main()

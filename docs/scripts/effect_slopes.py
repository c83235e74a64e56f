"""How large are predicted effects beside the real ones? Slopes of real on predicted effect.

    python docs/scripts/effect_slopes.py DATA_FOLDER [--out effect_slopes.csv]

``EffectRegression`` is trained on each split, and asked for what is held out: conditions of the
ten splits of ``norman2019_resampled`` and of the five of ``papalexi2021``, and, as what was
measured, half of the cells of every condition (twice each). A slope of 1 says that effects are
predicted as large as they are; above 1, that they are shrunk. It is a least-squares slope through
zero over the strongest genes of each condition, of all conditions of a kind together.

Which genes are the strongest matters. Picked by the *predicted* effect, they are those that a user
would pick, and a forecast that is as sure as it says has a slope of 1. Picked by the *real*
effect, whatever could not be foreseen is among them, and the slope of the best forecast is above 1
(of no forecast at all, it has no limit).
"""

import argparse
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData

from scbig.data import infer_schema
from scbig.model import EffectRegression
from scbig.priors import GeneEmbedding, load_gene_embedding
from scbig.splits import Split, get_roles, make_seen, read_splits

OWN_SPLITS = Path(__file__).parents[1] / "benchmarks" / "splits"
SCREENS = {"norman2019_resampled": None, "papalexi2021": OWN_SPLITS / "papalexi_unseen.json"}
N_STRONGEST = (20, 200, None)
SEEDS = (0, 1)
CONTROL = "control"


def main() -> None:
    """Print the slopes of both screens."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data kit")
    parser.add_argument("--out", type=Path, help="CSV file for the sums of each condition")
    arguments = parser.parse_args()
    embedding = load_gene_embedding(
        arguments.data / "priors" / "gene_embedding_go_string_128.parquet"
    )
    sums = pd.concat(
        [score_screen(arguments.data, name, file, embedding) for name, file in SCREENS.items()]
    )
    if arguments.out is not None:
        sums.to_csv(arguments.out, index=False)
    print(tabulate(sums).round(2).to_string())


def score_screen(data: Path, name: str, file: Path | None, embedding: GeneEmbedding):
    """Sums of each tested condition of each split of a screen."""
    adata = ad.read_h5ad(data / f"{name}.h5ad")
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    schema = infer_schema(adata)
    splits = list(read_splits(file or data / "splits" / f"{name}.json", schema).values())
    conditions = [schema.parse(label) for label in adata.obs[schema.perturbation_key].unique()]
    splits += [make_seen(conditions, seed=seed) for seed in SEEDS]
    tables = [score_split(adata, split, embedding) for split in splits]
    return pd.concat(tables).assign(screen=name)


def score_split(adata: AnnData, split: Split, embedding: GeneEmbedding) -> pd.DataFrame:
    """Sums of products of predicted and real effects of the test conditions of a split."""
    schema = infer_schema(adata)
    roles = get_roles(adata.obs, split, schema)
    is_test = roles == "test"
    train, real = adata[~is_test].copy(), adata[is_test]
    if split.cell_share is None:
        real = adata[is_test | (roles == "control")]
    EffectRegression.setup_anndata(train)
    model = EffectRegression(train, gene_embedding=embedding, missing_embedding="mean")
    model.train(validation=list(split.val) or None)
    effect = get_effects(real, schema.perturbation_key)
    out = model.predict(perturbations=list(effect.index), n_cells=200, sampling=False)
    predicted = get_effects(out, schema.perturbation_key, layer="effect_regression")
    seen = {target for label in set(train.obs[schema.perturbation_key]) - {CONTROL}
            for target in schema.parse(label)}  # fmt: skip
    rows = [
        {"condition": label, "kind": name_kind(split, schema.parse(label), seen), "picked": picked,
         "n_genes": n or "all"} | sum_products(predicted.loc[label], effect.loc[label], picked, n)
        for label in effect.index
        for picked in ("predicted", "real")
        for n in N_STRONGEST
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(split=split.name)


def get_effects(adata: AnnData, key: str, layer: str | None = None) -> pd.DataFrame:
    """Mean expression of each perturbation, less that of the control cells."""
    means = sc.get.aggregate(adata, by=key, func="mean", layer=layer).to_df(layer="mean")
    return means.drop(index=CONTROL) - means.loc[CONTROL]


def name_kind(split: Split, targets: tuple[str, ...], seen: set[str]) -> str:
    """Say what is asked of a condition."""
    if split.cell_share is not None:
        return "measured"
    if set(targets) <= seen:
        return "pair of seen genes"
    return "unseen gene alone" if len(targets) == 1 else "pair with an unseen gene"


def sum_products(predicted: pd.Series, real: pd.Series, picked: str, n: int | None) -> dict:
    """Sums over the strongest genes, of which a slope through zero is made."""
    size = np.abs(predicted if picked == "predicted" else real).to_numpy()
    chosen = np.argsort(-size)[:n]
    x, y = predicted.to_numpy()[chosen], real.to_numpy()[chosen]
    return {"cross": float(x @ y), "square": float(x @ x)}


def tabulate(sums: pd.DataFrame) -> pd.DataFrame:
    """Slopes of each screen and kind, by how genes were picked."""
    by, across = ["screen", "kind"], ["picked", "n_genes"]
    totals = sums.pivot_table(
        index=by, columns=across, values=["cross", "square"], aggfunc="sum", sort=False
    )
    slopes = totals["cross"] / totals["square"]
    n_columns = slopes.shape[1]
    slopes.insert(0, "tested", sums.groupby(by, sort=False).size() / n_columns)
    return slopes


if __name__ == "__main__":
    main()

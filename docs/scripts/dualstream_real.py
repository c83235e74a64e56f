"""DualStreamMamba on real effects: few cells, tokens of one gene, and influences beside STRING.

    python docs/scripts/dualstream_real.py DATA [--only shapes curve tokens] [--steps N]

`shapes`: what the gate says of means and of shapes of cells on three screens of real cells.
`curve`: 8, 16, 32 and 64 cells of each condition train, and other cells of the same conditions are
predicted (`papalexi2021`, `norman2019_mini`), as are pairs of which no cell was seen
(`norman2019_mini`). `tokens`: the genes of `norman2019_resampled` in tokens of 16 and of one, for
as many steps; scores of held-out pairs, seconds and memory; and whether what occluding a perturbed
gene changes finds its STRING partners, of which nothing was given, beside plain scores and a null
that keeps the number of partners of every gene.
"""

import argparse
import json
import logging
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import scanpy as sc
import torch
from dualstream_simulated import rewire
from sklearn.metrics import average_precision_score, roc_auc_score

from scbig.baselines import NoChange, OwnMean
from scbig.metrics import mse, pds_l1, pearson_delta
from scbig.model import DualStreamConfig, DualStreamMamba, EffectRegression
from scbig.model.dualstream._networks import StreamCondition
from scbig.priors import load_string

CELLS = (8, 16, 32, 64)
N_UNSEEN, N_VALIDATION, N_TEST = 5, 4, 20
N_DRAWN, N_NULLS, N_SOURCES, MIN_PARTNERS = 8, 20, 100, 3
COLUMNS = "Pearson | MSE ×100 | PDS"


def main() -> None:
    """Print the chosen tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the screens")
    parser.add_argument("--only", nargs="*", choices=["shapes", "curve", "tokens"])
    parser.add_argument("--screens", nargs="*", help="of shapes and curve; by default all")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    tables = {"shapes": print_shapes, "curve": print_curves, "tokens": print_tokens}
    for name, show in tables.items():
        if not options.only or name in options.only:
            show(options)


def read(path: Path) -> ad.AnnData:
    """Read counts and normalise them."""
    adata = ad.read_h5ad(path)
    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


class Truth:
    """Real means of conditions, to score predicted effects against."""

    def __init__(self, adata: ad.AnnData, labels: list[str]) -> None:
        label = adata.obs["perturbation"].astype(str).to_numpy()
        self.labels = labels
        means = [
            np.asarray(adata.X[label == n].mean(axis=0)).ravel() for n in ["control", *labels]
        ]
        self.control, self.real = means[0], np.stack(means[1:])

    def score(self, effect: np.ndarray, chosen: np.ndarray) -> str:
        """Scores of chosen conditions, as cells of a table."""
        given = self.real[chosen], np.maximum(self.control + effect[chosen], 0), self.control
        pearson, error = pearson_delta(*given).mean(), 100 * mse(*given).mean()
        ranks = pds_l1(*given, target_mask=np.zeros(given[0].shape, dtype=bool))
        return f"{pearson:.3f} | {error:.2f} | {np.mean(ranks):.3f}"


def predict(model: object, labels: list[str]) -> np.ndarray:
    """Mean change of some control cells towards each condition."""
    out = model.get_predicted_expression(
        perturbations=labels, n_cells=N_DRAWN, seed=0, sampling=False
    )
    means = out.reshape(len(labels) + 1, N_DRAWN, -1).mean(1)
    return means[1:] - means[0]


# --- shapes -----------------------------------------------------------------------------------


def print_shapes(options: argparse.Namespace) -> None:
    """Train on all cells, and print what the gate logs."""
    shown = logging.StreamHandler(sys.stdout)
    shown.addFilter(lambda record: record.getMessage().startswith(("Pearson delta", "Shape of")))
    logging.getLogger("scbig.predictor._training").addHandler(shown)
    for screen in options.screens or ("schraivogel2020", "norman2019_mini", "papalexi2021"):
        print(f"\n{screen}", flush=True)
        start = time.process_time()
        config = DualStreamConfig(n_steps=options.steps)
        model = fit(read(options.data / f"{screen}.h5ad"), config, options.seed)
        score = model.history["shape_validation_score"].astype(float).to_numpy().ravel()
        print(f"scores {np.round(score, 4)}, {time.process_time() - start:.0f} s", flush=True)
    logging.getLogger("scbig.predictor._training").removeHandler(shown)


# --- few cells --------------------------------------------------------------------------------


def print_curves(options: argparse.Namespace) -> None:
    """Train on few cells of each condition of both screens."""
    heads = f"| cells | predictor | conditions | {COLUMNS} | networks: means, shapes |"
    for screen in options.screens or ("papalexi2021", "norman2019_mini"):
        rng = np.random.default_rng(options.seed)
        adata = read(options.data / f"{screen}.h5ad")
        is_test, unseen = divide(adata, rng)
        labels = sorted(set(adata.obs["perturbation"]) - {"control"})
        truth = Truth(adata[is_test], labels)
        groups = {"seen": np.array([label not in unseen for label in labels])}
        if unseen:
            groups["unseen pairs"] = ~groups["seen"]
        print(f"\n{screen}\n{heads}\n|" + " --- |" * 7)
        for n_cells in CELLS:
            train = take(adata[~is_test], n_cells, unseen, rng)
            for name, effect, used in run(train, labels, options.steps, options.seed):
                for group, chosen in groups.items():
                    scores = truth.score(effect, chosen)
                    print(f"| {n_cells} | {name} | {group} | {scores} | {used} |", flush=True)


def divide(adata: ad.AnnData, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Mask a random half of the cells of each condition, and choose pairs not to be seen."""
    is_test = np.zeros(adata.n_obs, dtype=bool)
    for rows in adata.obs.reset_index().groupby("perturbation", observed=True).indices.values():
        is_test[rng.permutation(rows)[len(rows) // 2 :]] = True
    pairs = sorted({label for label in adata.obs["perturbation"] if "+" in label})
    return is_test, sorted(rng.permutation(pairs)[:N_UNSEEN].tolist()) if pairs else []


def take(
    adata: ad.AnnData, n_cells: int, unseen: list[str], rng: np.random.Generator
) -> ad.AnnData:
    """Keep so many cells of each condition but those not to be seen, and all controls."""
    kept = []
    for label, rows in (
        adata.obs.reset_index().groupby("perturbation", observed=True).indices.items()
    ):
        if label not in unseen:
            n_kept = len(rows) if label == "control" else n_cells
            kept.append(rng.permutation(rows)[:n_kept])
    return adata[np.sort(np.concatenate(kept))].copy()


def run(
    train: ad.AnnData, labels: list[str], n_steps: int, seed: int
) -> Iterator[tuple[str, np.ndarray, str]]:
    """Yield the name of each predictor, its effects, and which networks are used."""
    for predictor in (NoChange, OwnMean, EffectRegression):
        predictor.setup_anndata(train)
        model = predictor(train, seed=seed, missing_embedding="mean")
        model.train()
        yield predictor.default_key, predict(model, labels), "–"
    model = fit(train, DualStreamConfig(n_steps=n_steps), seed)
    used = ", ".join(
        "kept" if one else "left out" for one in (model.uses_networks, model.uses_shape)
    )
    yield "dualstream", predict(model, labels), used
    model._uses_networks = True
    yield "its networks, whatever their test says", predict(model, labels), "–"


def fit(train: ad.AnnData, config: DualStreamConfig, seed: int, **how: object) -> DualStreamMamba:
    """Train DualStreamMamba."""
    DualStreamMamba.setup_anndata(train)
    model = DualStreamMamba(train, preset=config, seed=seed, missing_embedding="mean")
    model.train(use_progress_bar=False, accelerator="cpu", **how)
    return model


# --- tokens of one gene, and influences ---------------------------------------------------------


def print_tokens(options: argparse.Namespace) -> None:
    """Train with tokens of 16 genes and of one, and score both; then their influences."""
    data, n_steps = options.data, options.steps
    adata = read(data / "norman2019_resampled.h5ad")
    split = json.loads((data / "splits" / "norman2019_resampled.json").read_text())
    split = split["additive_seed0"]
    labels = split["test"][:N_TEST]
    train = adata[~adata.obs["perturbation"].isin(split["test"])].copy()
    truth, everything = Truth(adata, labels), np.ones(len(labels), dtype=bool)
    print(f"\n| genes of a token | {COLUMNS} | seconds a step | peak, GB |\n|" + " --- |" * 6)
    models = {}
    for size in (16, 1):
        config = DualStreamConfig(
            genes_per_token=size, n_steps=n_steps, groups_per_step=8, shape_groups=0
        )
        how = {"validation": split["val"][:N_VALIDATION], "check_val_every_n_epoch": 5}
        model = fit(train, config, options.seed, **how)
        if not models:
            model._uses_networks = False
            scores = truth.score(predict(model, labels), everything)
            print(f"| *the regression alone* | {scores} | | |", flush=True)
        model._uses_networks = True
        cost = time_step(model)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        scores = truth.score(predict(model, labels), everything)
        print(f"| {size} | {scores} | {cost:.2f} | {peak:.2f} |", flush=True)
        models[f"occlusion, tokens of {size}"] = model
    print_influences(
        train,
        models,
        load_string(
            data / "priors" / "9606.protein.links.subset.txt.gz",
            data / "priors" / "9606.protein.info.subset.txt.gz",
        ),
    )


def time_step(model: DualStreamMamba) -> float:
    """Processor seconds of a step, forwards and backwards, of 8 cells; fastest of three."""
    module, controls = model.module, model._vocabulary.controls.X[:8].toarray()
    cells = torch.from_numpy(controls.astype(np.float32))
    targets = list(model._effects.targets[:8])
    condition = model._method.make_condition(targets, np.zeros(8, dtype=np.int64))
    seconds = []
    for _ in range(3):
        start = time.process_time()
        module.forward_cells(cells, condition).effect.square().mean().backward()
        seconds.append(time.process_time() - start)
    module.zero_grad()
    return min(seconds)


def print_influences(train: ad.AnnData, models: dict[str, DualStreamMamba], graph: object) -> None:
    """Compare what each perturbed gene is said to do to others with its STRING partners."""
    genes = list(train.var_names)
    linked = graph.align(genes).adjacency.toarray() > 0
    np.fill_diagonal(linked, False)
    labels = {label for label in train.obs["perturbation"] if "+" not in label}
    is_seen, n_partners = np.isin(genes, sorted(labels)), linked.sum(axis=1)
    rest = np.flatnonzero(~is_seen & (n_partners >= MIN_PARTNERS))
    groups = {
        "perturbed genes": np.flatnonzero(is_seen & (n_partners > 0)),
        "genes never perturbed": np.sort(np.random.default_rng(0).permutation(rest)[:N_SOURCES]),
    }
    print("\n| sources | partners | score | AUROC | null | AUPRC | null |\n|" + " --- |" * 7)
    for what, sources in groups.items():
        edges = linked[sources]
        is_asked = np.arange(len(genes)) != sources[:, None]
        nulls = [rewire(edges, is_asked, np.random.default_rng(i)) for i in range(N_NULLS)]
        for name, values in get_scores(train, models, sources).items():
            row = [f"{len(sources)} {what}", str(int(edges.sum())), name]
            for measure in (roc_auc_score, average_precision_score):
                by_chance = [average(measure, null, values, is_asked) for null in nulls]
                null = f"{np.mean(by_chance):.3f} ± {np.std(by_chance):.3f}"
                row += [f"{average(measure, edges, values, is_asked):.3f}", null]
            print("| " + " | ".join(row) + " |", flush=True)


def get_scores(
    train: ad.AnnData, models: dict[str, DualStreamMamba], sources: np.ndarray
) -> dict[str, np.ndarray]:
    """How each source and each gene are linked, by what the model and plain statistics say."""
    scores = {name: np.abs(occlude(model, sources)) for name, model in models.items()}
    model = next(iter(models.values()))
    names = [(train.var_names[i],) for i in sources]
    effect = model._method.predict_effects(names, np.zeros(len(names), dtype=np.int64))
    known = dict(zip(model._effects.targets, model._effects.delta, strict=True))
    if all(name in known for name in names):
        scores["size of the measured effect"] = np.abs(np.stack([known[name] for name in names]))
    controls = train[train.obs["perturbation"] == "control"].X.toarray()
    deltas = model._effects.delta
    return scores | {
        "size of the regression's effect": np.abs(effect),
        "co-expression of control cells": np.abs(correlate(controls, sources)),
        "correlation of effects over conditions": np.abs(correlate(deltas, sources)),
        "chance": np.random.default_rng(0).random(effect.shape),
    }


@torch.no_grad()
def occlude(model: DualStreamMamba, sources: np.ndarray) -> np.ndarray:
    """Change of every effect of a perturbed gene when its token is taken out: one column each.

    What `get_gene_influence(gene)[gene]` tells, without the columns of all other genes.
    """
    module, context = model.module.eval(), np.zeros(1, dtype=np.int64)
    cell = torch.from_numpy(model._effects.get_control(context).astype(np.float32))
    changes = []
    for number in sources:
        targets = [(model._vocabulary.genes[number],)]
        condition: StreamCondition = model._method.make_condition(targets, context)
        token = module.patches.token[torch.tensor([int(number)])]
        without = module.forward_without(cell, condition, token)
        changes.append(without[0] - module.forward_cells(cell, condition).effect[0])
    return torch.stack(changes).numpy()


def correlate(x: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Pearson correlation of the columns of the sources with all others; 0 for constant ones."""
    centred = x - x.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=0), 1e-8)
    return unit[:, sources].T @ unit


def average(
    measure: Callable[[np.ndarray, np.ndarray], float],
    edges: np.ndarray,
    values: np.ndarray,
    is_asked: np.ndarray,
) -> float:
    """Mean of a measure over sources."""
    rows = zip(edges, values, is_asked, strict=True)
    return float(np.mean([measure(edge[ask], value[ask]) for edge, value, ask in rows]))


if __name__ == "__main__":
    main()

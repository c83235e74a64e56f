"""DualStreamMamba on a simulated screen of pairs and triples, and print the tables of the docs.

    python docs/scripts/dualstream_simulated.py [--only combinations influence order] [--seed 0]

A third of the combinations is held out. The first table scores them, by kind of interaction. The
second asks whether the influence of a gene on others finds the simulated regulation, beside a null
that keeps the number of edges of every gene. The third reads the genes in random orders.
"""

import argparse
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from sklearn.metrics import roc_auc_score

from scbig.baselines import FLOORS
from scbig.data import simulate_screen
from scbig.metrics import pearson_delta
from scbig.model import DualStreamConfig, DualStreamMamba

N_GENES, N_TARGETS, N_COMBINED = 200, 24, 90
N_CELLS = 30
N_NULLS = 30
DEFAULT = DualStreamConfig()
PARTS = {
    "dualstream": DEFAULT,
    "no anchor": replace(DEFAULT, use_anchor=False),
    "no statistical stream": replace(DEFAULT, use_statistics=False),
    "no term for pairs": replace(DEFAULT, use_pairs=False),
    "no autofocus, no direction": replace(DEFAULT, autofocus_weight=0, direction_weight=0),
}


def main() -> None:
    """Print the chosen tables."""
    tables = {
        "combinations": print_combinations,
        "influence": print_influence,
        "order": print_orders,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=tables, default=list(tables))
    parser.add_argument("--seed", type=int, default=0, help="of the screen and the split")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    screen = Screen(arguments.seed)
    for name in arguments.only:
        tables[name](screen)


class Screen:
    """A simulated screen, of which a third of the combinations is held out."""

    def __init__(self, seed: int) -> None:
        self.adata = simulate_screen(
            12_000,
            N_GENES,
            n_programs=8,
            n_targets=N_TARGETS,
            n_doubles=N_COMBINED,
            n_triples=N_COMBINED,
            seed=seed,
        )
        self.kinds = self.adata.uns["truth"]["kinds"]["kind"]
        share = np.random.default_rng(seed).random(len(self.kinds))
        self.test = list(self.kinds.index[share < 0.33])
        self.validation = list(self.kinds.index[(share > 0.33) & (share < 0.4)])
        self.train = self.adata[~self.adata.obs["perturbation"].isin(self.test)].copy()

    def fit(self, config: DualStreamConfig, **init: object) -> DualStreamMamba:
        """Train on what is not held out."""
        DualStreamMamba.setup_anndata(self.train)
        model = DualStreamMamba(self.train, preset=config, seed=0, **init)
        model.train(validation=self.validation, use_progress_bar=False, accelerator="cpu")
        return model

    def predict(self, model: object) -> np.ndarray:
        """Mean predicted effect of each test condition."""
        expected = model.get_predicted_expression(
            perturbations=self.test, n_cells=N_CELLS, seed=0, sampling=False
        )
        means = expected.reshape(len(self.test) + 1, N_CELLS, -1).mean(1)
        return means[1:] - means[0]

    def score(self, effect: np.ndarray) -> pd.Series:
        """Pearson delta of each test condition."""
        control = mean_of(self.adata, "control")
        real = np.stack([mean_of(self.adata, label) for label in self.test])
        predicted = np.maximum(control + effect, 0)
        return pd.Series(pearson_delta(real, predicted, control), self.test)


def mean_of(adata: AnnData, label: str) -> np.ndarray:
    """Mean expression of the cells of a condition."""
    return np.asarray(adata[adata.obs["perturbation"] == label].X.mean(axis=0)).ravel()


def print_combinations(screen: Screen) -> None:
    """Score the floors, the model, and what is left without each of its parts."""
    groups = get_groups(screen)
    heads = [f"{name} ({int(mask.sum())})" for name, mask in groups.items()]
    print("\n| | " + " | ".join(heads) + " |\n| --- |" + " --- |" * len(heads))
    for floor in FLOORS[1:]:
        floor.setup_anndata(screen.train)
        baseline = floor(screen.train, seed=0)
        baseline.train(validation=screen.validation)
        print_row(floor.default_key, screen.score(screen.predict(baseline)), groups)
    for name, config in PARTS.items():
        model = screen.fit(config)
        kept = "kept" if model.uses_networks else "left out"
        scores = screen.score(screen.predict(model))
        print_row(f"{name} (networks {kept})", scores, groups)
        if name == "dualstream":
            model._uses_networks = False
            print_row("its regression alone", screen.score(screen.predict(model)), groups)


def get_groups(screen: Screen) -> dict[str, np.ndarray]:
    """Masks of the test conditions, by number of targets and kind of interaction."""
    size = np.array([label.count("+") + 1 for label in screen.test])
    kind = screen.kinds[screen.test].to_numpy()
    groups = {"all": size > 0, "pairs": size == 2, "triples": size == 3}
    groups["interacting"] = kind != "additive"
    return groups | {name: kind == name for name in sorted(set(kind))}


def print_row(name: str, scores: pd.Series, groups: dict[str, np.ndarray]) -> None:
    """Mean score of each group."""
    means = (f"{scores[mask].mean():.3f}" for mask in groups.values())
    print(f"| {name} | " + " | ".join(means) + " |", flush=True)


def print_influence(screen: Screen) -> None:
    """Compare influences with the simulated regulation of other programs."""
    model = screen.fit(replace(DEFAULT, genes_per_token=1))
    model._uses_networks = True
    genes = list(screen.adata.var_names)
    labels = screen.adata.obs["perturbation"].unique()
    seen = sorted({gene for label in labels for gene in label.split("+")} - {"control"})
    rest = [gene for gene in genes if gene not in seen]
    unseen = sorted(np.random.default_rng(0).choice(rest, len(seen), replace=False))
    print(
        "\n| sources | score | AUROC | degree-matched null | z |\n| --- | --- | --- | --- | --- |"
    )
    for what, sources in (("perturbed genes", seen), ("genes never perturbed", unseen)):
        edges, is_asked = get_edges(screen, sources)
        for name, values in get_scores(model, sources).items():
            found = compute_auroc(edges, values, is_asked)
            nulls = [
                compute_auroc(rewire(edges, is_asked, np.random.default_rng(i)), values, is_asked)
                for i in range(N_NULLS)
            ]
            z = (found - np.mean(nulls)) / np.std(nulls)
            null = f"{np.mean(nulls):.3f} ± {np.std(nulls):.3f}"
            print(f"| {what} | {name} | {found:.3f} | {null} | {z:.1f} |", flush=True)


def get_scores(model: DualStreamMamba, sources: list[str]) -> dict[str, np.ndarray]:
    """What each source is said to do to each gene when it is perturbed, by method."""
    by_method = {
        method: np.stack([model.get_gene_influence(gene, method=method)[gene] for gene in sources])
        for method in ("occlusion", "kernel")
    }
    targets, context = [(gene,) for gene in sources], np.zeros(len(sources), int)
    effect = model._method.predict_effects(targets, context)
    return by_method | {"size of the regression's effect": np.abs(effect)}


def get_edges(screen: Screen, sources: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the truth, and which pairs of genes are asked for: those of two programs."""
    program = screen.adata.var["true_program"].astype(str)
    regulation = screen.adata.uns["truth"]["regulation"]
    edges = regulation.loc[program[sources], program].to_numpy() != 0
    is_asked = program[sources].to_numpy()[:, None] != program.to_numpy()
    return edges & is_asked, is_asked


def compute_auroc(edges: np.ndarray, values: np.ndarray, is_asked: np.ndarray) -> float:
    """Area under the curve of each source, averaged over sources."""
    rows = zip(edges, values, is_asked, strict=True)
    return float(np.mean([roc_auc_score(edge[ask], value[ask]) for edge, value, ask in rows]))


def rewire(edges: np.ndarray, is_asked: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Swap the ends of edges, so that every gene keeps its number of edges."""
    edges = edges.copy()
    source, target = np.nonzero(edges)
    for i, j in rng.integers(len(source), size=(20 * len(source), 2)):
        ends = (source[[i, j]], target[[j, i]])
        if is_asked[ends].all() and not edges[ends].any():
            edges[source[[i, j]], target[[i, j]]] = False
            edges[ends] = True
            target[[i, j]] = target[[j, i]]
    return edges


def print_orders(screen: Screen) -> None:
    """Train with the genes in other orders, and compare scores and predictions."""
    genes = list(screen.adata.var_names)
    print("\n| | spectral order | random orders | correlation of effects between orders |")
    print("| --- | --- | --- | --- |")
    for name in ("dualstream", "no anchor"):
        orders = [None, *(list(np.random.default_rng(i).permutation(genes)) for i in range(3))]
        effects = [screen.predict(screen.fit(PARTS[name], gene_order=order)) for order in orders]
        scores = [screen.score(effect).mean() for effect in effects]
        alike = np.corrcoef([effect.ravel() for effect in effects])
        random = ", ".join(f"{score:.3f}" for score in scores[1:])
        between = alike[np.triu_indices(len(orders), 1)].mean()
        print(f"| {name} | {scores[0]:.3f} | {random} | {between:.3f} |", flush=True)


if __name__ == "__main__":
    main()

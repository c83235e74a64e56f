"""GEARS on an exported split.

    python docs/scripts/peers/gears_peer.py exchange/unseen_seed0 GO_Biological_Process_2021.gmt

In the environment of ``gears.txt``. GEARS downloads which terms of the Gene Ontology a gene has,
unless ``gene2go_all.pkl`` is in its folder: here it is made from a file of gene sets, and the
graph of similar genes is computed from it by GEARS itself. Conditions with a gene that has no term
are left out, as GEARS leaves them out. Its ``predict`` averages over control cells that it draws;
here its network is asked for each control cell of the query instead.
"""

import argparse
import os
import pickle
from collections import defaultdict
from pathlib import Path

import anndata as ad
import numpy as np
import torch
from exchange import SEED, Cost, get_control_mean, get_targets, read_exchange, write_prediction
from gears import GEARS, PertData
from gears.utils import create_cell_graph_for_prediction
from torch_geometric.loader import DataLoader

BATCH_SIZE = 32
GENES = "genes.pkl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of exchange.py")
    parser.add_argument("gene_sets", type=Path, help="terms of the Gene Ontology, .gmt")
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    folder, cost = arguments.folder.resolve(), Cost()
    train, query = read_exchange(folder)
    terms = read_terms(arguments.gene_sets)
    train, query = (keep_known(cells, terms) for cells in (train, query))
    targets = {gene for cells in (train, query) for gene in get_all_targets(cells)}
    enter_folder(folder / "gears", terms, sorted({*train.var_names, *targets}))
    # GEARS draws from the global generators.
    np.random.seed(SEED)  # noqa: NPY002
    torch.manual_seed(SEED)
    with cost.measure("train"):
        model = fit(train, arguments.epochs)
    with cost.measure("predict"):
        predicted = predict(model, query)
    write_prediction(query, get_control_mean(train), predicted, "gears", folder, cost)


def read_terms(path: Path) -> dict[str, set[str]]:
    """Read which terms each gene has."""
    terms = defaultdict(set)
    for line in path.read_text().splitlines():
        name, _, *genes = line.split("\t")
        for gene in filter(None, genes):
            terms[gene].add(name)
    return dict(terms)


def keep_known(cells: ad.AnnData, terms: dict[str, set[str]]) -> ad.AnnData:
    """Leave out conditions with a gene that has no term."""
    labels = cells.obs["perturbation"].astype(str)
    is_known = labels.map(lambda label: terms.keys() >= set(get_targets(label)))
    print(f"without terms: {sorted(set(labels[~is_known]))}")
    return cells[is_known].copy()


def get_all_targets(cells: ad.AnnData) -> set[str]:
    """Return the genes of all labels."""
    return {gene for label in cells.obs["perturbation"].unique() for gene in get_targets(label)}


def enter_folder(folder: Path, terms: dict[str, set[str]], genes: list[str]) -> None:
    """Go where GEARS finds terms, the genes of its graph, and ``data`` to write the graph to."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with (folder / "gene2go_all.pkl").open("wb") as file:
        pickle.dump(terms, file)
    with (folder / GENES).open("wb") as file:
        pickle.dump(genes, file)
    os.chdir(folder)


def to_condition(label: str) -> str:
    """Write a label as GEARS does: ``ctrl``, ``A+ctrl`` or ``A+B``."""
    return "+".join([*get_targets(label), "ctrl"][:2])


def fit(train: ad.AnnData, epochs: int) -> GEARS:
    """Build the graphs and train the network."""
    conditions = train.obs["perturbation"].astype(str).map(to_condition)
    adata = ad.AnnData(train.X, obs=conditions.to_frame("condition"), var=train.var.copy())
    adata.obs["cell_type"] = "all"
    adata.var["gene_name"] = adata.var_names
    data = PertData(".", gene_set_path=GENES, default_pert_graph=False)
    data.new_data_process("screen", adata)
    data.split, data.seed = "no_test", SEED
    data.set2conditions = choose_conditions(conditions, train.obs["role"] == "val")
    data.get_dataloader(BATCH_SIZE, 128)
    model = GEARS(data, device="cpu")
    model.model_initialize()
    model.train(epochs=epochs)
    return model


def choose_conditions(conditions, is_val) -> dict[str, list[str]]:
    """Choose the epoch on validation conditions, or on those of training if there are none."""
    val = sorted(set(conditions[is_val]))
    trained = sorted(set(conditions[~is_val]))
    return {"train": trained, "val": val or [name for name in trained if name != "ctrl"]}


@torch.no_grad()
def predict(model: GEARS, query: ad.AnnData) -> np.ndarray:
    """Ask the chosen network for each control cell under its condition."""
    network, nodes = model.best_model.eval(), {name: i for i, name in enumerate(model.pert_list)}
    graphs = []
    for label, cell in zip(query.obs["perturbation"], query.X.toarray(), strict=True):
        genes = get_targets(label)
        graphs.append(
            create_cell_graph_for_prediction(cell[None], [nodes[g] for g in genes], genes)
        )
    return np.concatenate([network(batch).numpy() for batch in DataLoader(graphs, 64)])


if __name__ == "__main__":
    main()

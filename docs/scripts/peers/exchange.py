"""Hand a split of a screen to methods that live in environments of their own.

    python docs/scripts/peers/exchange.py DATA/papalexi2021.h5ad --task seen --out exchange/seen
    python docs/scripts/peers/exchange.py DATA/norman2019_resampled.h5ad \\
        --split-file DATA/splits/norman2019_resampled.json --split additive_seed0 \\
        --out exchange/additive_seed0

This needs scbig. It writes what a predictor of `scbig benchmark` is given, as plain files:

``train.h5ad``
    Cells to learn from. ``X`` is log1p of counts scaled to 10,000 a cell, ``layers["counts"]``
    the counts; ``obs["perturbation"]`` is ``control``, ``A`` or ``A+B``, ``obs["role"]`` is
    ``train``, ``val`` or ``control``.
``query.h5ad``
    A row for each tested condition and each control cell to predict from, which ``X`` and
    ``layers["counts"]`` hold and ``obs["scbig_source"]`` names.
``screen.h5ad``
    The whole screen in counts, with ``obs["scbig_split"]``, for ``scbig evaluate``.

The scripts of the methods import the rest of this file, which needs anndata and nothing of scbig.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import anndata as ad
import numpy as np
from scipy import sparse

CONTROL = "control"
N_CELLS = 200
SEED = 0


@dataclass
class Cost:
    """What training and prediction took, and the largest memory of the process till now.

    Seconds are those that the process was computing, which on one pinned core is the time that it
    takes by itself; the clock on the wall counts what other processes do on that core, too.
    """

    train_seconds: float = 0.0
    predict_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_mb: float = 0.0

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Time a block, ``"train"`` or ``"predict"``."""
        wall, start = time.perf_counter(), time.process_time()
        yield
        setattr(self, f"{what}_seconds", round(time.process_time() - start, 1))
        self.wall_seconds = round(self.wall_seconds + time.perf_counter() - wall, 1)
        # Linux counts in units of 1024 bytes.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.peak_memory_mb = round(peak / 1e6)


def read_exchange(folder: Path) -> tuple[ad.AnnData, ad.AnnData]:
    """Read the cells to learn from, and the rows to predict."""
    return ad.read_h5ad(folder / "train.h5ad"), ad.read_h5ad(folder / "query.h5ad")


def get_targets(label: str) -> list[str]:
    """Return the genes of a label; none for controls."""
    return [] if label == CONTROL else label.split("+")


def get_control_mean(train: ad.AnnData) -> np.ndarray:
    """Average the control cells to learn from."""
    is_control = (train.obs["perturbation"] == CONTROL).to_numpy()
    return np.asarray(train.X[is_control].mean(axis=0)).ravel()


def write_prediction(
    query: ad.AnnData,
    source: np.ndarray,
    predicted: np.ndarray,
    name: str,
    folder: Path,
    cost: Cost,
) -> None:
    """Write log1p expression for the rows of the query, and what it cost.

    ``source`` is what the predicted change is taken from: of peers the mean of the training
    controls. scbig adds the mean change to the mean of the controls that it scores against. Where
    these are others, the noise of their mean would otherwise be part of the predicted and of the
    real effect, and be rewarded.
    """
    # No measured cell is below zero, and scbig clips its own predictions alike.
    predicted = np.maximum(predicted, 0).astype(np.float32)
    out = ad.AnnData(
        np.broadcast_to(source, predicted.shape).astype(np.float32),
        obs=query.obs.copy(),
        var=query.var.copy(),
        layers={name: predicted},
    )
    out.write_h5ad(folder / f"{name}.h5ad", compression="gzip")
    (folder / f"{name}.json").write_text(json.dumps(asdict(cost)))
    print(name, folder, asdict(cost))


def export(path: Path, arguments: argparse.Namespace) -> None:
    """Take the screen apart as `scbig benchmark` does, and write the three files."""
    import scanpy as sc

    import scbig
    from scbig.splits import assign_split, make_split, read_splits

    screen = ad.read_h5ad(path)
    schema = scbig.data.infer_schema(screen)
    split = (
        make_split(screen, arguments.task, seed=SEED, schema=schema)
        if arguments.split_file is None
        else read_splits(arguments.split_file, schema)[arguments.split]
    )
    assign_split(screen, split, schema)
    arguments.out.mkdir(parents=True, exist_ok=True)
    screen.write_h5ad(arguments.out / "screen.h5ad", compression="gzip")

    adata = ad.AnnData(sparse.csr_matrix(screen.X, dtype=np.float32), var=screen.var[[]].copy())
    adata.obs_names = screen.obs_names
    adata.obs["perturbation"] = screen.obs[schema.perturbation_key].astype(str).to_numpy()
    adata.obs["role"] = screen.obs["scbig_split"].astype(str).to_numpy()
    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    adata.uns.clear()
    is_test = adata.obs["role"] == "test"
    train = adata[~is_test].copy()
    tested = sorted(set(adata.obs.loc[is_test, "perturbation"]) - {CONTROL})
    train.write_h5ad(arguments.out / "train.h5ad", compression="gzip")
    make_query(train, tested).write_h5ad(arguments.out / "query.h5ad", compression="gzip")
    print(f"{split}: {train.n_obs} cells to learn from, {len(tested)} conditions to predict")


def make_query(train: ad.AnnData, tested: list[str]) -> ad.AnnData:
    """Cross the control cells that `scbig benchmark` draws with the tested conditions."""
    from scbig.baselines import NoChange

    NoChange.setup_anndata(train, perturbation_key="perturbation", control=CONTROL)
    model = NoChange(train, seed=SEED)
    model.train()
    controls = train[train.obs["perturbation"] == CONTROL].copy()
    drawn = model.predict(controls, perturbations=tested, n_cells=N_CELLS, seed=SEED)
    drawn.obs["scbig_source"] = drawn.obs["no_change_source"]
    query = ad.AnnData(drawn.X, obs=drawn.obs[["perturbation", "scbig_source"]], var=drawn.var)
    query = query[query.obs["perturbation"] != CONTROL].copy()
    query.layers["counts"] = train[query.obs["scbig_source"]].layers["counts"]
    return query


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("screen", type=Path, help="screen with counts, .h5ad")
    parser.add_argument("--task", help="such as seen")
    parser.add_argument("--split-file", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    if (arguments.task is None) == (arguments.split_file is None):
        sys.exit("Give --task, or --split-file and --split.")
    export(arguments.screen, arguments)


if __name__ == "__main__":
    main()

"""What each part of SCBIG contributes: leave it out, and score what is left.

    python docs/scripts/ablation.py DATA_FOLDER --out ablation
    python docs/scripts/ablation.py DATA_FOLDER --out ablation --only networks --splits NAME ...
    python docs/scripts/ablation.py DATA_FOLDER --out ablation --only real \
        --screen papalexi2021 --split-file docs/benchmarks/splits/papalexi_unseen.json

The parts of the regression are compared without the networks, which takes seconds a split; the
parts of the networks with everything else in place, which takes about a minute. ``real`` are the
parts of the networks that real cells can tell apart. ``paper_short`` is the published recipe, cut
after one epoch of the autoencoder and 25 of its 25,000 steps of the flow: in full it costs about
32 core hours.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import anndata as ad
import numpy as np
import scanpy as sc
from anndata import AnnData

from scbig.benchmark import BenchmarkSettings, PredictorSpec, Resources, run
from scbig.data import infer_schema
from scbig.model import SCBIG, SCBIGConfig
from scbig.priors import load_gene_embedding
from scbig.programs import make_known_programs
from scbig.regression import Denoising
from scbig.splits import read_splits

N_PROGRAMS = 32
METRICS = ("pearson_delta", "pearson_delta_top20", "mse", "pds_l1", "energy_distance")
SHAPES = ("energy_centred", "wasserstein_axis")
DEFAULT = SCBIGConfig()
# Kept whatever it does, or there would be little to compare.
FLOW = replace(DEFAULT, use_gate=False)
# Without the anchor the parts of the paper carry all the weight.
ALONE = replace(FLOW, use_anchor=False)
NETWORKS = {
    "flow": FLOW,
    "no_alignment": replace(FLOW, align_every=0),
    "pca": replace(FLOW, autoencoder="pca"),
    "no_anchor": ALONE,
    "no_anchor_no_alignment": replace(ALONE, align_every=0),
    "no_anchor_pca": replace(ALONE, autoencoder="pca"),
    "no_anchor_direct": replace(ALONE, decoding="direct"),
}
# Many variants on real screens, so without training an autoencoder.
LINEAR = replace(FLOW, autoencoder="pca")
REAL = {
    "flow": LINEAR,
    "no_alignment": replace(LINEAR, align_every=0),
    "alignment_tenfold": replace(LINEAR, align_every=5),
    "entropic": replace(LINEAR, coupling="entropic"),
    "condition_dropout": replace(LINEAR, condition_dropout=0.5),
}
RANDOM_PROGRAMS = {"random_programs": FLOW, "no_anchor_random_programs": ALONE}
REGRESSION = {
    "regression": Denoising(),
    "no_components": Denoising(use_components=False),
    "no_own_gene": Denoising(use_own_gene=False),
    "no_saturation": Denoising(use_saturation=False),
    "none_of_these": Denoising(use_components=False, use_own_gene=False, use_saturation=False),
}


def main() -> None:
    """Run the chosen comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data kit")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--only", choices=("regression", "networks", "paper", "real"))
    parser.add_argument("--screen", default="norman2019_resampled", help="name of the screen")
    parser.add_argument("--split-file", type=Path, help="by default that of the data kit")
    parser.add_argument("--splits", nargs="*", help="by default all of the file")
    arguments = parser.parse_args()
    wanted = [arguments.only] if arguments.only else ["regression", "networks", "paper"]
    for name in wanted:
        compare(arguments, arguments.out / name, make_specs(name))


def compare(arguments: argparse.Namespace, out: Path, specs: Sequence[PredictorSpec]) -> None:
    """Benchmark some variants and print their means."""
    data, screen = arguments.data, arguments.screen
    adata = ad.read_h5ad(data / f"{screen}.h5ad")
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    path = arguments.split_file or data / "splits" / f"{screen}.json"
    known = read_splits(path, infer_schema(adata))
    embedding = load_gene_embedding(data / "priors" / "gene_embedding_go_string_128.parquet")
    chosen = [known[name] for name in arguments.splits or known]
    resources = Resources(gene_embedding=embedding)
    metrics = METRICS if screen.endswith("resampled") else METRICS + SHAPES
    settings = BenchmarkSettings(metrics=metrics)
    predictors = [*specs, "kernel_ridge"]
    result = run(adata, chosen, predictors, out=out, resources=resources, settings=settings)
    summary = result.summary
    pooled = summary[(summary["split"] == "pooled") & (summary["kind"] == "all")]
    means = pooled.pivot_table(index=["task", "predictor"], columns="metric", values="mean")
    print(means[list(metrics)].round(4).to_string())


def make_specs(name: str) -> list[PredictorSpec]:
    """Return the variants of one comparison."""
    if name == "regression":
        configs = {key: replace(DEFAULT, denoising=parts) for key, parts in REGRESSION.items()}
        return [make_spec(key, config, 0, 0) for key, config in configs.items()]
    if name == "paper":
        return [make_spec("paper_short", "paper", 1, 25)]
    if name == "real":
        alone = make_spec("regression", DEFAULT, 0, 0)
        return [alone, *(make_spec(key, config) for key, config in REAL.items())]
    return [
        *(make_spec(key, config) for key, config in NETWORKS.items()),
        *(make_spec(key, config, is_random=True) for key, config in RANDOM_PROGRAMS.items()),
    ]


def make_spec(
    name: str,
    config: SCBIGConfig | str,
    max_epochs: int | None = None,
    max_steps: int | None = None,
    *,
    is_random: bool = False,
) -> PredictorSpec:
    """Return a variant with other settings, or with programs at random."""
    programs = make_random_programs if is_random else None
    make = partial(make_model, config=config, programs=programs)
    return PredictorSpec(name, SCBIG, make, partial(train, budget=(max_epochs, max_steps)))


def make_model(
    adata: AnnData,
    resources: Resources,
    seed: int,
    *,
    config: SCBIGConfig | str,
    programs: Callable | None,
) -> SCBIG:
    """Construct a variant."""
    return SCBIG(
        adata,
        preset=config,
        programs=None if programs is None else programs(adata, seed),
        gene_embedding=resources.gene_embedding,
        missing_embedding="mean",
        seed=seed,
    )


def make_random_programs(adata: AnnData, seed: int):
    """Group genes at random into as many programs of equal size."""
    numbers = np.random.default_rng(seed).permutation(adata.n_vars) % N_PROGRAMS
    groups = {gene: f"P{i:02}" for gene, i in zip(adata.var_names, numbers, strict=True)}
    return make_known_programs(list(adata.var_names), groups, source="random")


def train(model: SCBIG, validation: Sequence[str] | None, *, budget: tuple) -> None:
    """Train for at most so many epochs and steps."""
    max_epochs, max_steps = budget
    model.train(
        max_epochs=max_epochs, max_steps=max_steps, validation=validation, use_progress_bar=False
    )


if __name__ == "__main__":
    main()

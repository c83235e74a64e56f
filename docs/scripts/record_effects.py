"""Record what models and baselines expect on small simulated screens.

    python docs/scripts/record_effects.py --out tests/model/records

``tests/model/test_recorded_effects.py`` trains the same predictors and compares: a change of the
code that should change nothing has to give the same effects. A deliberate change of what is
expected is named in the changelog and recorded anew, ``--only`` the cases that it is about.

An effect is the mean of the predicted cells of a condition minus the mean of the control cells
that they were predicted from, in one context; predictions are float32, and their means are taken
in float64. Regressions are recorded in float64, networks in float32.
"""

import argparse
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import torch
from anndata import AnnData
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from scbig.baselines import (
    Additive,
    KernelRidge,
    NearestCondition,
    NoChange,
    RidgeIndicator,
    TrainMean,
)
from scbig.data import simulate_locus_screen, simulate_screen
from scbig.model import SCBIG, STRAND, DualStreamConfig, DualStreamMamba, SCBIGConfig, STRANDConfig
from scbig.model.scbig import PRESETS
from scbig.priors import GeneEmbedding, TableEncoder
from scbig.regression import Denoising

SEED = 0
QUIET = {"accelerator": "cpu", "use_progress_bar": False}
NOWHERE = "NOWHERE"  # not measured, and in no table


class Screen(NamedTuple):
    """A screen to train on, and the conditions to predict, seen and unseen."""

    adata: AnnData
    labels: list[str]
    setup: Mapping[str, Any]  # arguments of setup_anndata
    priors: Mapping[str, Any]  # what is known beside the cells
    controls: AnnData | None = None  # to predict from, if not those that travel with it


@dataclass(frozen=True)
class Case:
    """A predictor on a screen."""

    cls: Any
    screen: Callable[[], Screen]
    init: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    priors: tuple[str, ...] = ()  # which of the screen's the constructor takes
    is_network: bool = False  # less than a regression's precision can be asked for


# --- screens ----------------------------------------------------------------------------------


@cache
def make_plain() -> Screen:
    """Singles and doubles in one context; two targets are unseen, and some pairs of seen ones."""
    adata = _simulate(SEED, n_batches=1)
    labels, unseen = _choose_labels(adata)
    return Screen(_drop(adata, unseen), labels, {}, {})


@cache
def make_contexts() -> Screen:
    """Two contexts, of which one lacks half of the conditions; a third with controls alone.

    Predictions start from a fourth, too, that no predictor has seen.
    """
    adata = _simulate(SEED + 1, n_batches=3)
    labels, unseen = _choose_labels(adata)
    adata = _drop(adata, unseen)
    batch, own = (adata.obs[key].astype(str) for key in ("batch", "perturbation"))
    lacking = sorted(set(own) - {"control"})[::2]
    is_dropped = (batch == "batch_3") & (own != "control")
    is_dropped |= (batch == "batch_2") & own.isin(lacking)
    adata = adata[~is_dropped].copy()
    known = adata[adata.obs["perturbation"] == "control"].copy()
    new = known[known.obs["batch"] == "batch_1"].copy()
    new.X = new.X.multiply(np.linspace(0.3, 1.2, new.n_vars, dtype=np.float32)).tocsr()
    new.obs["batch"] = "elsewhere"
    new.obs_names = [f"{name}_elsewhere" for name in new.obs_names]
    controls = ad.concat([known, new])
    return Screen(adata, labels, {"context_keys": ["batch"]}, {}, controls)


@cache
def make_gaps() -> Screen:
    """As the plain one, with an embedding that lacks a third of the targets."""
    screen = make_plain()
    # Targets that are no measured genes have no co-expression: the table is all there is.
    own = screen.adata.obs["perturbation"].astype(str)
    targets = sorted({t for label in [*own, *screen.labels] for t in label.split("+")})
    targets.remove("control")
    adata = screen.adata[:, ~screen.adata.var_names.isin(targets[::2])].copy()
    vectors = np.random.default_rng(SEED).normal(size=(len(targets), 5)).astype(np.float32)
    is_there = np.arange(len(targets)) % 3 > 0
    names = tuple(np.array(targets)[is_there])
    table = GeneEmbedding(names, vectors[is_there], "table with gaps")
    labels = [*screen.labels, NOWHERE, f"{screen.labels[0]}+{NOWHERE}"]
    return Screen(adata, labels, {}, {"table": table})


@cache
def make_loci() -> Screen:
    """Start sites, of which those of three genes are unseen; DNA and a table of vectors."""
    with tempfile.TemporaryDirectory() as folder:
        adata, loci, fasta = simulate_locus_screen(
            folder, n_targets=24, n_genes=36, n_cells=600, seed=SEED
        )
        text = fasta.read_bytes()
    names = ("TARGET001", "TARGET002", "TARGET003")
    own = adata.obs["locus"].astype(str)
    unseen = [locus.id for locus in loci if locus.gene in names]
    seen = [locus.id for locus in loci if locus.gene not in names]
    vectors = np.random.default_rng(SEED).normal(size=(len(loci), 6)).astype(np.float32)
    table = TableEncoder(GeneEmbedding(loci.ids, vectors, "table of loci"))
    labels = [*seen[:4], *unseen[:4], f"{seen[0]}+{seen[2]}", f"{seen[0]}+{unseen[0]}"]
    priors = {"loci": loci, "fasta": text, "encoder": table}
    adata = _normalise(adata[~own.isin(unseen)])
    return Screen(adata, labels, {"locus_key": "locus", "separator": "+"}, priors)


def _simulate(seed: int, n_batches: int) -> AnnData:
    adata = simulate_screen(
        700, 45, n_programs=5, n_targets=14, n_doubles=12, n_batches=n_batches, seed=seed
    )
    return _normalise(adata)


def _normalise(adata: AnnData) -> AnnData:
    """Normalise the counts once more, in float64: logarithms in float32 depend on the CPU."""
    counts = adata.layers["counts"].astype(np.float64)
    scaled = counts.multiply(1e4 / counts.sum(axis=1)).tocsr()
    return AnnData(np.log1p(scaled).astype(np.float32), obs=adata.obs, var=adata.var)


def _choose_labels(adata: AnnData) -> tuple[list[str], list[str]]:
    """Return conditions to predict, of every kind, and those that are left out of training."""
    known = sorted(set(adata.obs["perturbation"]) - {"control"})
    singles = [label for label in known if "+" not in label]
    new = singles[-2:]
    with_new = [label for label in known if set(label.split("+")) & set(new)]
    doubles = [label for label in known if "+" in label and label not in with_new]
    unseen = [*with_new, *doubles[:2]]
    pair = f"{singles[0]}+{new[0]}"
    return [*singles[:2], *doubles[2:4], *doubles[:2], *new, pair, "+".join(new)], unseen


def _drop(adata: AnnData, labels: list[str]) -> AnnData:
    return adata[~adata.obs["perturbation"].isin(labels)].copy()


# --- predictors -------------------------------------------------------------------------------

SMALL = SCBIGConfig(
    n_latent=6,
    n_hidden=8,
    n_heads=2,
    n_inducing=3,
    n_condition=8,
    velocity_hidden=(16,),
    n_solver_steps=3,
    align_every=3,
    autoencoder_lr=1e-2,
    cells_per_batch=64,
    flow_lr=2e-2,
    groups_per_step=6,
    cells_per_group=8,
    ema_decay=0.5,
)
# Kept whatever it does.
FLOW = replace(SMALL, use_gate=False)
# Without an anchor, what is best on held-out conditions is a flow; it has all to learn.
UNANCHORED = replace(FLOW, use_anchor=False, flow_lr=5e-2)
PAPER = replace(
    PRESETS["paper"],
    n_latent=6,
    n_hidden=8,
    n_layers=1,
    n_heads=2,
    n_inducing=3,
    n_condition=8,
    velocity_hidden=(16,),
    autoencoder_lr=1e-2,
    cells_per_batch=64,
    flow_lr=1e-2,
    flow_accumulation=2,
    cells_per_group=16,
    align_every=3,
)
DUAL = DualStreamConfig(
    max_tokens=15,
    n_hidden=8,
    n_blocks=1,
    n_states=4,
    n_latent=3,
    learning_rate=5e-3,
    groups_per_step=6,
    cells_per_group=8,
    ema_decay=0.5,
)
LOCI = STRANDConfig(
    window=128,
    n_latent=6,
    dim=16,
    n_heads=2,
    locus_lr=5e-3,
    conditions_per_step=16,
    bridge_width=16,
    bridge_blocks=1,
    n_solver_steps=3,
    bridge_lr=5e-3,
    groups_per_step=4,
    cells_per_group=8,
    use_gate=False,
)
ALONE = QUIET | {"max_steps": 0}
# With nothing held out, neither stopping nor a gate has a say.
FREE = QUIET | {"max_epochs": 2, "max_steps": 10, "validation": []}
STOPPED = QUIET | {"max_epochs": 2, "max_steps": 40}
MEAN = {"missing_embedding": "mean"}
PLAIN_DENOISING = Denoising(use_components=False, use_own_gene=False, use_saturation=False)


def _make_scbig_cases() -> dict[str, Case]:
    def flow(config: SCBIGConfig, screen: Callable[[], Screen], **train: Any) -> Case:
        return Case(SCBIG, screen, {"preset": config} | size, FREE | train, is_network=True)

    size = {"n_programs": 5}
    alone, untrained = {"preset": SMALL} | size, ALONE | {"max_epochs": 0}
    bare = {"preset": replace(SMALL, denoising=PLAIN_DENOISING)} | size
    table = ("perturbation_embedding",)
    return {
        "scbig_anchor": Case(SCBIG, make_plain, alone, untrained),
        "scbig_anchor_bare": Case(SCBIG, make_plain, bare, untrained),
        "scbig_anchor_contexts": Case(SCBIG, make_contexts, alone, untrained),
        "scbig_anchor_gaps": Case(SCBIG, make_gaps, alone | MEAN, untrained, table),
        "scbig_anchor_unrefitted": Case(
            SCBIG, make_plain, alone, untrained | {"use_refit": False}
        ),
        "scbig_flow": flow(FLOW, make_plain),
        "scbig_flow_contexts": flow(FLOW, make_contexts),
        "scbig_unanchored_stopped": Case(
            SCBIG, make_plain, {"preset": UNANCHORED} | size, STOPPED, is_network=True
        ),
        # The flow is no gain, and left out.
        "scbig_gate": Case(SCBIG, make_plain, alone, STOPPED),
        "scbig_pca": flow(replace(FLOW, autoencoder="pca"), make_plain),
        "scbig_paper": flow(PAPER, make_plain, max_steps=3),
        "scbig_flow_gaps": Case(
            SCBIG, make_gaps, {"preset": FLOW} | size | MEAN, FREE, table, is_network=True
        ),
    }


def _make_other_cases() -> dict[str, Case]:
    dual, free = {"preset": DUAL}, QUIET | {"max_steps": 6, "validation": []}
    unanchored = {"preset": replace(DUAL, use_anchor=False)}
    stopped, table = QUIET | {"max_steps": 20}, ("perturbation_embedding",)
    builtin, reading = ("loci", "fasta"), ("loci", "encoder")
    # Enough of them for a confidence.
    held_out = [f"TARGET{i:03}-P{j}" for i in range(10, 15) for j in (1, 2)]
    steps = QUIET | {"max_locus_steps": 20, "max_steps": 20, "validation": held_out}
    config = {"preset": LOCI}
    regression = {"preset": replace(LOCI, transport="regression")}
    return {
        "dualstream_anchor": Case(DualStreamMamba, make_contexts, dual, ALONE),
        "dualstream": Case(DualStreamMamba, make_plain, dual, free, is_network=True),
        "dualstream_contexts": Case(DualStreamMamba, make_contexts, dual, free, is_network=True),
        "dualstream_unanchored_stopped": Case(
            DualStreamMamba, make_plain, unanchored, stopped, is_network=True
        ),
        "dualstream_gate": Case(DualStreamMamba, make_plain, dual, stopped),
        "dualstream_gaps": Case(
            DualStreamMamba, make_gaps, dual | MEAN, free, table, is_network=True
        ),
        "strand": Case(STRAND, make_loci, config, steps, builtin, is_network=True),
        "strand_table": Case(STRAND, make_loci, config, steps, reading, is_network=True),
        "strand_regression": Case(STRAND, make_loci, regression, steps, reading, is_network=True),
    }


def _make_baseline_cases() -> dict[str, Case]:
    cases = {}
    for cls in (NoChange, TrainMean, Additive, RidgeIndicator, KernelRidge, NearestCondition):
        for name, screen in (("", make_plain), ("_contexts", make_contexts)):
            cases[cls.default_key + name] = Case(cls, screen)
    for cls in (KernelRidge, NearestCondition):
        cases[f"{cls.default_key}_gaps"] = Case(cls, make_gaps, MEAN, priors=("gene_embedding",))
    return cases


CASES = _make_scbig_cases() | _make_other_cases() | _make_baseline_cases()


# --- effects ----------------------------------------------------------------------------------


def compute_record(name: str) -> dict[str, np.ndarray]:
    """Train the predictor of a case and return what it expects.

    Returns
    -------
    ``rows``, the condition and context of each effect; ``effects``, rows by genes; and
    ``confidence`` of each row, empty where the predictor gives none.
    """
    case = CASES[name]
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            return _describe(_fit(case), case)
    finally:
        torch.set_num_threads(n_threads)


def _fit(case: Case) -> Any:
    screen = case.screen()
    adata = screen.adata.copy()
    case.cls.setup_anndata(adata, **screen.setup)
    with tempfile.TemporaryDirectory() as folder:
        priors = {name: _get_prior(screen, name, Path(folder)) for name in case.priors}
        predictor = case.cls(adata, **case.init, **priors, seed=SEED)
        predictor.train(**case.train)
    return predictor


def _get_prior(screen: Screen, name: str, folder: Path) -> Any:
    if name == "fasta":
        path = folder / "genome.fa"
        path.write_bytes(screen.priors[name])
        return path
    return screen.priors["table" if name.endswith("_embedding") else name]


def _describe(predictor: Any, case: Case) -> dict[str, np.ndarray]:
    screen, key = case.screen(), case.cls.default_key
    label_key = screen.setup.get("locus_key", "perturbation")
    out = predictor.predict(
        screen.controls, perturbations=screen.labels, seed=SEED, sampling=False
    )
    # Rows of control cells hold their own expression in the predicted layer: all that is needed
    # is there, whatever X is.
    x = csr_matrix(out.layers[key], dtype=np.float64).toarray()
    label = out.obs[label_key].astype(str).to_numpy()
    keys = screen.setup.get("context_keys", [])
    context = out.obs[keys[0]].astype(str) if keys else np.repeat("all", out.n_obs)
    rows, effects, confidence = [], [], []
    for place in sorted(set(context)):
        is_here = np.asarray(context == place)
        control = x[is_here & (label == "control")].mean(axis=0)
        for name in screen.labels:
            is_own = is_here & (label == name)
            rows.append(f"{name} in {place}")
            effects.append(x[is_own].mean(axis=0) - control)
            if f"{key}_confidence" in out.obs:
                confidence.append(float(out.obs[f"{key}_confidence"].to_numpy()[is_own].mean()))
    return {
        "rows": np.array(rows),
        "effects": np.array(effects, np.float32 if case.is_network else np.float64),
        "confidence": np.array(confidence, dtype=np.float32),
    }


def main() -> None:
    """Write the records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the records")
    parser.add_argument("--only", nargs="*", choices=sorted(CASES), default=list(CASES))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    for name in ("scbig", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        record = compute_record(name)
        path = arguments.out / f"{name}.npz"
        np.savez_compressed(path, **record)
        print(f"{path.name}: mean size {np.abs(record['effects']).mean():.4f}")


if __name__ == "__main__":
    main()

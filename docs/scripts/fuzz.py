"""Give every public verb odd inputs: each works, or is refused by a check of scbig.

``make fuzz``, or ``python docs/scripts/fuzz.py [--n 1500] [--seed 0] [--only WORD] [--list]``.

Matrices that are no log1p values have to be refused. Any other input *works* if what comes back
is finite and what was given is unchanged. It is *refused* if the error is a ``ValueError``,
``TypeError``, ``KeyError``, ``RuntimeError``, or an ``OSError`` of a path that is not there, was
raised in a line of scbig, and its message names the argument or column and what was given.
Everything else is a *bare* error: it is printed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import mudata
import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse

import scbig

SOURCE = Path(scbig.__file__).parent
REFUSALS = (ValueError, TypeError, KeyError, RuntimeError, OSError)
# Columns of results in which NaN says that something is not known.
UNKNOWN = ("confidence", "lower", "upper", "value", "ceiling", "share", "mean", "std")
# What scvi-tools notes in data that are set up.
NOTES = ("_scvi_uuid", "_scvi_manager_uuid")


# --- odd values ------------------------------------------------------------------------------


def make_odd_values() -> dict[str, object]:
    """Values that somebody gives somewhere; few of them are right anywhere."""
    frame = pd.DataFrame({"a": [1.0, np.nan]})
    return {
        "None": None,
        "True": True,
        "0": 0,
        "-1": -1,
        "2.5": 2.5,
        "3": 3,
        "np.int64(3)": np.int64(3),
        "np.float32(0.5)": np.float32(0.5),
        "np.bool_": np.bool_(True),
        "nan": float("nan"),
        "inf": float("inf"),
        "1e300": 1e300,
        "10**12": 10**12,
        "'3'": "3",
        "''": "",
        "' '": " ",
        "'NOPE'": "NOPE",
        "'a/b'": "a/b",
        "long": "x" * 300,
        "zero byte": "a\0b",
        "bytes": b"T1",
        "[]": [],
        "['NOPE']": ["NOPE"],
        "['line', 'line']": ["line", "line"],
        "[1, 2]": [1, 2],
        "[None]": [None],
        "[nan]": [float("nan")],
        "[[]]": [[]],
        "nested": [["G1", ["G2"]]],
        "[['G1'], ['G2']]": [["G1"], ["G2"]],
        "tuple": ("G1", "G2"),
        "set": {"G1"},
        "dict": {"G1": 1},
        "object": object(),
        "function": len,
        "class": dict,
        "Path": Path("nowhere/file.h5ad"),
        "array of text": np.array(["G1", "G2"]),
        "array of numbers": np.array([1.0, np.nan]),
        "0-d array": np.array(3),
        "Index": pd.Index(["G1"]),
        "Series": pd.Series(["G1"]),
        "Series of numbers": pd.Series([1.0, 2.0], index=["G1", "G2"]),
        "DataFrame": frame,
        "sparse": sparse.csr_matrix(np.eye(2)),
        "tensor": torch.ones(2),
        "AnnData": AnnData(np.ones((2, 2), dtype=np.float32)),
        "complex": 1j,
        "generator": (label for label in ("G1",)),
    }


# --- what verbs work on ----------------------------------------------------------------------


def make_screen() -> AnnData:
    """Two lines, four targets and two pairs, 12 genes, log1p values with their counts."""
    rng = np.random.default_rng(0)
    labels = ["control"] * 20 + [name for name in ("G0", "G1", "G2", "G3") for _ in range(8)]
    labels += ["G0+G1"] * 8 + ["G1+G2"] * 8
    rows = [(label, line) for line in "xy" for label in labels]
    obs = pd.DataFrame(rows, columns=["perturbation", "line"])
    obs.index = [f"cell{i}" for i in range(len(obs))]
    rates = rng.gamma(2.0, 4.0, 12) * np.where(obs["line"] == "y", 2, 1)[:, None]
    for i in range(4):
        is_hit = obs["perturbation"].str.contains(f"G{i}").to_numpy()
        rates[is_hit] *= rng.uniform(0.4, 1.6, 12)
    counts = rng.poisson(rates).astype(np.float32)
    counts[:, 11] += 1  # no cell is empty
    values = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    var = pd.DataFrame(
        {"symbol": [f"S{i}" for i in range(12)]}, index=[f"G{i}" for i in range(12)]
    )
    obs["depth"] = counts.sum(axis=1)
    adata = AnnData(sparse.csr_matrix(values.astype(np.float32)), obs=obs, var=var)
    adata.layers["counts"] = sparse.csr_matrix(counts)
    return adata


def make_loci() -> scbig.priors.Loci:
    """Places of the four targets."""
    table = {"locus": [f"G{i}" for i in range(4)], "chrom": "chr1"}
    table |= {"position": [1000 + 300 * i for i in range(4)], "gene": table["locus"]}
    return scbig.priors.make_loci(pd.DataFrame(table), assembly="x", coordinates="0-based")


@dataclass
class Bench:
    """Screens, models and files, made once; verbs get copies of what they could change."""

    folder: Path

    @cached_property
    def base(self) -> AnnData:
        return make_screen()

    @property
    def screen(self) -> AnnData:
        return self.base.copy()

    def set_up(self, cls: type, **settings: Any) -> AnnData:
        adata = self.screen
        cls.setup_anndata(adata, context_keys=["line"], **settings)
        return adata

    @cached_property
    def embedding(self) -> scbig.priors.GeneEmbedding:
        rng = np.random.default_rng(1)
        names = tuple(self.base.var_names)
        return scbig.priors.GeneEmbedding(names, rng.normal(size=(12, 4)), "table")

    @cached_property
    def fasta(self) -> Path:
        path = self.folder / "genome.fa"
        letters = np.random.default_rng(2).choice(list("ACGT"), 4000)
        path.write_text(f">chr1\n{''.join(letters)}\n")
        return path

    def new(self, name: str) -> Any:
        """Make a model, not trained."""
        if name == "STRAND":
            adata = self.set_up(scbig.model.STRAND)
            config = scbig.model.STRANDConfig(
                window=64, dim=8, n_heads=2, n_latent=4, bridge_width=8, bridge_blocks=1
            )
            return scbig.model.STRAND(adata, loci=make_loci(), fasta=self.fasta, preset=config)
        cls = getattr(scbig.model, name, None) or getattr(scbig.baselines, name)
        small: dict[str, Any] = {}
        if name == "SCBIG":
            small["preset"] = scbig.model.SCBIGConfig(
                n_latent=4, n_hidden=8, n_heads=2, n_inducing=2, n_condition=8,
                velocity_hidden=(8,), cells_per_batch=32, groups_per_step=2, cells_per_group=4,
            )  # fmt: skip
        if name == "DualStreamMamba":
            small["preset"] = scbig.model.DualStreamConfig(
                n_hidden=8, n_blocks=1, n_states=2, n_latent=2, groups_per_step=2
            )
        return cls(self.set_up(cls), **small)

    def train(self, name: str, **settings: Any) -> Any:
        model = self.new(name)
        if name in QUICK:
            settings = QUICK[name] | settings
        model.train(**settings)
        return model

    @cached_property
    def trained(self) -> dict[str, Any]:
        return {}

    def get(self, name: str) -> Any:
        """Return a trained model, the same each time."""
        if name not in self.trained:
            self.trained[name] = self.train(name)
        return self.trained[name]

    @cached_property
    def predicted(self) -> AnnData:
        return self.get("EffectRegression").predict(perturbations=["G0", "G1+G2"], n_cells=6)

    @cached_property
    def annotated(self) -> AnnData:
        adata = self.screen
        scbig.pp.split(adata, "additive", context_keys=["line"])
        model = self.get("Additive")
        return model.predict(adata, key_added="mine")

    @cached_property
    def saved(self) -> Path:
        path = self.folder / "saved"
        self.get("EffectRegression").save(path)
        return path

    @cached_property
    def screen_file(self) -> Path:
        path = self.folder / "screen.h5ad"
        self.screen.write_h5ad(path)
        return path

    @cached_property
    def predicted_file(self) -> Path:
        path = self.folder / "predicted.h5ad"
        self.predicted.write_h5ad(path)
        return path

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        if not path.exists():
            path.write_text(text)
        return path


_ONE_STEP = {"max_steps": 1, "use_progress_bar": False, "accelerator": "cpu"}
QUICK: dict[str, dict[str, Any]] = {
    "SCBIG": _ONE_STEP | {"max_epochs": 1},
    "DualStreamMamba": _ONE_STEP,
    "STRAND": _ONE_STEP | {"max_locus_steps": 1},
}

# A verb: how it is called with good arguments; each of the named ones is then made odd.
Prepared = tuple[Callable[..., object], dict[str, Any]]


@dataclass(frozen=True)
class Verb:
    """A public function or method, and the arguments that are made odd."""

    name: str
    prepare: Callable[[Bench], Prepared]
    odd: Sequence[str]
    positional: Sequence[str] = ()  # of these, those given by position
    extra: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    weight: float = 1.0  # share of its inputs that is drawn


def _model_verb(model: str, method: str, good: Mapping[str, Any], odd: Sequence[str]) -> Verb:
    def prepare(bench: Bench) -> Prepared:
        settings = dict(good)
        if "adata" in settings:
            settings["adata"] = bench.screen
        return getattr(bench.get(model), method), settings

    return Verb(f"{model}.{method}", prepare, odd)


def _train_verb(model: str, odd: Sequence[str], weight: float = 1.0) -> Verb:
    def prepare(bench: Bench) -> Prepared:
        return bench.new(model).train, dict(QUICK.get(model, {}))

    return Verb(f"{model}.train", prepare, odd, weight=weight)


def _make_verb(model: str, odd: Sequence[str]) -> Verb:
    def prepare(bench: Bench) -> Prepared:
        cls = getattr(scbig.model, model, None) or getattr(scbig.baselines, model)
        good: dict[str, Any] = {"adata": bench.set_up(cls)}
        if model == "STRAND":
            good |= {"loci": make_loci(), "fasta": bench.fasta}
        return cls, good

    return Verb(model, prepare, odd)


SETUP = (
    "adata", "layer", "perturbation_key", "control", "context_keys", "separator", "gene_key",
    "is_log1p", "counts_layer", "target_sum", "responder_key", "borrow_controls",
)  # fmt: skip
ASKED = (
    "adata", "perturbations", "key_added", "n_cells", "contexts", "sampling", "n_draws", "seed",
    "overwrite",
)  # fmt: skip
TRAINING = ("max_steps", "validation", "use_refit", "accelerator", "devices", "use_progress_bar")
GOOD = {"perturbations": ["G0"], "n_cells": 5}


def make_verbs() -> list[Verb]:
    """List all verbs."""
    priors, data, pp, tl, splits = scbig.priors, scbig.data, scbig.pp, scbig.tl, scbig.splits
    schema = data.ScreenSchema("perturbation", "control", "+", ("line",))

    def plain(
        name: str,
        function: Callable[..., object],
        good: Callable[[Bench], dict[str, Any]],
        odd: Sequence[str],
        weight: float = 1.0,
    ) -> Verb:
        return Verb(name, lambda bench: (function, good(bench)), odd, weight=weight)

    verbs = [
        plain("SCBIG.setup_anndata", scbig.model.SCBIG.setup_anndata,
              lambda b: {"adata": b.screen}, SETUP),
        plain("STRAND.setup_anndata", scbig.model.STRAND.setup_anndata,
              lambda b: {"adata": b.screen}, (*SETUP[:3], "locus_key")),
        plain("Additive.setup_anndata", scbig.baselines.Additive.setup_anndata,
              lambda b: {"adata": b.screen}, SETUP),
        _make_verb("SCBIG", (
            "adata", "preset", "programs", "n_programs", "gene_embedding", "gene_graph",
            "gene_sets", "perturbation_embedding", "missing_embedding", "aliases", "seed")),
        _make_verb("DualStreamMamba", (
            "preset", "gene_embedding", "gene_graph", "gene_order", "position_keys",
            "missing_embedding", "aliases", "seed")),
        _make_verb("EffectRegression", (
            "adata", "gene_embedding", "perturbation_embedding", "denoising",
            "missing_embedding", "aliases", "seed")),
        _make_verb("STRAND", (
            "loci", "fasta", "encoder", "cache_dir", "latent", "preset", "missing_locus", "seed")),
        _make_verb("Additive", ("adata", "missing_embedding", "seed")),
        _make_verb("KernelRidge", ("gene_embedding", "missing_embedding", "aliases", "seed")),
        _train_verb("SCBIG", (*TRAINING, "max_epochs"), 0.6),
        _train_verb("DualStreamMamba", TRAINING, 0.3),
        _train_verb("STRAND", (*TRAINING, "max_locus_steps"), 0.3),
        _train_verb("EffectRegression", ("validation", "use_refit")),
        _train_verb("KernelRidge", ("validation", "use_refit"), 0.6),
        _model_verb("SCBIG", "predict", GOOD, ASKED),
        _model_verb("EffectRegression", "predict", GOOD, ASKED),
        _model_verb("EffectRegression", "predict", {"adata": None},
                    ("n_cells", "contexts", "key_added", "seed", "n_draws", "overwrite")),
        _model_verb("Additive", "predict", GOOD, ("adata", "perturbations", "n_cells", "seed")),
        _model_verb("KernelRidge", "predict", GOOD, ("perturbations",)),
        _model_verb("NoChange", "predict", GOOD, ("perturbations",)),
        _model_verb("STRAND", "predict", GOOD, (*ASKED[:2], "loci", "fasta")),
        _model_verb("DualStreamMamba", "predict", GOOD, ASKED[:2]),
        _model_verb("EffectRegression", "get_predicted_expression", GOOD,
                    ("adata", "perturbations", "n_cells", "contexts", "sampling", "seed")),
        _model_verb("EffectRegression", "predict_effects", {"perturbations": ["G0"]},
                    ("perturbations", "contexts")),
        _model_verb("Additive", "predict_effects", {"perturbations": ["G0"]}, ("perturbations",)),
        _model_verb("STRAND", "predict_effects", {"perturbations": ["G0"]},
                    ("perturbations", "loci", "fasta")),
        _model_verb("SCBIG", "get_confidence", {"perturbations": ["G0"]}, ("perturbations",)),
        _model_verb("EffectRegression", "get_confidence", {"perturbations": ["G0"]},
                    ("perturbations",)),
        _model_verb("Additive", "get_confidence", {"perturbations": ["G0"]}, ("perturbations",)),
        _model_verb("EffectRegression", "get_responders", {"perturbations": ["G0"]},
                    ("perturbations",)),
        _model_verb("SCBIG", "get_latent_representation", {}, ("adata", "layer")),
        _model_verb("SCBIG", "get_program_activity", {}, ("adata", "layer")),
        _model_verb("SCBIG", "get_attention", {}, ("adata", "groupby", "layer")),
        _model_verb("STRAND", "get_locus_embedding", {}, ("ids",)),
        _model_verb("STRAND", "get_latent_representation", {}, ("adata", "layer")),
        _model_verb("STRAND", "add_loci", {"loci": make_loci()}, ("loci", "fasta", "encoder")),
        _model_verb("DualStreamMamba", "get_gene_influence", {"perturbation": "G0"},
                    ("perturbation", "method", "genes")),
        Verb("EffectRegression.save",
             lambda b: (b.get("EffectRegression").save, {"dir_path": b.folder / "again"}),
             ("dir_path", "overwrite")),
        plain("EffectRegression.load", scbig.model.EffectRegression.load,
              lambda b: {"dir_path": b.saved}, ("dir_path", "adata")),
        plain("SCBIG.load", scbig.model.SCBIG.load, lambda b: {"dir_path": b.saved},
              ("dir_path",)),
        # --- tools
        plain("pp.split", pp.split,
              lambda b: {"adata": b.screen, "task": "additive", "context_keys": ["line"]},
              ("adata", "task", "seed", "context_keys", "candidates", "context", "n_cells",
               "schema")),
        plain("pp.split context", pp.split,
              lambda b: {"adata": b.screen, "task": "context", "context_keys": ["line"]},
              ("seed", "context_keys", "context")),
        plain("pp.gene_programs", pp.gene_programs,
              lambda b: {"adata": b.screen, "n_programs": 2},
              ("adata", "n_programs", "embedding", "graph", "layer", "perturbation_key",
               "control", "seed"), 0.7),
        plain("pp.set_gene_programs", pp.set_gene_programs,
              lambda b: {"adata": b.screen, "groups": "symbol"}, ("adata", "groups", "graph")),
        plain("tl.evaluate", tl.evaluate,
              lambda b: {"adata": b.annotated.copy(), "layer": "mine", "metrics": ["mae"]},
              ("adata", "layer", "split_key", "perturbation_key", "control", "context_keys",
               "gene_embedding", "metrics"), 0.6),
        plain("tl.evaluate_cells", tl.evaluate_cells,
              lambda b: {"adata": b.annotated.copy(), "predicted": b.predicted.copy(),
                         "metrics": ["mae"]},
              ("adata", "predicted", "layer", "schema", "split_key", "gene_embedding",
               "metrics"), 0.6),
        plain("tl.program_scores", tl.program_scores,
              lambda b: {"adata": _with_programs(b.screen)}, ("adata", "layer", "key_added")),
        plain("tl.source_expression", tl.source_expression,
              lambda b: {"predicted": b.predicted.copy(), "source": b.screen,
                         "layer": "effect_regression"},
              ("predicted", "source", "layer", "key_added", "is_log1p")),
        plain("pl.effect_scatter", scbig.pl.effect_scatter,
              lambda b: {"real_delta": np.arange(12.0), "predicted_delta": np.arange(12.0) / 2},
              ("real_delta", "predicted_delta")),
        plain("pl.history", scbig.pl.history,
              lambda b: {"history": b.get("SCBIG").history}, ("history", "keys", "title")),
        plain("pl.programs", scbig.pl.programs,
              lambda b: {"shifts": pd.DataFrame(np.eye(3), index=list("abc"))},
              ("shifts", "title")),
        plain("pl.scores", scbig.pl.scores,
              lambda b: {"scores": _scores(), "metric": "mae"},
              ("scores", "metric", "is_lower_better", "title")),
        plain("pl.reliability", scbig.pl.reliability,
              lambda b: {"table": _reliability()}, ("table", "kind", "title")),
        # --- metrics, splits
        plain("metrics.evaluate", scbig.metrics.evaluate,
              lambda b: {"real": b.screen, "predicted": b.predicted.copy(), "metrics": ["mae"],
                         "perturbation_key": "perturbation", "control": "control"},
              ("real", "predicted", "perturbation_key", "control", "context_keys", "separator",
               "reference", "metrics")),
        plain("metrics.Evaluator", scbig.metrics.Evaluator,
              lambda b: {"real": b.screen, "schema": schema},
              ("real", "schema", "reference", "metrics", "seed", "is_log1p")),
        plain("metrics.summarise", scbig.metrics.summarise,
              lambda b: {"scores": _scores()}, ("scores",)),
        plain("metrics.choose_metrics", scbig.metrics.choose_metrics,
              lambda b: {"names": ["mae"]}, ("names",)),
        plain("splits.make_additive", splits.make_additive,
              lambda b: {"conditions": CONDITIONS},
              ("conditions", "seed", "test_share", "val_share")),
        plain("splits.make_unseen", splits.make_unseen,
              lambda b: {"conditions": CONDITIONS, "val_share": 0},
              ("conditions", "seed", "test_share", "val_share", "candidates")),
        plain("splits.make_low_sample", splits.make_low_sample,
              lambda b: {"conditions": CONDITIONS, "n_cells": 4},
              ("conditions", "n_cells", "seed", "test_share", "candidates")),
        plain("splits.make_seen", splits.make_seen,
              lambda b: {"conditions": CONDITIONS},
              ("conditions", "seed", "cell_share", "context_keys")),
        plain("splits.make_gears", splits.make_gears,
              lambda b: {"conditions": CONDITIONS},
              ("conditions", "seed", "train_share", "inner_share")),
        plain("splits.make_split", splits.make_split,
              lambda b: {"adata": b.screen, "task": "additive", "schema": schema},
              ("adata", "task", "seed", "schema", "candidates", "context", "share", "n_cells")),
        plain("splits.Split", splits.Split,
              lambda b: {"name": "mine", "task": "custom", "seed": 0, "test": (("G0",),)},
              ("name", "task", "seed", "test", "val", "context_keys", "test_contexts",
               "n_cells", "cell_share")),
        plain("splits.assign_split", splits.assign_split,
              lambda b: {"adata": b.screen, "split": splits.Split("a", "custom", 0, (("G0",),)),
                         "schema": schema}, ("adata", "split", "schema", "key_added")),
        plain("splits.read_splits", splits.read_splits,
              lambda b: {"path": b.write("s.json", '{"a": {"test": ["G0"]}}'), "schema": schema},
              ("path", "schema")),
        plain("splits.write_splits", splits.write_splits,
              lambda b: {"path": b.folder / "w.json",
                         "splits": [splits.Split("a", "custom", 0, (("G0",),))]},
              ("path", "splits")),
        # --- loaders
        plain("priors.load_gene_embedding", priors.load_gene_embedding,
              lambda b: {"path": b.write("e.csv", "gene,a,b\nG0,1,2\nG1,3,4\n")},
              ("path", "key", "var_names")),
        plain("priors.load_gene_sets", priors.load_gene_sets,
              lambda b: {"path": b.write("s.gmt", "one\tx\tG0\tG1\n")}, ("path", "var_names")),
        plain("priors.load_aliases", priors.load_aliases,
              lambda b: {"path": b.write("a.tsv", ALIASES)},
              ("path", "var_names")),
        plain("priors.load_string", priors.load_string,
              lambda b: {
                  "links": b.write("l.txt", "protein1 protein2 combined_score\np.0 p.1 900\n"),
                  "info": b.write("i.txt", INFO),
              }, ("links", "info", "min_score", "var_names")),
        plain("priors.load_loci", priors.load_loci,
              lambda b: {"path": b.write("l.csv", "locus,chrom,position\nG0,chr1,5\n"),
                         "assembly": "x", "coordinates": "0-based"},
              ("path", "assembly", "coordinates")),
        plain("priors.make_loci", priors.make_loci,
              lambda b: {"frame": pd.DataFrame({"locus": ["a"], "chrom": "c", "position": [3]}),
                         "assembly": "x", "coordinates": "0-based"},
              ("frame", "assembly", "coordinates", "source")),
        plain("priors.parse_locus", priors.parse_locus,
              lambda b: {"text": "chr1:5"}, ("text", "coordinates")),
        plain("priors.parse_guide", priors.parse_guide,
              lambda b: {"name": "AB_+_5.23-P1P2"}, ("name",)),
        plain("priors.GeneEmbedding", priors.GeneEmbedding,
              lambda b: {"names": ("a", "b"), "vectors": np.eye(2), "source": "s"},
              ("names", "vectors", "source")),
        plain("priors.GeneSets", priors.GeneSets,
              lambda b: {"sets": {"one": ("a", "b")}, "source": "s"}, ("sets", "source")),
        plain("priors.GeneAliases", priors.GeneAliases,
              lambda b: {"other_names": {"A": ["B"]}}, ("other_names",)),
        plain("priors.Genome", priors.Genome, lambda b: {"path": b.fasta}, ("path",)),
        plain("data.simulate_screen", data.simulate_screen,
              lambda b: {"n_cells": 60, "n_genes": 30, "n_programs": 2, "n_targets": 4,
                         "n_doubles": 2},
              ("n_cells", "n_genes", "n_programs", "n_targets", "n_doubles", "n_triples",
               "n_batches", "control_share", "seed"), 0.5),
        plain("data.infer_schema", data.infer_schema,
              lambda b: {"adata": b.screen}, SETUP[:7]),
        plain("data.from_mudata", data.from_mudata,
              lambda b: {"mdata": mudata.MuData({"rna": b.screen})},
              ("mdata", "modality")),
        plain("data.to_cell_eval", data.to_cell_eval,
              lambda b: {"predicted": b.predicted.copy(), "path": b.folder / "ce.h5ad",
                         "use_overwrite": True, "layer": "effect_regression"},
              ("predicted", "real", "path", "layer", "schema", "use_overwrite")),
        plain("benchmark.run", scbig.benchmark.run,
              lambda b: {"adata": b.screen, "splits": [splits.Split("a", "custom", 0, (("G0",),))],
                         "predictors": ["train_mean"], "out": b.folder / "bench"},
              ("adata", "splits", "predictors", "out", "resources", "schema"), 0.4),
        plain("benchmark.BenchmarkSettings", scbig.benchmark.BenchmarkSettings, lambda b: {},
              ("seeds", "metrics", "n_cells", "n_resamples", "is_log1p", "use_overwrite",
               "judge")),
    ]  # fmt: skip
    for config in (
        scbig.model.SCBIGConfig, scbig.model.DualStreamConfig, scbig.model.STRANDConfig,
        scbig.regression.Denoising, scbig.programs.ProgramConfig,
    ):  # fmt: skip
        names = tuple(config.__dataclass_fields__)
        verbs.append(plain(config.__name__, config, lambda _: {}, names, 0.15))
    return verbs


MODELS = ("SCBIG", "STRAND", "DualStreamMamba", "EffectRegression", "KernelRidge")
PATHS = ("path", "dir_path", "links", "info", "fasta", "out")
# Names under which a message may speak of an argument.
ALSO = {
    ("metrics.choose_metrics", "names"): ("metrics",),
    ("STRAND.predict", "perturbations"): ("labels",),
    ("STRAND.predict_effects", "perturbations"): ("labels",),
    ("benchmark.run", "splits"): ("Splits",),
    ("metrics.Evaluator", "reference"): ("values=",),
    ("priors.GeneEmbedding", "vectors"): ("non-finite values",),
    ("priors.parse_locus", "text"): ("place",),
    ("splits.make_unseen", "conditions"): ("targets",),
    ("Additive.get_confidence", "perturbations"): ("Additive cannot tell",),
    ("Additive.predict_effects", "perturbations"): ("labels",),
    **{(f"{model}.train", "validation"): ("perturbation label",) for model in MODELS},
}

ALIASES = "symbol\talias_symbol\tprev_symbol\nG0\tA|B\tC\n"
INFO = "#string_protein_id\tpreferred_name\np.0\tG0\np.1\tG1\n"
CONDITIONS = [("G0",), ("G1",), ("G2",), ("G3",), ("G0", "G1"), ("G1", "G2"), ()]


def _with_programs(adata: AnnData) -> AnnData:
    scbig.pp.set_gene_programs(
        adata, {name: "ab"[i % 2] for i, name in enumerate(adata.var_names)}
    )
    return adata


def _reliability() -> pd.DataFrame:
    return pd.DataFrame({"predicted": [0.1, 0.6], "observed": [0.2, 0.5], "n": [20, 30]})


def _scores() -> pd.DataFrame:
    rows = [("mine", f"G{i}", "all", "mae", 0.1 * i, "ok") for i in range(3)]
    columns = ["predictor", "perturbation", "context", "metric", "value", "status"]
    return pd.DataFrame(rows, columns=columns)


# --- screens that changed, and the command line ----------------------------------------------


def spoil_nan(adata: AnnData) -> None:
    adata.X.data[5] = np.nan


def spoil_infinite(adata: AnnData) -> None:
    adata.X.data[5] = np.inf


def spoil_negative(adata: AnnData) -> None:
    adata.X.data[5] = -3


def spoil_labels(adata: AnnData) -> None:
    del adata.obs["perturbation"]


def spoil_contexts(adata: AnnData) -> None:
    del adata.obs["line"]


def spoil_one_label(adata: AnnData) -> None:
    adata.obs["perturbation"] = adata.obs["perturbation"].astype(object)
    adata.obs.iloc[3, 0] = None


def spoil_controls(adata: AnnData) -> None:
    adata.obs["perturbation"] = "G0"


def spoil_matrix(adata: AnnData) -> None:
    adata.X = None


def spoil_type(adata: AnnData) -> None:
    adata.X = adata.X.toarray().astype(complex)


def spoil_names(adata: AnnData) -> None:
    adata.var_names = ["G0"] * adata.n_vars


def spoil_programs(adata: AnnData) -> None:
    adata.uns["scbig_programs"] = {"labels": "none"}


def _make(adata: AnnData, make: Callable[[np.ndarray], np.ndarray]) -> None:
    """Put something else in the place of log1p values, and no counts beside it."""
    adata.X = sparse.csr_matrix(make(adata.X.toarray().astype(np.float64)).astype(np.float32))
    adata.layers.pop("counts", None)


def spoil_sum_of_one(adata: AnnData) -> None:
    _make(adata, lambda x: np.expm1(x) / 1e4)


def spoil_sum_of_forty(adata: AnnData) -> None:
    _make(adata, lambda x: np.expm1(x) / 250)


def spoil_half(adata: AnnData) -> None:
    n = adata.n_obs // 2
    _make(adata, lambda x: np.vstack([x[:n], np.expm1(x[n:]) / 1e3]))


def spoil_log2(adata: AnnData) -> None:
    _make(adata, lambda x: x / np.log(2))


def spoil_log10(adata: AnnData) -> None:
    _make(adata, lambda x: x / np.log(10))


def spoil_twice(adata: AnnData) -> None:
    _make(adata, np.log1p)


def spoil_root(adata: AnnData) -> None:
    _make(adata, lambda x: np.sqrt(np.expm1(x) / 100))


def spoil_scale(adata: AnnData) -> None:
    _make(adata, lambda x: x / x.std(axis=0, ddof=1))


def spoil_centre(adata: AnnData) -> None:
    _make(adata, lambda x: (x - x.mean(axis=0)) / x.std(axis=0))


def spoil_noise(adata: AnnData) -> None:
    adata.X.data[5] = -1e-7


# What has to be refused, however it comes.
WRONG = (
    spoil_sum_of_one, spoil_sum_of_forty, spoil_half, spoil_log2, spoil_log10, spoil_twice,
    spoil_root, spoil_scale, spoil_centre, spoil_noise, spoil_nan, spoil_infinite, spoil_negative,
)  # fmt: skip
SPOILS = {
    **dict.fromkeys(WRONG, ("X",)),
    spoil_nan: ("X", "nan"), spoil_infinite: ("X", "inf"), spoil_negative: ("X", "negative"),
    spoil_labels: ("perturbation",), spoil_contexts: ("line",), spoil_one_label: ("perturbation",),
    spoil_controls: ("control",), spoil_matrix: ("X",), spoil_type: ("X", "complex"),
    spoil_names: ("G0", "var_names"), spoil_programs: ("scbig_programs",),
}  # fmt: skip

OPTIONS = {
    "train": (
        "--out", "--layer", "--perturbation-key", "--control", "--separator", "--context-keys",
        "--gene-key", "--target-sum", "--hold-out", "--validation", "--split-file", "--split",
        "--preset", "--max-steps", "--max-epochs", "--seed", "--model", "--missing-embedding",
        "--accelerator", "--gene-embedding", "--pathways", "--aliases", "--string-links",
    ),
    "predict": ("--perturbations", "--n-cells", "--contexts", "--key-added", "--seed",
                "--n-draws", "--out"),
    "evaluate": ("--predicted", "--layer", "--split-key", "--metrics", "--out"),
    "benchmark": ("--task", "--seeds", "--metrics", "--predictors", "--out", "--split-file",
                  "--n-cells", "--context", "--share", "--candidates"),
}  # fmt: skip
WORDS = (
    "", " ", "-1", "0", "2.5", "nan", "NOPE", "a/b", "x" * 300, "None", "1e300",
    "1000000000000", "G0,G0", "G0+", ",",
)  # fmt: skip


# --- cases -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One input."""

    verb: str
    what: str  # which argument is odd, and how
    words: tuple[str, ...]  # one of which a refusal names
    shown: tuple[str, ...]  # one of which it shows
    call: Callable[[Bench], tuple[Callable[[], object], list[object]]]
    is_wrong: bool = False  # has to be refused

    def __str__(self) -> str:
        return f"{self.verb}: {self.what}"


def list_cases(verbs: Sequence[Verb]) -> list[list[Case]]:
    """List the inputs by verb and argument."""
    shown = {name: tuple(_show(value)) for name, value in make_odd_values().items()}
    groups = [
        [_make_odd(verb, argument, *pair) for pair in shown.items()]
        for verb in verbs
        for argument in verb.odd
    ]
    for model in ("EffectRegression", "SCBIG", "KernelRidge", "DualStreamMamba"):
        groups.append([_make_spoiled(model, spoil, "train") for spoil in SPOILS])
        groups.append([_make_spoiled(model, spoil, "make") for spoil in SPOILS])
        groups.append([_make_spoiled(model, spoil, "predict") for spoil in SPOILS])
    groups.append([_make_spoiled("EffectRegression", spoil, "set up") for spoil in SPOILS])
    groups += [
        [_make_command(command, option, word) for word in WORDS]
        for command, options in OPTIONS.items()
        for option in options
    ]
    return groups


def _make_odd(verb: Verb, argument: str, name: str, shown: tuple[str, ...]) -> Case:
    def call(bench: Bench) -> tuple[Callable[[], object], list[object]]:
        function, good = verb.prepare(bench)
        settings = good | {argument: make_odd_values()[name]}
        return lambda: function(**settings), list(settings.values())

    words = (argument, argument.rstrip("s"), *ALSO.get((verb.name, argument), ()))
    if argument == "perturbations":
        words += ("of the target(s)",)  # which are what is asked for
    # An error that shows a path says enough, and of data the column that they lack.
    words = () if argument in PATHS or name == "AnnData" else words
    shown = ("",) if name == "AnnData" else shown
    return Case(verb.name, f"{argument}={name}", words, shown, call)


def _make_spoiled(model: str, spoil: Callable[[AnnData], None], moment: str) -> Case:
    def call(bench: Bench) -> tuple[Callable[[], object], list[object]]:
        cls = getattr(scbig.model, model, None) or getattr(scbig.baselines, model)
        if moment == "train":
            made = bench.new(model)
            spoil(made.adata)
            return lambda: made.train(**QUICK.get(model, {})), [made.adata]
        adata = bench.screen
        if moment == "make":
            adata = bench.set_up(cls)
            spoil(adata)
            return lambda: cls(adata), [adata]
        spoil(adata)
        if moment == "predict":
            return lambda: bench.get(model).predict(adata, perturbations=["G0"]), [adata]
        return lambda: cls.setup_anndata(adata, context_keys=["line"]), [adata]

    words = SPOILS[spoil]
    return Case(f"{model}, {moment}", spoil.__name__, words, ("",), call, spoil in WRONG)


def _make_command(command: str, option: str, word: str) -> Case:
    def call(bench: Bench) -> tuple[Callable[[], object], list[object]]:
        good: dict[str, str] = {"--out": str(bench.folder / f"out_{command}")}
        argument = str(bench.screen_file)
        if command == "train":
            good |= {"--model": "effect_regression"}
        if command == "predict":
            argument = str(bench.saved)
            good |= {"--perturbations": "G0", "--out": str(bench.folder / "p.h5ad")}
        if command == "evaluate":
            good |= {
                "--predicted": str(bench.predicted_file),
                "--out": str(bench.folder / "s.csv"),
            }
        if command == "benchmark":
            good |= {"--task": "unseen", "--predictors": "train_mean"}
        good[option] = word
        flags = ["--overwrite"]
        words = [command, argument, *(part for pair in good.items() for part in pair), *flags]
        return lambda: run_command(words), []

    return Case(f"scbig {command}", f"{option} {word!r:.30}", (), ("",), call)


def run_command(words: list[str]) -> None:
    """Run the command line in this process; a failure without a message is an error."""
    from typer.testing import CliRunner

    from scbig.cli import app

    result = CliRunner().invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code and not result.output.strip():
        raise AssertionError(f"exit status {result.exit_code} without a message")
    if result.exit_code and "Traceback" in result.output:
        raise AssertionError(result.output[-500:])


def _show(value: object) -> Iterator[str]:
    """Yield how a message may show a value: its beginning, its type, or a part of it."""
    text = " ".join(repr(value).split())
    yield text[:12]
    yield str(value)[:12]
    yield type(value).__name__
    if isinstance(value, Mapping | list | tuple | set):
        for part in value:
            yield from _show(part)
    if isinstance(value, np.ndarray | pd.Series | pd.Index) and np.ndim(value):
        yield from (part for one in value for part in (repr(one)[:12], str(one)[:12]))
    if isinstance(value, str | list | tuple) and not value:
        yield from ("No ", "no ", "empty", "none", "None", "at least one")
    if isinstance(value, pd.DataFrame):
        yield from map(repr, value.columns)
    if isinstance(value, Iterator):
        yield "G1"
    if value is None:
        yield from ("[]", "There is no DNA", "would be ignored: ")
    # What is said of arrays, of all conditions, and of any.
    yield from ("shape", "leave none", "every condition has", "Additive cannot tell")


# --- judging ---------------------------------------------------------------------------------


def take_print(value: object) -> dict[str, str]:
    """Take fingerprints of the parts of an input that can change."""
    if not isinstance(value, AnnData):
        return {}
    parts: dict[str, object] = {"X": value.X, "obs_names": np.asarray(value.obs_names, str)}
    parts["var_names"] = np.asarray(value.var_names, str)
    parts |= {f"layers[{k}]": v for k, v in value.layers.items() if k is not None}
    parts |= {f"obs[{k}]": np.asarray(value.obs[k].astype(str), str) for k in value.obs}
    parts |= {f"var[{k}]": np.asarray(value.var[k].astype(str), str) for k in value.var}
    parts |= {f"uns[{k}]": v for k, v in value.uns.items() if k not in NOTES}
    return {name: _hash(part) for name, part in parts.items()}


def _hash(part: object) -> str:
    if sparse.issparse(part):
        part = part.toarray()
    is_numeric = isinstance(part, np.ndarray) and part.dtype != object
    data = np.ascontiguousarray(part).tobytes() if is_numeric else repr(part).encode()
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def find_changes(
    before: Mapping[str, str], after: Mapping[str, str], *, is_done: bool
) -> list[str]:
    """Name what changed; a verb that was done may add."""
    changed = [name for name, print_ in before.items() if after.get(name) != print_]
    return changed if is_done else changed + [name for name in after if name not in before]


def find_infinite(result: object, where: str = "result") -> list[str]:
    """Name parts of a result that are not finite."""
    if isinstance(result, AnnData):
        layers = {f"layers[{k}]": v for k, v in result.layers.items() if k is not None}
        found = [one for k, v in layers.items() for one in find_infinite(v, k)]
        return found + find_infinite(result.X, "X") + find_infinite(result.obs, "obs")
    if isinstance(result, pd.DataFrame):
        numeric = result.select_dtypes("number")
        known = [k for k in numeric if not any(word in str(k) for word in UNKNOWN)]
        return [f"{where}[{k}]" for k in known if not np.isfinite(numeric[k]).all()]
    if sparse.issparse(result):
        result = result.data
    if isinstance(result, np.ndarray) and result.dtype.kind == "f":
        return [] if np.isfinite(result).all() else [where]
    return []


def judge(case: Case, bench: Bench) -> tuple[bool, str | None]:
    """Run a case; say whether it worked, and what is wrong, or ``None``."""
    run, inputs = case.call(bench)
    given = [value for value in inputs if isinstance(value, AnnData)]
    before = [take_print(value) for value in given]
    result, complaint = None, None
    try:
        result = run()
    except REFUSALS as error:
        is_done, complaint = False, describe_bare(case, error)
    except Exception as error:  # noqa: BLE001 - the question is whether there is one
        where = traceback.extract_tb(error.__traceback__)[-1]
        return False, f"{type(error).__name__}: {error} [{where.filename}:{where.lineno}]"
    else:
        is_done = True
        if case.is_wrong:
            complaint = "passes silently"
        if infinite := find_infinite(result):
            complaint = f"not finite: {infinite}"
    after = [take_print(value) for value in given]
    changes = [find_changes(*both, is_done=is_done) for both in zip(before, after, strict=True)]
    # What predict annotates is what it was given.
    if any(changes):
        complaint = f"{complaint or ''} changed: {changes}"
    return is_done, complaint


def describe_bare(case: Case, error: BaseException) -> str | None:
    """Say why an error is no refusal; ``None`` if it is."""
    frames = traceback.extract_tb(error.__traceback__)
    file, message = Path(frames[-1].filename), str(error)
    if case.verb.startswith("scbig ") or (isinstance(error, ImportError)):
        return f"{type(error).__name__}: {message}"
    shown = f"{type(error).__name__}: {message[:200]} [{file.name}:{frames[-1].lineno}]"
    if not file.is_relative_to(SOURCE):
        own = [frame for frame in frames if Path(frame.filename).is_relative_to(SOURCE)]
        last = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "no frame of scbig"
        return f"raised elsewhere, under {last}: {shown}"
    if case.words and not any(word in message for word in case.words):
        return f"does not name {case.words[0]!r}: {shown}"
    if not any(value in message for value in case.shown):
        return f"does not show the value: {shown}"
    return None


def draw_cases(
    groups: Sequence[Sequence[Case]], verbs: Sequence[Verb], n: int, seed: int
) -> list[Case]:
    """Draw inputs, from each argument of each verb alike, but for the slow ones."""
    rng = random.Random(seed)
    weight = {verb.name: verb.weight for verb in verbs}
    drawn, shuffled = [], [rng.sample(list(group), len(group)) for group in groups]
    for turn in range(max(map(len, shuffled))):
        order = rng.sample(range(len(shuffled)), len(shuffled))
        cases = [shuffled[i][turn] for i in order if turn < len(shuffled[i])]
        drawn += [case for case in cases if rng.random() < weight.get(case.verb, 1)]
        if len(drawn) >= n:
            break
    return drawn[:n]


@dataclass
class Tally:
    """What came of the inputs."""

    n_worked: int = 0
    n_refused: int = 0
    bare: list[tuple[Case, str]] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)


def run(n: int, seed: int = 0, only: str = "", *, use_progress: bool = False) -> Tally:
    """Run drawn inputs and count what came of them."""
    verbs = make_verbs()
    groups = list_cases(verbs)
    if only:
        groups = [kept for g in groups if (kept := [case for case in g if only in str(case)])]
    tally = Tally()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        here = Path.cwd()
        os.chdir(folder)  # odd paths are relative
        try:
            bench = Bench(Path(folder))
            for i, case in enumerate(draw_cases(groups, verbs, n, seed)):
                start = time.perf_counter()
                _count(tally, case, bench)
                tally.seconds[case.verb] += time.perf_counter() - start
                if use_progress and i % 100 == 99:
                    sys.stderr.write(f"{i + 1} inputs, {len(tally.bare)} bare errors\n")
        finally:
            os.chdir(here)
            logging.disable(logging.NOTSET)
    return tally


def _count(tally: Tally, case: Case, bench: Bench) -> None:
    is_done, complaint = judge(case, bench)
    if complaint:
        tally.bare.append((case, complaint))
    tally.n_worked += is_done and not complaint
    tally.n_refused += not is_done and not complaint


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1500, help="number of inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only inputs whose name has this word")
    parser.add_argument("--slow", action="store_true", help="show where the time went")
    given = parser.parse_args()
    start = time.perf_counter()
    tally = run(given.n, given.seed, given.only, use_progress=True)
    for case, complaint in tally.bare:
        print(f"BARE {case}\n     {complaint}")
    if given.slow:
        for verb, seconds in tally.seconds.most_common(15):
            print(f"{seconds:7.1f} s  {verb}")
    n = tally.n_worked + tally.n_refused + len(tally.bare)
    print(
        f"{n} inputs in {time.perf_counter() - start:.0f} s: {tally.n_worked} worked, "
        f"{tally.n_refused} were refused, {len(tally.bare)} bare errors."
    )
    return int(bool(tally.bare))


if __name__ == "__main__":
    sys.exit(main())

"""What a benchmark is given: settings, prior knowledge and predictors, and its fingerprints."""

import json
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from scbig._annotations import check_fields
from scbig._arguments import MAX_SEED, MAX_STEPS
from scbig._protocols import Predictor
from scbig.benchmark.catalogue import CATALOGUE, PredictorSpec, find_spec, get_names
from scbig.data import Expression, ScreenSchema, get_gene_names, get_matrix
from scbig.metrics import choose_metrics
from scbig.priors import GeneAliases, GeneEmbedding, GeneGraph, GeneSets, Loci, TableEncoder

POOLED = "pooled"
CEILING = "ceiling"
JUDGES = ("vcc2026",)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchmarkSettings:
    """What a benchmark does besides training predictors on splits.

    Attributes
    ----------
    seeds
        Seeds that every predictor is trained with on every split; by default the one seed of
        each split.
    metrics
        Names of the metrics, or of groups of them, such as ``"realism"``; by default those of
        the groups ``"default"`` and ``"calibration"`` that need no optional library, which leaves
        out ``des``, and for the task ``"seen"`` those of ``"realism"`` too.
    n_cells
        Cells to predict for each condition and context; by default 500. Where metrics of
        ``"realism"`` are scored, as many as a predictor makes by default: of scbig's own one of
        each control cell, at most 500, as copies would be told from real cells. The means of
        fewer than 50 cells carry the chance of the cells that are handed out.
    n_resamples
        Bootstrap samples of conditions behind each interval.
    is_log1p
        Take integers for log1p values, as ``setup_anndata`` does.
    use_overwrite
        Begin anew where the folder holds a benchmark with other settings.
    command
        What was typed to run it, for the report.
    judge
        A judge of the field to ask as well: ``"vcc2026"``, the rules of the Virtual Cell Challenge
        2026 as cell-eval2 has them (extra ``vcc``). It scores whole counts, of as many predicted
        as real cells of each condition; see :func:`scbig.data.to_cell_eval`.
    """

    seeds: tuple[int, ...] | None = None
    metrics: tuple[str, ...] | None = None
    n_cells: int | None = None
    n_resamples: int = 2000
    is_log1p: bool = False
    use_overwrite: bool = False
    command: str | None = None
    judge: str | None = None

    def __post_init__(self) -> None:
        seeds = {"seeds": MAX_SEED, "n_cells": MAX_STEPS, "n_resamples": 10**6}
        check_fields(self, least={"seeds": 0}, most=seeds)
        if self.seeds is not None and (not self.seeds or len(set(self.seeds)) < len(self.seeds)):
            raise ValueError(f"seeds={self.seeds}: give each seed once, and at least one.")
        if self.judge not in (None, *JUDGES):
            raise ValueError(f"There is no judge {self.judge!r}. Those known: {list(JUDGES)}.")
        choose_metrics(self.metrics)

    def resolve(self, tasks: Collection[str]) -> "BenchmarkSettings":
        """Put in what follows from the tasks of the splits.

        Parameters
        ----------
        tasks
            Tasks of the splits.

        Returns
        -------
        The settings with names of metrics and the number of cells.
        """
        realism = ("realism",) if "seen" in tasks else ()
        groups = ("default", *realism, "calibration")
        wanted = self.metrics or groups
        # What needs an optional library takes long, and has to be named.
        chosen = {
            name: metric
            for name, metric in choose_metrics(wanted).items()
            if name in wanted or "eval" not in metric.needs
        }
        has_realism = any(metric.group == "realism" for metric in chosen.values())
        # As many molecules as make the mean of a rare gene what it is to be.
        n_cells = self.n_cells or (None if has_realism else 500)
        return replace(self, metrics=tuple(chosen), n_cells=n_cells)


@dataclass(frozen=True)
class Resources:
    """Prior knowledge that every predictor may use.

    A predictor is given those that its constructor has an argument for.

    Attributes
    ----------
    gene_embedding
        Embedding of genes and targets.
    gene_graph
        Interactions of genes.
    gene_sets
        Pathways.
    aliases
        Other names of genes.
    loci
        Places that the labels of the screen stand for.
    fasta
        Their genome; it is known by its name and size, as a whole genome takes long to read.
    encoder
        Vectors of the loci.
    """

    gene_embedding: GeneEmbedding | None = None
    gene_graph: GeneGraph | None = None
    gene_sets: GeneSets | None = None
    aliases: GeneAliases | None = None
    loci: Loci | None = None
    fasta: Path | None = None
    encoder: TableEncoder | None = None

    def get_given(self) -> dict[str, Any]:
        """Return those that there are, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def describe(self) -> dict[str, dict[str, str]]:
        """Return source and fingerprint of each that there is, ready for JSON."""
        return {
            name: {
                "source": getattr(value, "source", type(value).__name__),
                "fingerprint": make_fingerprint(_get_content(value)),
            }
            for name, value in self.get_given().items()
        }


def _get_content(value: Any) -> list[Any]:
    if isinstance(value, GeneEmbedding):
        return [list(value.names), value.vectors]
    if isinstance(value, GeneGraph):
        matrix = value.adjacency.tocoo()
        return [list(value.names), *matrix.coords, matrix.data]
    if isinstance(value, GeneSets):
        return [{name: list(genes) for name, genes in value.sets.items()}]
    if isinstance(value, Loci):
        return [value.assembly, value.to_frame().to_csv()]
    if isinstance(value, TableEncoder):
        return [value.fingerprint]
    if isinstance(value, Path):
        return [value.name, value.stat().st_size]
    return [value.to_dict()]


def make_fingerprint(parts: Iterable[Any]) -> str:
    """Hash arrays by their bytes, and all else as JSON.

    Parameters
    ----------
    parts
        Arrays of numbers, and values that JSON can hold.

    Returns
    -------
    Sixteen hexadecimal digits.
    """
    digest = blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).view(np.uint8).data)
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()


def describe_screen(adata: AnnData, schema: ScreenSchema) -> dict[str, Any]:
    """Describe a screen: its shape, its conventions, and the fingerprint of what predictors read.

    Parameters
    ----------
    adata
        Screen.
    schema
        Where it keeps its labels.

    Returns
    -------
    Values for JSON. The fingerprint does not depend on how the matrix is stored.
    """
    columns = (schema.perturbation_key, *schema.context_keys)
    labels = [adata.obs[key].astype(str).tolist() for key in columns]
    genes = list(map(str, get_gene_names(adata, schema.gene_key)))
    chunks = (rows for _, rows in Expression(get_matrix(adata, schema.layer)).chunks())
    parts = (part for group in ([labels, genes], chunks) for part in group)
    return {
        "n_cells": adata.n_obs,
        "n_genes": adata.n_vars,
        "schema": schema.to_dict(),
        "fingerprint": make_fingerprint(parts),
    }


def get_predictors() -> dict[str, PredictorSpec]:
    """Return the predictors that come with scbig.

    Returns
    -------
    By name: the baselines, six of which are the floors of every table, the models ``scbig``,
    ``dualstream`` and ``strand``, and ``scbig_anchor``, the regression inside SCBIG without its
    networks. ``own_mean`` and ``shifted`` are floors of the task ``"seen"``: the condition's own
    mean effect, and the regression carried as a mere shift of control cells.
    """
    return {spec.name: _load(spec) for spec in CATALOGUE}


def get_predictor_names(
    resources: Resources | None = None, tasks: Collection[str] | None = None
) -> tuple[str, ...]:
    """Return the names that :func:`run` knows, those of other packages included.

    Parameters
    ----------
    resources
        Leave those of scbig's own predictors out that need a resource which is not there.
    tasks
        Leave those out that are made for other tasks.

    Returns
    -------
    The predictors of scbig, then the entry points of the group ``scbig.predictors``.
    """
    lacking = {
        spec.name
        for spec in CATALOGUE
        if (resources is not None and spec.find_missing(resources))
        or (tasks is not None and not _fits(spec, tasks))
    }
    return tuple(name for name in get_names() if name not in lacking)


def resolve_predictors(
    wanted: Iterable[str | type[Predictor] | PredictorSpec],
    tasks: Collection[str] = (),
) -> tuple[PredictorSpec, ...]:
    """Turn names, import paths, classes and specs into specs.

    Where no floor is among them, all of the tasks are added: scores without floors say little.

    Parameters
    ----------
    wanted
        Names as in :func:`get_predictor_names`, import paths ``"package.module:NAME"`` of
        classes or specs, classes, which go by their ``default_key``, or specs.
    tasks
        Tasks of the splits.

    Returns
    -------
    The specs, floors first, as they are quick.

    Raises
    ------
    ValueError
        When a name is unknown or there twice, or a class is no predictor.
    """
    specs = [_load(find_spec(one)) for one in wanted]
    if not any(spec.is_floor for spec in specs):
        floors = [_load(spec) for spec in CATALOGUE if spec.is_floor and _fits(spec, tasks)]
        logger.info("Added the floors %s.", ", ".join(spec.name for spec in floors))
        specs = [*floors, *specs]
    for spec in specs:
        if tasks and not _fits(spec, tasks):
            logger.warning(
                "%s is made for the task %s, and of other splits it knows little.",
                spec.name,
                " or ".join(spec.tasks),
            )
    names = [spec.name for spec in specs]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Predictors of the same name: {doubled}. Name each once.")
    if CEILING in names:
        raise ValueError(f"A predictor cannot be named {CEILING!r}: that row is the ceiling.")
    return tuple(sorted(specs, key=lambda spec: not spec.is_floor))


def _fits(spec: PredictorSpec, tasks: Collection[str]) -> bool:
    return not spec.tasks or not set(tasks).isdisjoint(spec.tasks)


def _load(spec: PredictorSpec) -> PredictorSpec:
    """Import the class now, so that what is amiss is said before anything runs."""
    return replace(spec, predictor_class=spec.load_class())

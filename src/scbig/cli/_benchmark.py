"""`scbig benchmark`: every predictor on every split, scored alike."""

from __future__ import annotations

import math
import shlex
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from scbig.benchmark.catalogue import get_names
from scbig.cli._given import check_loci, refuse_unused, take_file
from scbig.cli._options import (
    LABELS,
    OWN,
    Aliases,
    Assembly,
    Control,
    Coordinates,
    Fasta,
    GeneEmbeddingFile,
    GeneKey,
    GuideToGene,
    IsLog1p,
    Labels,
    Layer,
    LociFile,
    LocusEmbedding,
    Modality,
    Normalize,
    Pathways,
    PerturbationKey,
    PriorFiles,
    Scoring,
    ScreenFile,
    ScreenPath,
    Separator,
    SplitFile,
    Splitting,
    StringInfo,
    StringLinks,
    TargetSum,
    split_list,
    split_numbers,
)
from scbig.cli._session import Session, run_session, show_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from scbig.benchmark import BenchmarkResult, BenchmarkSettings

HOLDING = "What is held out: a task, or a file"
SHOWN = {
    "effects": ("pearson_delta", "pearson_delta_top20", "mse", "pds_l1", "energy_distance"),
    "cells": ("c2st_auc", "de_count", "de_top20_overlap", "zero_share_error", "variance_ratio"),
    "errors": ("coverage_90", "coverage_90_top", "interval_width", "auroc_changed"),
}
N_SHOWN = 5
# Options of how a task makes its splits.
_OF_TASKS = ("n_cells", "held_out_context", "candidates", "share")


class BenchmarkTask(StrEnum):
    """What to hold out."""

    ADDITIVE = "additive"
    UNSEEN = "unseen"
    CONTEXT = "context"
    REPLICATE = "replicate"
    LOW_SAMPLE = "low_sample"
    GEARS = "gears"
    SEEN = "seen"


class FieldRules(StrEnum):
    """Whose rules to score by as well."""

    VCC2026 = "vcc2026"


def benchmark(
    context: typer.Context,
    data: ScreenPath,
    out: Annotated[Path, typer.Option(help="Folder for the results.", metavar="DIR")],
    predictors: Annotated[
        str | None,
        typer.Option(
            help=f"By default all of: {', '.join(get_names())}. Your own: {OWN}.",
            metavar="A,B,C",
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="A split for each (--task), or trainings on each split (--split-file).",
            metavar="0,1,2",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="By default all but des and, for other tasks than seen, the group realism.",
            metavar="A,B,C",
        ),
    ] = None,
    judge: Annotated[
        FieldRules | None,
        typer.Option(help="Score by the rules of a competition as well, with cell-eval2."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew instead of going on from --out.")
    ] = False,
    task: Annotated[
        BenchmarkTask | None, typer.Option(help="Which question to ask.", rich_help_panel=HOLDING)
    ] = None,
    n_cells: Annotated[
        str | None,
        typer.Option(
            help="Cells kept of each condition (low_sample).",
            metavar="8,16,32",
            rich_help_panel=HOLDING,
        ),
    ] = None,
    held_out_context: Annotated[
        str | None,
        typer.Option(
            help="Context to hold out (context, replicate).",
            metavar="NAME",
            rich_help_panel=HOLDING,
        ),
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option(
            help="Targets that may be held out (unseen, low_sample).",
            metavar="A,B,C",
            rich_help_panel=HOLDING,
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(help="Share of conditions (seen: cells) held out.", rich_help_panel=HOLDING),
    ] = None,
    split_file: SplitFile = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Split in --split-file; may be repeated. By default all.",
            metavar="NAME",
            rich_help_panel=HOLDING,
        ),
    ] = None,
    normalize: Normalize = False,
    target_sum: TargetSum = 1e4,
    layer: Layer = None,
    modality: Modality = "rna",
    gene_key: GeneKey = None,
    is_log1p: IsLog1p = False,
    perturbation_key: PerturbationKey = None,
    control: Control = None,
    separator: Separator = None,
    guide_to_gene: GuideToGene = None,
    context_keys: Annotated[
        str | None,
        typer.Option(
            help="Columns of obs within which effects are taken; by default those of the splits.",
            metavar="A,B",
            rich_help_panel=LABELS,
        ),
    ] = None,
    gene_embedding: GeneEmbeddingFile = None,
    string_links: StringLinks = None,
    string_info: StringInfo = None,
    pathways: Pathways = None,
    aliases: Aliases = None,
    loci: LociFile = None,
    fasta: Fasta = None,
    assembly: Assembly = None,
    coordinates: Coordinates = None,
    locus_embedding: LocusEmbedding = None,
) -> None:
    """Train predictors on splits of a screen and score what they predict.

    Writes scores.csv, summary.csv, comparison.csv, report.html and config.json, and with --judge
    judge.csv. What is finished is kept: the same command goes on after an interruption, and one
    with more predictors, splits or seeds adds them. The status is 1 when a predictor failed.

    Examples
    --------
    - scbig benchmark screen.h5ad --task unseen --seeds 0,1,2 --out bench
    - scbig benchmark screen.h5ad --split-file splits.json --predictors scbig,ridge --out bench
    - scbig benchmark counts.h5ad --normalize --task context --context-keys cell_line --out bench
    - scbig benchmark counts.h5ad --normalize --task seen --judge vcc2026 --out bench
    """
    with run_session(context) as session:
        check_loci(context)
        if split_file is not None:
            refuse_unused(context, _OF_TASKS, "splits are those of --split-file.")
        run_benchmark(
            session,
            take_file(context, ScreenFile(data, modality, normalize, target_sum)),
            Labels(
                layer=layer,
                perturbation_key=perturbation_key,
                control=tuple(control) if control else None,
                context_keys=split_list(context_keys),
                separator=separator,
                gene_key=gene_key,
                is_log1p=is_log1p,
                guide_to_gene=guide_to_gene,
            ),
            PriorFiles(
                gene_embedding=gene_embedding,
                string_links=string_links,
                string_info=string_info,
                pathways=pathways,
                aliases=aliases,
                loci=loci,
                fasta=fasta,
                assembly=assembly,
                coordinates=coordinates,
                locus_embedding=locus_embedding,
            ),
            Splitting(
                task=None if task is None else task.value,
                n_cells=split_numbers("--n-cells", n_cells),
                context=held_out_context,
                candidates=split_list(candidates),
                share=share,
                split_file=split_file,
                split=tuple(split or ()),
            ),
            Scoring(
                predictors=split_list(predictors),
                seeds=split_numbers("--seeds", seeds),
                metrics=split_list(metrics),
                judge=None if judge is None else judge.value,
                use_overwrite=overwrite,
                command=shlex.join(["scbig", *sys.argv[1:]]),
            ),
            out,
        )


def run_benchmark(
    session: Session,
    file: ScreenFile,
    labels: Labels,
    priors: PriorFiles,
    splitting: Splitting,
    scoring: Scoring,
    out: Path,
) -> None:
    """Read a screen, run the benchmark and show its means.

    Parameters
    ----------
    session
        The running command.
    file, labels, priors, splitting, scoring
        What was asked for.
    out
        Folder for the results.

    Raises
    ------
    typer.Exit
        With status 1, when a predictor failed somewhere.
    """
    from scbig.benchmark import Resources, get_predictor_names, run
    from scbig.cli._files import (
        find_context_keys,
        get_splits,
        normalize_counts,
        read_priors,
        read_screen,
    )
    from scbig.data import get_gene_names, infer_schema

    settings = _make_settings(labels, splitting, scoring)
    adata = read_screen(file, labels.layer)
    normalize_counts(adata, file, labels.layer, is_log1p=labels.is_log1p)
    arguments = labels.to_dict()
    del arguments["is_log1p"]
    schema = infer_schema(adata, **arguments)
    splits = get_splits(adata, schema, splitting, scoring.seeds)
    schema = replace(schema, context_keys=find_context_keys(schema, splits))
    tasks = {split.task for split in splits}
    names = list(map(str, get_gene_names(adata, schema.gene_key)))
    resources = Resources(**read_priors(priors, var_names=names))
    with show_progress(session) as progress:
        result = run(
            adata,
            splits,
            scoring.predictors or get_predictor_names(resources, tasks),
            out=out,
            resources=resources,
            schema=schema,
            settings=settings,
            progress=progress,
        )
    _conclude(session, result)


def _make_settings(labels: Labels, splitting: Splitting, scoring: Scoring) -> BenchmarkSettings:
    from scbig.benchmark import BenchmarkSettings

    # Seeds of a task are those of its splits, and each split passes its own on.
    seeds = scoring.seeds if splitting.split_file is not None else ()
    return BenchmarkSettings(
        seeds=seeds or None,
        metrics=scoring.metrics or None,
        is_log1p=labels.is_log1p,
        judge=scoring.judge,
        use_overwrite=scoring.use_overwrite,
        command=scoring.command,
    )


def _conclude(session: Session, result: BenchmarkResult) -> None:
    if not session.verbosity.is_quiet:
        for table in make_tables(result.summary):
            session.console.print(table, "")
        if result.judged is not None:
            from scbig.benchmark._judge_tables import make_terminal_table

            session.console.print(make_terminal_table(result.judged, result.folder))
    folder = escape(str(result.folder))
    judge = "" if result.judged is None else ", judge.csv"
    session.say(
        f"Wrote scores.csv, summary.csv, comparison.csv{judge} and report.html to "
        f"[bold]{folder}[/bold]."
    )
    if result.failures:
        listed = "\n".join(f"  {name}: {error}" for name, error in result.failures.items())
        session.console.print(
            f"[bold red]{len(result.failures)} part(s) failed[/bold red]; the same command tries "
            f"them again:\n{escape(listed)}",
            highlight=False,
        )
        raise typer.Exit(1)


def make_tables(summary: pd.DataFrame) -> Iterator[Table]:
    """Lay out the means over all conditions and splits, the best of each task in bold.

    Parameters
    ----------
    summary
        See :func:`scbig.benchmark.summarise`.

    Yields
    ------
    A table of effects, of cells and of errors, if they were scored: a row a predictor, a column
    for each of a few metrics.
    """
    rows = summary[(summary["split"] == "pooled") & (summary["kind"] == "all")]
    found = list(rows["metric"].unique())
    shown = {part: [name for name in names if name in found] for part, names in SHOWN.items()}
    if not any(shown.values()):
        shown = {"scores": found[:N_SHOWN]}
    for part, metrics in shown.items():
        if metrics:
            yield _make_table(f"Held-out conditions: {part}", rows, metrics)


def _make_table(title: str, rows: pd.DataFrame, metrics: list[str]) -> Table:
    from scbig.metrics import METRICS

    table = Table(title=title, caption="↑ higher is better, ↓ lower, →1 closer to 1")
    table.add_column("", no_wrap=True)
    for name in metrics:
        table.add_column(f"{name.replace('_', ' ')} {METRICS[name].arrow}", justify="right")
    for task, block in rows.groupby("task", sort=False):
        means = block.pivot(index="predictor", columns="metric", values="mean")[metrics]  # noqa: PD010
        means = means.loc[block["predictor"].unique()]
        table.add_section()
        table.add_row(f"[italic]{task}[/italic]")
        contest = means.drop(index="ceiling", errors="ignore")
        best = {name: METRICS[name].pick_best(contest[name]) for name in metrics}
        for name, values in means.iterrows():
            cells = [_format(values[m], is_best=values[m] == best[m]) for m in metrics]
            table.add_row(f"  {name}", *cells)
    return table


def _format(value: float, *, is_best: bool) -> str:
    text = "-" if math.isnan(value) else f"{value:#.3g}"
    return f"[bold green]{text}[/bold green]" if is_best else text

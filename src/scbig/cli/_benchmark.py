"""`scbig benchmark`: every predictor on every split, scored alike."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scbig.cli._benchmark_requests import Scoring, Splitting, split_numbers
from scbig.cli._options import (
    LABELS,
    Aliases,
    Assembly,
    Control,
    Coordinates,
    Fasta,
    GeneEmbeddingFile,
    GeneKey,
    IsLog1p,
    Layer,
    LociFile,
    LocusEmbedding,
    Modality,
    Normalize,
    Pathways,
    PerturbationKey,
    ScreenPath,
    Separator,
    SplitFile,
    StringInfo,
    StringLinks,
    TargetSum,
)
from scbig.cli._requests import Labels, PriorFiles, ScreenFile, split_list
from scbig.cli._session import run_session

HOLDING = "What is held out: a task, or a file"
HINT = (
    "Arguments in this message are options here: use_overwrite=True is --overwrite, "
    "context_keys=... is --context-keys, is_log1p=True is --is-log1p; raw counts are normalised "
    "by --normalize."
)


class Task(StrEnum):
    """What to hold out."""

    ADDITIVE = "additive"
    UNSEEN = "unseen"
    CONTEXT = "context"
    REPLICATE = "replicate"
    LOW_SAMPLE = "low_sample"
    GEARS = "gears"


def benchmark(
    context: typer.Context,
    data: ScreenPath,
    out: Annotated[Path, typer.Option(help="Folder for the results.", metavar="DIR")],
    predictors: Annotated[
        str | None,
        typer.Option(help="Such as scbig,kernel_ridge; by default all.", metavar="A,B,C"),
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
        typer.Option(help="By default all but des, which takes long.", metavar="A,B,C"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew instead of going on from --out.")
    ] = False,
    task: Annotated[
        Task | None, typer.Option(help="Which question to ask.", rich_help_panel=HOLDING)
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
        typer.Option(help="Share of the conditions to hold out.", rich_help_panel=HOLDING),
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

    Writes scores.csv, summary.csv, comparison.csv, report.html and config.json. What is finished
    is kept: the same command goes on after an interruption, and one with more predictors, splits
    or seeds adds them. The exit status is 1 when a predictor failed somewhere.

    Examples
    --------
    - scbig benchmark screen.h5ad --task unseen --seeds 0,1,2 --out bench
    - scbig benchmark screen.h5ad --split-file splits.json --predictors scbig,ridge --out bench
    - scbig benchmark counts.h5ad --normalize --task context --context-keys cell_line --out bench
    """
    with run_session(context, HINT) as session:
        from scbig.cli._benchmark_run import run_benchmark

        run_benchmark(
            session,
            ScreenFile(data, modality, normalize, target_sum),
            Labels(
                layer,
                perturbation_key,
                control,
                split_list(context_keys),
                separator,
                gene_key,
                is_log1p,
            ),
            PriorFiles(
                gene_embedding,
                string_links,
                string_info,
                pathways,
                aliases,
                loci,
                fasta,
                assembly,
                coordinates,
                locus_embedding,
            ),
            Splitting(
                None if task is None else task.value,
                split_numbers("--n-cells", n_cells),
                held_out_context,
                split_list(candidates),
                share,
                split_file,
                tuple(split or ()),
            ),
            Scoring(
                split_list(predictors),
                split_numbers("--seeds", seeds),
                split_list(metrics),
                overwrite,
                shlex.join(["scbig", *sys.argv[1:]]),
            ),
            out,
        )

"""The work behind `scbig benchmark`."""

from dataclasses import replace
from pathlib import Path

import typer
from rich.markup import escape

from scbig.benchmark import (
    BenchmarkResult,
    BenchmarkSettings,
    Resources,
    get_predictor_names,
    run,
)
from scbig.cli._benchmark_progress import show_progress
from scbig.cli._benchmark_requests import Scoring, Splitting
from scbig.cli._benchmark_splits import find_context_keys, get_splits
from scbig.cli._benchmark_table import make_table
from scbig.cli._priors import read_priors
from scbig.cli._read import read_screen
from scbig.cli._requests import Labels, PriorFiles, ScreenFile
from scbig.cli._session import Session
from scbig.data import get_gene_names, infer_schema


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
    settings = _make_settings(labels, splitting, scoring)
    adata = read_screen(file, labels.layer)
    arguments = labels.to_dict()
    del arguments["is_log1p"]
    schema = infer_schema(adata, **arguments)
    splits = get_splits(adata, schema, splitting, scoring.seeds)
    schema = replace(schema, context_keys=find_context_keys(schema, splits))
    names = list(map(str, get_gene_names(adata, schema.gene_key)))
    resources = Resources(**read_priors(priors, var_names=names))
    with show_progress(session) as progress:
        result = run(
            adata,
            splits,
            scoring.predictors or get_predictor_names(resources),
            out=out,
            resources=resources,
            schema=schema,
            settings=settings,
            progress=progress,
        )
    _conclude(session, result)


def _make_settings(labels: Labels, splitting: Splitting, scoring: Scoring) -> BenchmarkSettings:
    # Seeds of a task are those of its splits, and each split passes its own on.
    seeds = scoring.seeds if splitting.split_file is not None else ()
    return BenchmarkSettings(
        seeds=seeds or None,
        metrics=scoring.metrics or None,
        is_log1p=labels.is_log1p,
        use_overwrite=scoring.use_overwrite,
        command=scoring.command,
    )


def _conclude(session: Session, result: BenchmarkResult) -> None:
    if not session.verbosity.is_quiet:
        session.console.print(make_table(result.summary))
    folder = escape(str(result.folder))
    session.say(
        f"Wrote scores.csv, summary.csv, comparison.csv and report.html to [bold]{folder}[/bold]."
    )
    if result.failures:
        listed = "\n".join(f"  {name}: {error}" for name, error in result.failures.items())
        session.console.print(
            f"[bold red]{len(result.failures)} part(s) failed[/bold red]; the same command tries "
            f"them again:\n{escape(listed)}",
            highlight=False,
        )
        raise typer.Exit(1)

"""`scbig evaluate`: scores of a prediction, between floors and ceiling."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from scbig._writing import write_text
from scbig.cli._given import take_file
from scbig.cli._options import (
    HOLDING,
    PRIORS,
    ContextKeys,
    Control,
    GeneKey,
    GuideToGene,
    Holding,
    IsLog1p,
    Labels,
    Modality,
    Normalize,
    Overwrite,
    PerturbationKey,
    ScreenFile,
    ScreenPath,
    Separator,
    SplitFile,
    TargetSum,
    file_option,
    split_list,
)
from scbig.cli._session import Session, run_session

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from scbig.data import ScreenSchema

HINT = (
    "A split is given by --split-file and --split, or in a column of obs that --split-key names."
)


LEGEND = (
    "Means over test conditions; ↑ higher is better, ↓ lower, →1 closer to 1; the best but the "
    "ceiling is bold."
)
CEILING = "ceiling"
# Widths of the column of names, and of the others with what stands between them.
NAME_WIDTH, COLUMN_WIDTH = 20, 12


def evaluate(
    context: typer.Context,
    data: ScreenPath,
    out: Annotated[Path, typer.Option(help="Table to write, .csv.", metavar="FILE")],
    overwrite: Overwrite = False,
    predicted: Annotated[
        Path | None,
        typer.Option(
            help="Predicted cells, .h5ad; by default DATA itself has the layer.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    layer: Annotated[
        str, typer.Option(help="Layer with the prediction; X for the X of --predicted.")
    ] = "scbig",
    metrics: Annotated[
        str | None, typer.Option(help="Metrics, such as mse,pds_l1; all but realism by default.")
    ] = None,
    normalize: Normalize = False,
    target_sum: TargetSum = 1e4,
    modality: Modality = "rna",
    is_log1p: IsLog1p = False,
    perturbation_key: PerturbationKey = None,
    control: Control = None,
    separator: Separator = None,
    guide_to_gene: GuideToGene = None,
    gene_key: GeneKey = None,
    context_keys: ContextKeys = None,
    gene_embedding: Annotated[
        Path | None,
        file_option("For the floors that compare genes: parquet, csv, npz, h5ad, pt.", PRIORS),
    ] = None,
    split_key: Annotated[
        str,
        typer.Option(
            help="Column of obs that says what is tested.",
            rich_help_panel=HOLDING,
        ),
    ] = "scbig_split",
    split_file: SplitFile = None,
    split: Annotated[
        str | None,
        typer.Option(help="Name of the split in --split-file.", rich_help_panel=HOLDING),
    ] = None,
) -> None:
    """Score a prediction of held-out conditions, whatever made it.

    DATA holds the measured cells. The table has a row for each predictor, condition, context and
    metric: the prediction, the baselines trained on what was not held out, and the ceiling, which
    is the agreement of two halves of the measured cells.

    Examples
    --------
    - scbig evaluate annotated.h5ad --layer scbig --out scores.csv
    - scbig evaluate screen.h5ad --predicted predicted.h5ad --split-file splits.json --split first
      --out scores.csv
    """
    # Every floor would say what it took for what, and all take the same.
    with run_session(context, HINT, log_level=logging.WARNING) as session:
        run_evaluate(
            session,
            take_file(context, ScreenFile(data, modality, normalize, target_sum)),
            Labels(
                perturbation_key=perturbation_key,
                control=tuple(control) if control else None,
                context_keys=split_list(context_keys),
                separator=separator,
                gene_key=gene_key,
                guide_to_gene=guide_to_gene,
                is_log1p=is_log1p,
            ),
            Holding(split_file=split_file, split=split),
            Evaluation(
                predicted=predicted,
                layer=layer,
                metrics=split_list(metrics),
                gene_embedding=gene_embedding,
                split_key=split_key,
            ),
            out,
            overwrite=overwrite,
        )


@dataclass(frozen=True)
class Evaluation:
    """What is to be scored, and how."""

    predicted: Path | None
    layer: str
    metrics: tuple[str, ...]
    gene_embedding: Path | None
    split_key: str


def run_evaluate(
    session: Session,
    file: ScreenFile,
    labels: Labels,
    holding: Holding,
    wanted: Evaluation,
    out: Path,
    *,
    overwrite: bool,
) -> None:
    """Score a prediction, show the means and write all scores.

    Parameters
    ----------
    session
        The running command.
    file
        Screen with the measured cells.
    labels
        Where it keeps its labels.
    holding
        Split to score on, if it is in a file.
    wanted
        What to score.
    out
        Table to write.
    overwrite
        Whether a file there is replaced.
    """
    from scbig.cli._files import check_out_file, normalize_counts, read_screen
    from scbig.metrics import summarise

    check_out_file(out, overwrite=overwrite, suffixes=(".csv",))
    adata = read_screen(file, labels.layer)
    normalize_counts(adata, file, labels.layer, is_log1p=labels.is_log1p)
    session.say(
        f"Read {adata.n_obs} cells x {adata.n_vars} genes. Scoring the prediction, the floors "
        "and the ceiling."
    )
    scores = _score(adata, labels, holding, wanted)
    write_text(out, scores.to_csv(index=False))
    for table in make_tables(summarise(scores), session.console.width):
        session.console.print(table, "")
    session.say(LEGEND)
    for line in describe_failures(scores):
        session.say(escape(line))
    session.say(f"Wrote {len(scores):,} scores to [bold]{escape(str(out))}[/bold].")


def _score(adata: AnnData, labels: Labels, holding: Holding, wanted: Evaluation) -> pd.DataFrame:
    import anndata as ad

    from scbig.cli._files import read_chosen
    from scbig.priors import load_gene_embedding
    from scbig.splits import assign_split
    from scbig.tl import evaluate, evaluate_cells

    if holding.split_file is not None or holding.split is not None:
        schema = _read_schema(adata, labels)
        for split in read_chosen(holding, schema):
            assign_split(adata, split, schema, key_added=wanted.split_key)
    path = wanted.gene_embedding
    embedding = None if path is None else load_gene_embedding(path)
    if wanted.predicted is None:
        own = labels.to_dict()
        del own["is_log1p"], own["layer"]
        return evaluate(
            adata,
            wanted.layer,
            **own,
            split_key=wanted.split_key,
            gene_embedding=embedding,
            metrics=wanted.metrics or None,
            is_log1p=labels.is_log1p,
        )
    return evaluate_cells(
        adata,
        ad.read_h5ad(wanted.predicted),
        layer=None if wanted.layer == "X" else wanted.layer,
        schema=_read_schema(adata, labels),
        split_key=wanted.split_key,
        gene_embedding=embedding,
        metrics=wanted.metrics or None,
        is_log1p=labels.is_log1p,
    )


def _read_schema(adata: AnnData, labels: Labels) -> ScreenSchema:
    from scbig.data import infer_schema

    arguments = labels.to_dict()
    del arguments["is_log1p"]
    return infer_schema(adata, **arguments)


def make_tables(summary: pd.DataFrame, width: int) -> Iterator[Table]:
    """Lay out the mean scores.

    Parameters
    ----------
    summary
        See :func:`scbig.metrics.summarise`.
    width
        Width of the terminal.

    Yields
    ------
    Tables with a row for each predictor and as many metrics as fit; metrics without values are
    left out.
    """
    means = summary.pivot_table(
        index="predictor", columns="metric", values="mean", sort=False, dropna=False
    ).dropna(axis=1, how="all")
    step = max(1, (width - NAME_WIDTH) // COLUMN_WIDTH)
    for start in range(0, means.shape[1], step):
        yield _make_table(means.iloc[:, start : start + step])


def describe_failures(scores: pd.DataFrame) -> Iterator[str]:
    """Say which scores there are not, and why.

    Parameters
    ----------
    scores
        See :func:`scbig.tl.evaluate`.

    Yields
    ------
    A line for each metric and reason.
    """
    from scbig.metrics import group_reasons

    failed = scores[scores["value"].isna()]
    failed = failed.assign(status=group_reasons(failed["status"]))
    for (metric, status), rows in failed.groupby(["metric", "status"], sort=False):
        n_conditions = len(rows[["perturbation", "context"]].drop_duplicates())
        predictors = list(map(str, rows["predictor"].unique()))
        of = f"{len(predictors)} predictors" if len(predictors) > 1 else predictors[0]
        yield f"No {metric} of {of} on {n_conditions} condition(s): {status}"


def _make_table(means: pd.DataFrame) -> Table:
    from scbig.metrics import METRICS

    table = Table(box=SIMPLE, show_edge=False)
    table.add_column("", no_wrap=True)
    best = {}
    contest = means.drop(index=CEILING, errors="ignore")
    for name in map(str, means.columns):
        best[name] = METRICS[name].pick_best(contest[name])
        heading = name.replace("_", "\n")
        table.add_column(f"{heading} {METRICS[name].arrow}", justify="right")
    for predictor, row in means.iterrows():
        cells = [
            _format(value, is_best=predictor != CEILING and value == best[str(name)])
            for name, value in row.items()
        ]
        table.add_row(str(predictor), *cells)
    return table


def _format(value: float, *, is_best: bool) -> str:
    text = "-" if math.isnan(value) else f"{value:#.3g}"
    return f"[bold green]{text}[/bold green]" if is_best else text

"""The work behind `scbig evaluate`."""

from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import pandas as pd
from anndata import AnnData
from rich.markup import escape

from scbig.cli._evaluate_report import LEGEND, describe_failures, make_tables
from scbig.cli._out import check_out_file
from scbig.cli._read import read_screen
from scbig.cli._requests import Holding, Labels, ScreenFile
from scbig.cli._session import Session
from scbig.cli._split import read_chosen
from scbig.data import ScreenSchema, infer_schema
from scbig.metrics import summarise
from scbig.priors import load_gene_embedding
from scbig.splits import assign_split
from scbig.tl import evaluate, evaluate_cells


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
    check_out_file(out, overwrite=overwrite, suffix=".csv")
    adata = read_screen(file, labels.layer)
    session.say(
        f"Read {adata.n_obs} cells x {adata.n_vars} genes. Scoring the prediction, the floors "
        "and the ceiling."
    )
    scores = _score(adata, labels, holding, wanted)
    scores.to_csv(out, index=False)
    for table in make_tables(summarise(scores), session.console.width):
        session.console.print(table, "")
    session.say(LEGEND)
    for line in describe_failures(scores):
        session.say(escape(line))
    session.say(f"Wrote {len(scores):,} scores to [bold]{escape(str(out))}[/bold].")


def _score(adata: AnnData, labels: Labels, holding: Holding, wanted: Evaluation) -> pd.DataFrame:
    if holding.split_file is not None or holding.split is not None:
        schema = _read_schema(adata, labels)
        for split in read_chosen(holding, schema):
            assign_split(adata, split, schema, key_added=wanted.split_key)
    path = wanted.gene_embedding
    embedding = None if path is None else load_gene_embedding(path)
    if wanted.predicted is None:
        return evaluate(
            adata,
            wanted.layer,
            split_key=wanted.split_key,
            perturbation_key=labels.perturbation_key,
            control=labels.control,
            context_keys=labels.context_keys,
            gene_embedding=embedding,
            metrics=wanted.metrics or None,
        )
    return evaluate_cells(
        adata,
        ad.read_h5ad(wanted.predicted),
        layer=None if wanted.layer == "X" else wanted.layer,
        schema=_read_schema(adata, labels),
        split_key=wanted.split_key,
        gene_embedding=embedding,
        metrics=wanted.metrics or None,
    )


def _read_schema(adata: AnnData, labels: Labels) -> ScreenSchema:
    return infer_schema(
        adata,
        perturbation_key=labels.perturbation_key,
        control=labels.control,
        context_keys=labels.context_keys,
    )

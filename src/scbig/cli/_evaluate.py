"""`scbig evaluate`: scores of a prediction, between floors and ceiling."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from scbig.cli._options import (
    HOLDING,
    PRIORS,
    ContextKeys,
    Control,
    Modality,
    Normalize,
    Overwrite,
    PerturbationKey,
    ScreenPath,
    SplitFile,
    TargetSum,
    file_option,
)
from scbig.cli._requests import Holding, Labels, ScreenFile, split_list
from scbig.cli._session import run_session

HINT = (
    "Arguments in this message are options here: control=... is --control; a split is given by "
    "--split-file and --split, or in a column of obs that --split-key names."
)


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
        str | None, typer.Option(help="Metrics, such as mse,pds_l1; all by default.")
    ] = None,
    normalize: Normalize = False,
    target_sum: TargetSum = 1e4,
    modality: Modality = "rna",
    perturbation_key: PerturbationKey = None,
    control: Control = None,
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
        from scbig.cli._evaluate_run import Evaluation, run_evaluate

        run_evaluate(
            session,
            ScreenFile(data, modality, normalize, target_sum),
            Labels(None, perturbation_key, control, split_list(context_keys)),
            Holding(split_file=split_file, split=split),
            Evaluation(predicted, layer, split_list(metrics), gene_embedding, split_key),
            out,
            overwrite=overwrite,
        )

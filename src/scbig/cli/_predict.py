"""`scbig predict`: from a saved model to predicted cells."""

from pathlib import Path
from typing import Annotated

import typer

from scbig.cli._options import (
    SCREEN,
    Assembly,
    Coordinates,
    Fasta,
    LociFile,
    Modality,
    Normalize,
    Overwrite,
    TargetSum,
    file_option,
)
from scbig.cli._requests import Prediction, PriorFiles, ScreenFile, split_list
from scbig.cli._session import run_session


def predict(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            help="Folder written by scbig train.", exists=True, file_okay=False, metavar="MODEL"
        ),
    ],
    perturbations: Annotated[
        str,
        typer.Option(help="What to predict: A,B,A+B. + joins targets.", metavar="A,B,A+B"),
    ],
    out: Annotated[Path, typer.Option(help="File to write, .h5ad.", metavar="FILE")],
    overwrite: Overwrite = False,
    n_cells: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Cells a perturbation and context; by default all controls, at most 500.",
        ),
    ] = None,
    n_samples: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Predictions of each cell; above 1, their spread is written."
        ),
    ] = 1,
    key_added: Annotated[
        str | None, typer.Option(help="Name of the layer; that of the model by default.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the drawn cells; the model's by default.")
    ] = None,
    data: Annotated[
        Path | None,
        file_option("Control cells to start from; the model's own by default.", SCREEN),
    ] = None,
    normalize: Normalize = False,
    target_sum: TargetSum = 1e4,
    modality: Modality = "rna",
    loci: LociFile = None,
    fasta: Fasta = None,
    assembly: Assembly = None,
    coordinates: Coordinates = None,
) -> None:
    """Predict perturbed cells with a saved model.

    Writes an .h5ad file with the control cells and, for each perturbation, as many predicted
    ones: `X` is the control cell, `layers["scbig"]` the prediction (log1p) and
    `obs["scbig_confidence"]` how far it is to be trusted.

    Examples
    --------
    - scbig predict model --perturbations KLF1,CEBPA+KLF1 --out predicted.h5ad
    - scbig predict model --perturbations KLF1 --data new.h5ad --out predicted.h5ad
    - scbig predict model --perturbations chr8:127735434 --fasta hg38.fa --out predicted.h5ad
    """
    with run_session(context) as session:
        from scbig.cli._predict_run import run_predict

        file = None if data is None else ScreenFile(data, modality, normalize, target_sum)
        run_predict(
            session,
            model,
            file,
            Prediction(
                split_list(perturbations),
                n_cells,
                n_samples,
                key_added,
                seed,
                PriorFiles(loci=loci, fasta=fasta, assembly=assembly, coordinates=coordinates),
            ),
            out,
            overwrite=overwrite,
        )

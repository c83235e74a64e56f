"""`scbig demo`: the whole way on a simulated screen."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from scbig.cli._session import run_session


def demo(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option(help="Folder for the results.", metavar="DIR", file_okay=False)
    ] = Path("demo_out"),
    n_cells: Annotated[int, typer.Option(min=1, metavar="N", help="Cells to simulate.")] = 6000,
    n_genes: Annotated[int, typer.Option(min=1, metavar="N", help="Genes to simulate.")] = 800,
    max_epochs: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Epochs of the autoencoder.")
    ] = None,
    max_steps: Annotated[int, typer.Option(min=0, metavar="N", help="Steps of the flow.")] = 400,
    seed: Annotated[int, typer.Option(help="Same seed, same result.")] = 0,
) -> None:
    """Simulate a screen, train SCBIG, predict what it has not seen, and score it.

    Needs no data and takes a few minutes. Perturbations are held out, predicted, and compared
    with the simulated cells beside three baselines: no change, the mean of the training
    conditions, and the sum of single effects. What an earlier demo wrote is replaced.
    """
    with run_session(context, log_level=logging.WARNING) as session:
        from scbig.cli._demo_run import Budget, run_demo

        run_demo(session, out, (n_cells, n_genes), Budget(max_epochs, max_steps), seed)

"""`scbig demo`: the whole way on a simulated screen."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scbig._writing import write_text
from scbig.cli._session import Session, run_session

if TYPE_CHECKING:
    import pandas as pd

    from scbig.cli._demo_screen import DemoScreen

N_PROGRAMS = 12


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
        budget = Budget(max_epochs, max_steps)
        run_demo(session, out, (n_cells, n_genes), budget, seed)


@dataclass(frozen=True)
class Budget:
    """How long SCBIG may train; ``None`` for the preset's own."""

    max_epochs: int | None = None
    max_steps: int | None = None


def run_demo(
    session: Session, out: Path, size: tuple[int, int], budget: Budget, seed: int
) -> None:
    """Simulate, train, predict, score and write.

    Parameters
    ----------
    session
        The running command.
    out
        Folder for the results.
    size
        Numbers of cells and genes.
    budget
        How long SCBIG may train.
    seed
        Seed of everything random.
    """
    from sklearn.metrics import adjusted_rand_score

    from scbig._constants import VAR
    from scbig.cli._demo_report import report
    from scbig.cli._demo_screen import (
        compute_predicted_means,
        compute_real_means,
        compute_scores,
        make_demo_screen,
        predict_held_out,
        train_model,
        write_cells,
    )
    from scbig.pp import gene_programs

    start = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    session.say("[bold]1/5[/bold] Simulating a screen")
    screen = make_demo_screen(*size, seed)
    session.say("[bold]2/5[/bold] Finding gene programs in the control cells")
    gene_programs(screen.train, N_PROGRAMS, seed=seed)
    recovery = adjusted_rand_score(screen.train.var["true_program"], screen.train.var[VAR.PROGRAM])
    session.say("[bold]3/5[/bold] Training SCBIG: the autoencoder, then the flow")
    model = train_model(
        screen,
        max_epochs=budget.max_epochs,
        max_steps=budget.max_steps,
        seed=seed,
        use_progress_bar=not session.verbosity.is_quiet,
    )
    session.say(f"[bold]4/5[/bold] Predicting {len(screen.labels)} conditions that were held out")
    predicted = predict_held_out(model, screen, seed)
    session.say("[bold]5/5[/bold] Scoring and drawing")
    real, means = compute_real_means(screen), compute_predicted_means(predicted, screen)
    scores = compute_scores(real, means, screen.control, screen.held_out, screen.schema)
    write_text(out / "scores.csv", scores.to_csv(index=False))
    files = [out / "scores.csv", write_cells(predicted, out / "predicted.h5ad")]
    files += _draw(out, screen, scores, real, means[model.default_key])
    report(session.console, scores, recovery, files, seconds=time.monotonic() - start)


def _draw(
    out: Path,
    screen: DemoScreen,
    scores: pd.DataFrame,
    real: pd.DataFrame,
    predicted: pd.DataFrame,
) -> list[Path]:
    import pandas as pd

    from scbig.cli._demo_report import save_figures
    from scbig.cli._demo_screen import average_programs, choose_example

    example = choose_example(scores)
    real, predicted = real - screen.control, predicted - screen.control
    effects = pd.DataFrame({"real": real.loc[example], "predicted": predicted.loc[example]})
    shifts = {
        "measured": average_programs(real, screen.train),
        "predicted": average_programs(predicted, screen.train),
    }
    return save_figures(out, scores=scores, effects=effects, shifts=shifts, title=example)

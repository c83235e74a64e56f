"""The work behind `scbig demo`, step by step."""

import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from anndata import AnnData
from sklearn.metrics import adjusted_rand_score

from scbig._constants import VAR
from scbig.baselines import Additive, Baseline, NoChange, TrainMean
from scbig.cli._demo_figures import save_figures
from scbig.cli._demo_report import report
from scbig.cli._demo_score import choose_example, compute_scores
from scbig.cli._demo_screen import DemoScreen, compute_means, make_demo_screen
from scbig.cli._session import Session
from scbig.model import SCBIG
from scbig.pp import gene_programs
from scbig.programs import compute_program_means, get_gene_programs

BASELINES: tuple[type[Baseline], ...] = (NoChange, TrainMean, Additive)
N_PROGRAMS = 12
N_CELLS = 200


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
    start = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    session.say("[bold]1/5[/bold] Simulating a screen")
    screen = make_demo_screen(*size, seed)
    session.say("[bold]2/5[/bold] Finding gene programs in the control cells")
    gene_programs(screen.train, N_PROGRAMS, seed=seed)
    recovery = adjusted_rand_score(screen.train.var["true_program"], screen.train.var[VAR.PROGRAM])
    session.say("[bold]3/5[/bold] Training SCBIG: the autoencoder, then the flow")
    model = _train_model(screen, budget, seed, use_progress_bar=not session.verbosity.is_quiet)
    session.say(f"[bold]4/5[/bold] Predicting {len(screen.labels)} conditions that were held out")
    predicted = _predict(model, screen, seed)
    session.say("[bold]5/5[/bold] Scoring and drawing")
    means = {
        key: _compute_predicted_means(predicted, screen, key)
        for key in (SCBIG.default_key, *(baseline.default_key for baseline in BASELINES))
    }
    real = compute_means(screen.whole, screen.labels, screen.schema)
    scores = compute_scores(real, means, screen.control, screen.held_out, screen.schema)
    files = [_write_scores(scores, out), _write_cells(predicted, out)]
    files += _draw(out, screen, scores, real, means[model.default_key])
    report(session.console, scores, recovery, files, seconds=time.monotonic() - start)


def _train_model(
    screen: DemoScreen, budget: Budget, seed: int, *, use_progress_bar: bool
) -> SCBIG:
    SCBIG.setup_anndata(screen.train)
    model = SCBIG(screen.train, seed=seed)
    model.train(
        max_epochs=budget.max_epochs,
        max_steps=budget.max_steps,
        use_progress_bar=use_progress_bar,
    )
    return model


def _predict(model: SCBIG, screen: DemoScreen, seed: int) -> AnnData:
    """Predict with SCBIG and the baselines, from the same control cells, a layer for each."""
    predicted = model.predict(
        screen.train, perturbations=screen.labels, n_cells=N_CELLS, seed=seed
    )
    for baseline_class in BASELINES:
        baseline_class.setup_anndata(screen.train)
        baseline = baseline_class(screen.train, seed=seed)
        baseline.train()
        predicted.layers[baseline.default_key] = baseline.get_predicted_expression(
            screen.train, perturbations=screen.labels, n_cells=N_CELLS, seed=seed
        )
    return predicted


def _compute_predicted_means(predicted: AnnData, screen: DemoScreen, key: str) -> pd.DataFrame:
    """Average a layer; the chance of which control cells were drawn, alike for all, cancels."""
    after, before = (
        compute_means(predicted, screen.labels, screen.schema, layer) for layer in (key, None)
    )
    return screen.control + (after - before)


def _write_scores(scores: pd.DataFrame, out: Path) -> Path:
    path = out / "scores.csv"
    scores.to_csv(path, index=False)
    return path


def _write_cells(predicted: AnnData, out: Path) -> Path:
    # The baselines' layers would quadruple the file, and are made anew in a second.
    for baseline in BASELINES:
        del predicted.layers[baseline.default_key]
    path = out / "predicted.h5ad"
    predicted.write_h5ad(path, compression="gzip")
    return path


def _draw(
    out: Path,
    screen: DemoScreen,
    scores: pd.DataFrame,
    real: pd.DataFrame,
    predicted: pd.DataFrame,
) -> list[Path]:
    example = choose_example(scores)
    real, predicted = real - screen.control, predicted - screen.control
    effects = pd.DataFrame({"real": real.loc[example], "predicted": predicted.loc[example]})
    shifts = {
        "measured": _average_programs(real, screen.train),
        "predicted": _average_programs(predicted, screen.train),
    }
    return save_figures(out, scores=scores, effects=effects, shifts=shifts, title=example)


def _average_programs(effects: pd.DataFrame, adata: AnnData) -> pd.DataFrame:
    """Average the effects over the genes of each program; returns programs x conditions."""
    programs = get_gene_programs(adata.uns)
    labels = programs.get_labels(list(effects.columns))
    means = compute_program_means(effects.to_numpy(), labels, programs.n_programs)
    return pd.DataFrame(means.T, index=list(programs.names), columns=effects.index)

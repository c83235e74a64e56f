"""What is running and how long is left, on a terminal and in a log file."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from scbig.benchmark import Progress
from scbig.benchmark._progress import ShowProgress
from scbig.cli._session import Session

# What these say once for a model would be said for every part.
TALKATIVE = (
    "baselines", "data", "metrics", "model", "priors", "programs", "splits", "train"
)  # fmt: skip


@contextmanager
def show_progress(session: Session) -> Iterator[ShowProgress | None]:
    """Show progress while a benchmark runs.

    Parameters
    ----------
    session
        The running command.

    Yields
    ------
    What the benchmark calls; ``None`` when quiet.
    """
    with _hush():
        if session.verbosity.is_quiet:
            yield None
        elif not session.console.is_terminal:
            yield lambda progress: session.say(describe(progress))
        else:
            columns = (BarColumn(24), MofNCompleteColumn(), TextColumn("{task.description}"))
            with Bar(*columns, console=session.console, transient=True) as bar:
                task = bar.add_task("", total=None)
                yield lambda progress: bar.update(
                    task,
                    completed=progress.n_done,
                    total=progress.n_total,
                    description=_describe_rest(progress),
                )


def describe(progress: Progress) -> str:
    """Say in one line what is running and how long is left."""
    return f"{progress.n_done}/{progress.n_total} {_describe_rest(progress)}"


def _describe_rest(progress: Progress) -> str:
    if not progress.running:
        return "done"
    left = format_seconds(progress.seconds_left)
    if progress.untimed:
        left = f"at least {left} left, without {_list(progress.untimed)}"
    else:
        left = f"about {left} left"
    return f"{progress.running}: {left}" if progress.n_done else progress.running


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 2 else f"{len(names)} predictors not timed yet"


def format_seconds(seconds: float) -> str:
    """Write a time in the units that one says it in."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


@contextmanager
def _hush() -> Iterator[None]:
    loggers = [logging.getLogger(f"scbig.{room}") for room in TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

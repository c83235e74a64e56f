"""What surrounds every command: its messages, progress, hushed libraries, errors in one line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bar, TextColumn
from rich.text import Text

from scbig._console import hush_libraries
from scbig.cli._wording import list_options, make_translator

if TYPE_CHECKING:
    from scbig.benchmark import Progress

# What a user may have got wrong. Anything else is an error of scbig, and keeps its traceback.
USER_ERRORS = (ValueError, OSError, ImportError)
_NORMALISED = (
    "Raw counts are normalised as they are read: to --target-sum where the command has it."
)
# What these say once for a model would be said for every part.
TALKATIVE = (
    "baselines", "data", "metrics", "model", "priors", "programs", "splits", "predictor"
)  # fmt: skip


@dataclass(frozen=True)
class Verbosity:
    """How much a command says.

    Attributes
    ----------
    is_quiet
        Leave out what was read and matched, and progress.
    is_debug
        Show the traceback of errors.
    """

    is_quiet: bool = False
    is_debug: bool = False


@dataclass(frozen=True)
class Session:
    """A running command: where it writes its messages, and how many."""

    console: Console
    verbosity: Verbosity

    def say(self, text: str) -> None:
        """Write a message, unless quiet."""
        if not self.verbosity.is_quiet:
            self.console.print(text, highlight=False)


@contextmanager
def run_session(
    context: typer.Context,
    hint: str = "",
    *,
    log_level: int = logging.INFO,
    uses_libraries: bool = True,
) -> Iterator[Session]:
    """Surround a command.

    Parameters
    ----------
    context
        Context of the command, which holds what was asked for before its name.
    hint
        Added to errors: how to mend on the command line what the message mends in Python, beyond
        the options that take the place of the arguments it names.
    log_level
        Least level of the messages of scbig that are shown, unless quiet.
    uses_libraries
        Whether scvi-tools and Lightning will be loaded, and are to be hushed.
    """
    verbosity = context.obj or Verbosity()
    # Messages go to stderr, as is usual, so that they never mix with output that is piped on.
    console = Console(stderr=True)
    with ExitStack() as stack:
        translate = make_translator(list_options(context))
        reporter = ErrorReporter(console, translate, hint, is_debug=verbosity.is_debug)
        stack.enter_context(reporter.report())
        shown = logging.WARNING if verbosity.is_quiet else log_level
        stack.enter_context(_show_log(console, shown, translate))
        if uses_libraries:
            # These set their own levels when they are first imported.
            import lightning.pytorch  # noqa: F401
            import scvi  # noqa: F401

            stack.enter_context(hush_libraries())
        yield Session(console, verbosity)


@dataclass(frozen=True)
class ErrorReporter:
    """Says in a line what a user may have got wrong, in the words of the command."""

    console: Console
    translate: Callable[[str], str]
    hint: str
    is_debug: bool

    @contextmanager
    def report(self) -> Iterator[None]:
        """Report what goes wrong inside, and end the command."""
        try:
            yield
        except USER_ERRORS as error:
            if self.is_debug:
                raise
            text = str(error)
            hints = [self.hint] * isinstance(error, ValueError)
            if "sc.pp." in text:
                hints.append(_NORMALISED)
            # Messages hold brackets, which are no markup.
            told = Text(self.translate(text), style="default")
            self.console.print(Text("Error: ", style="bold red") + told)
            for hint in filter(None, hints):
                self.console.print(Text(hint, style="dim"))
            raise typer.Exit(1) from error


class OptionFormatter(logging.Formatter):
    """Writes messages in the words of the command."""

    def __init__(self, translate: Callable[[str], str]) -> None:
        super().__init__()
        self._translate = translate

    def format(self, record: logging.LogRecord) -> str:
        """Return the message with options in place of arguments."""
        return self._translate(super().format(record))


@contextmanager
def _show_log(console: Console, shown: int, translate: Callable[[str], str]) -> Iterator[None]:
    logger = logging.getLogger("scbig")
    level, propagates = logger.level, logger.propagate
    handler = RichHandler(
        console=console, show_time=False, show_level=False, show_path=False, highlighter=None
    )
    handler.setFormatter(OptionFormatter(translate))
    logger.addHandler(handler)
    logger.setLevel(shown)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


@contextmanager
def show_progress(session: Session) -> Iterator[Callable[[Progress], None] | None]:
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

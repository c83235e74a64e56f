"""What a user sees without setting anything up: lines, a bar, and no noise of other libraries.

Lines go through `logging`, so that whoever sets that up has them where they want them. Nothing is
changed for good: filters of warnings and levels of others are put back when a call ends.
"""

import logging
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

ROOT = "scbig"
# Who tells of themselves while we train: devices, tips, progress.
_CHATTY = ("lightning.pytorch", "lightning.fabric", "scvi")
# Seconds between two pictures of a bar; a notebook is sent a message for each.
_PAUSE = 0.1
# Work that is done in so many seconds has no bar.
_DELAY = 3.0
_WIDTH = 72

# Least level of the lines that are shown by ourselves; 0 outside of all calls that quieten.
_least: ContextVar[int] = ContextVar("scbig_least_level", default=0)
_bar: ContextVar["TrainingBar | None"] = ContextVar("scbig_bar", default=None)


# --- lines ---------------------------------------------------------------------------------------


class FollowingLogger(logging.Logger):
    """The logger of scbig: as long as nobody sets its level, it follows what is set elsewhere.

    That is ``scvi.settings.verbosity``, or the level of the root logger, where that was given
    handlers and scvi-tools' own setting was left alone.
    """

    # What was set on this logger itself.
    _own: int = logging.NOTSET

    @property
    def level(self) -> int:
        """The level that holds at present."""
        return self._own or _find_level()

    @level.setter
    def level(self, level: int) -> None:
        # Who puts back what was there before, as pytest's caplog does, sets nothing.
        self._own = logging.NOTSET if level == _find_level() else level


class LineHandler(logging.Handler):
    """Shows lines where the user has set up no logging; else whatever was set up shows them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show one line: in a notebook as output, else on stderr, as is usual."""
        bar = _bar.get()
        if bar is not None:
            # Whoever shows this line should not find the bar in it.
            bar.clear()
        others = [one for one in logging.getLogger(ROOT).handlers if one is not self]
        if others or logging.getLogger().handlers or record.levelno < _least.get():
            return
        try:
            stream: TextIO = sys.stdout if is_notebook() else sys.stderr
            stream.write(f"{self.format(record)}\n")
            stream.flush()
        except (OSError, ValueError):  # a closed or broken stream
            self.handleError(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the message, which says so if it is a warning."""
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname.title()}: {text}"


def show_lines() -> None:
    """Have the lines of scbig shown, once for all, where nobody has set up otherwise."""
    logger = logging.getLogger(ROOT)
    if not isinstance(logger, FollowingLogger):
        given = logger.level
        logger.__class__ = FollowingLogger
        logger._own = given  # type: ignore[attr-defined]
    if not any(isinstance(one, LineHandler) for one in logger.handlers):
        # The first, so that it takes the bar away before others write.
        logger.handlers.insert(0, LineHandler())


def _find_level() -> int:
    scvi: Any = sys.modules.get("scvi")
    settings = getattr(scvi, "settings", None)
    verbosity = getattr(settings, "verbosity", logging.INFO)
    if isinstance(verbosity, str):
        verbosity = logging.getLevelNamesMapping().get(verbosity, logging.INFO)
    root = logging.getLogger()
    if verbosity != logging.INFO or not root.handlers:
        return verbosity
    # Hosts of notebooks, and absl, give the root a handler, at the level that it has by default.
    is_of_absl = all(type(one).__module__.startswith("absl.") for one in root.handlers)
    is_of_host = root.level == logging.WARNING and (is_of_absl or is_notebook())
    return verbosity if is_of_host else root.level or verbosity


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    find_shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return hasattr(find_shell(), "kernel")


# --- no noise ------------------------------------------------------------------------------------


@contextmanager
def hush_libraries() -> Iterator[None]:
    """Keep tips, device tables and warnings of other libraries from the user during a call."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(max(logger.level, logging.ERROR))
    try:
        with warnings.catch_warnings():
            # Those of scbig itself are about what the user does.
            warnings.filterwarnings("ignore", module=rf"(?!{ROOT}\b)")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def quieten(level: int = logging.WARNING) -> Iterator[None]:
    """Show no bar, and no line of scbig below a level; what users set up has all of them.

    Parameters
    ----------
    level
        Least level that is shown.
    """
    token = _least.set(max(level, _least.get()))
    try:
        yield
    finally:
        _least.reset(token)


# --- the bar -------------------------------------------------------------------------------------


class TrainingBar:
    """Says which stage of training runs, and how long it takes at most.

    In a notebook a line of output that changes, and stays; on a terminal a line on stderr that is
    gone at the end. In a file there is none.

    Parameters
    ----------
    title
        What is trained.
    is_shown
        Whether there is a bar at all.
    unit, done
        What is counted, and what is said at the end.
    delay
        Seconds after which it is shown first.
    """

    def __init__(
        self,
        title: str,
        is_shown: bool = True,
        *,
        unit: str = "epochs",
        done: str = "trained in",
        delay: float = 0.0,
    ) -> None:
        self._title, self._unit, self._done, self._delay = title, unit, done, delay
        self._stage, self._n_done, self._total = "", 0, 0
        self._begin = self._stage_begin = time.monotonic()
        self._drawn_at = -_PAUSE
        self._is_drawn = False
        self._handle: Any = None
        self._is_notebook = is_notebook()
        self._is_shown = is_shown and (self._is_notebook or sys.stderr.isatty())

    def begin(self, stage: str, total: int = 0) -> None:
        """Say that a stage begins, and how many epochs it has, if that is known."""
        self._stage, self._n_done, self._total = stage, 0, total
        self._stage_begin = time.monotonic()
        self._draw(self.describe())

    def advance(self, n: int = 1) -> None:
        """Say that an epoch is over, or several."""
        self._n_done += n
        if time.monotonic() - self._drawn_at >= _PAUSE or self._n_done == self._total:
            self._draw(self.describe())

    def describe(self) -> str:
        """Return the bar as text, with the time that is left at the pace so far."""
        from tqdm.std import tqdm

        name = ", ".join(filter(None, (self._title, self._stage)))
        # A line that the terminal breaks could not be taken away again.
        width = min(_WIDTH, shutil.get_terminal_size().columns - 1)
        if not self._total:
            return f"{name} ..."[:width]
        elapsed = time.monotonic() - self._stage_begin
        left = "" if not self._n_done else ", at most {remaining} left"
        form = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} " + self._unit + left
        return tqdm.format_meter(
            self._n_done, self._total, elapsed, ncols=width, prefix=name, bar_format=form
        )

    def clear(self) -> None:
        """Take the bar off the terminal until it is drawn again."""
        if self._is_drawn and not self._is_notebook:
            self._write("\r\x1b[K")
            self._is_drawn = False

    def close(self, *, is_done: bool = True) -> None:
        """End: a notebook keeps a line that says how long it took."""
        self.clear()
        if self._is_drawn:
            word = self._done if is_done else f"stopped at {self._stage or self._n_done}, after"
            self._draw(f"{self._title}: {word} {time.monotonic() - self._begin:.0f} s.")

    def _draw(self, text: str) -> None:
        is_early = time.monotonic() - self._begin < self._delay
        if not self._is_shown or _least.get() or (is_early and not self._is_drawn):
            return
        self._drawn_at = time.monotonic()
        if self._is_notebook:
            self._display({"text/plain": text})
        else:
            self._write(f"\r{text}\x1b[K")
        self._is_drawn = True

    def _display(self, picture: dict[str, str]) -> None:
        if self._handle is None:
            self._handle = self._open(picture)
        else:
            self._handle.update(picture, raw=True)

    def _open(self, picture: dict[str, str]) -> Any:
        from IPython.display import display

        return display(picture, raw=True, display_id=True)

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


@contextmanager
def show_training(title: str, is_shown: bool = True) -> Iterator[TrainingBar]:
    """Surround a training: a bar and lines, or nothing at all; no noise in either case.

    Parameters
    ----------
    title
        What is trained.
    is_shown
        Whether anything is shown.

    Yields
    ------
    The bar.
    """
    with ExitStack() as stack:
        stack.enter_context(hush_libraries())
        if not is_shown:
            stack.enter_context(quieten(logging.CRITICAL + 1))
        bar = TrainingBar(title, is_shown)
        token = _bar.set(bar)
        stack.callback(_bar.reset, token)
        stack.push(lambda kind, *_: bar.close(is_done=kind is None))
        stack.push(_interrupt_as_python_does(signal.getsignal(signal.SIGINT)))
        yield bar


@contextmanager
def show_steps(title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show how far work is, where it takes more than a few seconds; a training shows its own bar.

    Parameters
    ----------
    title
        What is done.
    total
        Number of steps.
    unit
        What they are.

    Yields
    ------
    A function that is told how many steps are done since.
    """
    is_shown = _bar.get() is None and logging.getLogger(ROOT).isEnabledFor(logging.INFO)
    bar = TrainingBar(title, is_shown, unit=unit, done="done in", delay=_DELAY)
    if not is_shown:
        yield bar.advance
        return
    with ExitStack() as stack:
        stack.callback(_bar.reset, _bar.set(bar))
        stack.push(lambda kind, *_: bar.close(is_done=kind is None))
        bar.begin("", total)
        yield bar.advance


def _interrupt_as_python_does(before: Any) -> Callable[..., None]:
    """Make an interruption one again: Lightning exits, and ignores all that follow."""

    def undo(kind: Any, error: BaseException | None, _: object) -> None:
        if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt from None

    return undo

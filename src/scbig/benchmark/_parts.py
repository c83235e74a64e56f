"""The pieces that a benchmark consists of, what each costs, and how long is left."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from types import TracebackType
from typing import Self

import pandas as pd
import psutil

from scbig.benchmark._settings import CEILING, POOLED, PredictorSpec
from scbig.splits import Split

logger = logging.getLogger(__name__)

INTERVAL = 0.02  # seconds between two looks at the memory


@dataclass(frozen=True)
class Part:
    """One predictor on one split with one seed.

    Attributes
    ----------
    split
        The split.
    seed
        Seed of the predictor.
    spec
        The predictor; ``None`` for the ceiling, which is computed once a split.
    """

    split: Split
    seed: int
    spec: PredictorSpec | None

    @property
    def predictor(self) -> str:
        """Name in the tables."""
        return CEILING if self.spec is None else self.spec.name

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"{self.split.name}, seed {self.seed}, {self.predictor}"


@dataclass(frozen=True)
class PartResult:
    """What one part gave.

    Attributes
    ----------
    scores
        Rows of ``scores.csv``.
    seconds
        Time of the whole part, scoring included.
    error
        What the predictor raised, in one line; ``None`` when it did not.
    judged
        Rows of ``judge.csv``; ``None`` where no judge was asked for.
    """

    scores: pd.DataFrame
    seconds: float
    error: str | None = None
    judged: pd.DataFrame | None = None


def make_parts(
    splits: Sequence[Split], specs: Sequence[PredictorSpec], seeds: Sequence[int] | None
) -> tuple[Part, ...]:
    """List the parts split by split, so that one split's cells are in memory at a time.

    Parameters
    ----------
    splits
        The splits.
    specs
        The predictors.
    seeds
        Seeds of the predictors; by default that of each split.

    Returns
    -------
    The parts, the ceiling of each split last.

    Raises
    ------
    ValueError
        When there is no split, two have one name, or one has a reserved name.
    """
    names = [split.name for split in splits]
    if not names or len(set(names)) < len(names) or POOLED in names:
        raise ValueError(
            f"Splits {names}: give at least one, each name once, and none named {POOLED!r}."
        )
    parts: list[Part] = []
    for split in splits:
        chosen = (split.seed,) if seeds is None else seeds
        parts += [Part(split, seed, spec) for seed in chosen for spec in specs]
        parts.append(Part(split, chosen[0], None))
    return tuple(parts)


@dataclass(frozen=True)
class Progress:
    """Where a benchmark stands.

    Attributes
    ----------
    running
        Split, seed and predictor of the part that begins; empty at the end.
    n_done, n_total
        Number of parts.
    seconds_left
        Time left, from the mean times of each predictor's finished parts.
    untimed
        Predictors that have not run yet, whose time is missing in ``seconds_left``.
    """

    running: str
    n_done: int
    n_total: int
    seconds_left: float
    untimed: tuple[str, ...]


ShowProgress = Callable[[Progress], None]


class Tracker:
    """Counts finished parts and tells what is left.

    Parameters
    ----------
    parts
        All parts.
    show
        Called when a part begins and at the end; ``None`` for nobody.
    """

    def __init__(self, parts: Sequence[Part], show: ShowProgress | None = None) -> None:
        self._left = list(parts)
        self._n_total = len(parts)
        self._show = show
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def begin(self, part: Part) -> None:
        """Say that a part begins."""
        self._tell(part.name)

    def finish(self, part: Part, seconds: float) -> None:
        """Note that a part is done, now or in an earlier run, and how long it took."""
        self._left.remove(part)
        self._seconds[part.predictor].append(seconds)
        if not self._left:
            self._tell("")

    def _tell(self, running: str) -> None:
        if self._show is not None:
            self._show(self.get_progress(running))

    def get_progress(self, running: str) -> Progress:
        """Estimate what is left.

        Parameters
        ----------
        running
            Name of the part that begins.

        Returns
        -------
        The state.
        """
        left = [part.predictor for part in self._left]
        timed = [name for name in left if name in self._seconds]
        seconds = sum(sum(self._seconds[n]) / len(self._seconds[n]) for n in timed)
        untimed = tuple(dict.fromkeys(name for name in left if name not in self._seconds))
        return Progress(running, self._n_total - len(left), self._n_total, seconds, untimed)


class Meter:
    """Measures what happens inside a ``with`` block.

    Memory is the largest resident set of the whole process, the data included, as a thread saw
    it every 20 milliseconds.

    Attributes
    ----------
    seconds
        Wall-clock time.
    peak_memory_mb
        Largest memory of the process, in units of 10^6 bytes.
    """

    seconds: float = 0.0
    peak_memory_mb: float = 0.0

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._is_over = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._start = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds = time.perf_counter() - self._start
        self._is_over.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._is_over.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        self.peak_memory_mb = max(self.peak_memory_mb, self._process.memory_info().rss / 1e6)


class Attempt:
    """Keeps what goes wrong inside a ``with`` block, and ends the block there.

    A predictor may come from anywhere and raise anything; one that fails on a split must not
    cost the scores of all others. What asks the whole run to end (an interruption, the exit of
    the interpreter) passes through.

    Parameters
    ----------
    name
        Name of what is attempted, for the log, which has the traceback at the level DEBUG.

    Attributes
    ----------
    error
        Kind and message in one line; ``None`` when nothing went wrong.
    """

    error: str | None = None

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        text = " ".join(str(error).split())
        self.error = f"{type(error).__name__}: {text}" if text else type(error).__name__
        logger.warning("%s failed: %s", self._name, self.error)
        logger.debug("Where it failed:", exc_info=(type(error), error, trace))
        return True

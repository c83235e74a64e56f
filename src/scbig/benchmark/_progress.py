"""What is running, and how long is left by what has been measured."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scbig.benchmark._parts import Part


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

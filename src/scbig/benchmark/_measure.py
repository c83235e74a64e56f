"""Time and memory of a piece of work."""

import time
from threading import Event, Thread
from types import TracebackType
from typing import Self

import psutil

INTERVAL = 0.02  # seconds between two looks at the memory


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

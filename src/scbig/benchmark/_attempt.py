"""Code of other people, whose errors become a record."""

import logging
from types import TracebackType
from typing import Self

logger = logging.getLogger(__name__)


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

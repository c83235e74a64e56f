"""Which of the names of a data set a prior knows."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

logger = logging.getLogger(__name__)

_N_SHOWN = 10


@dataclass(frozen=True)
class Coverage:
    """How many of the wanted names a prior knows.

    Parameters
    ----------
    source
        What was searched, for example ``"STRING"`` or a file name.
    n_found
        Number of names that were found.
    n_total
        Number of names that were looked for.
    missing
        The names that were not found, in the order in which they were asked for.
    """

    source: str
    n_found: int
    n_total: int
    missing: tuple[str, ...]

    @property
    def fraction(self) -> float:
        """Share of the names that were found, in [0, 1]; 0 when none were asked for."""
        return self.n_found / self.n_total if self.n_total else 0.0

    def __str__(self) -> str:
        line = (
            f"{self.source}: {self.n_found} of {self.n_total} names matched ({self.fraction:.0%})"
        )
        if not self.missing:
            return line
        n_more = len(self.missing) - _N_SHOWN
        rest = f", ... and {n_more} more" if n_more > 0 else ""
        return f"{line}; missing: {', '.join(self.missing[:_N_SHOWN])}{rest}"


def make_coverage(source: str, names: Sequence[str], is_found: Iterable[bool]) -> Coverage:
    """Count the names that were found.

    Parameters
    ----------
    source
        What was searched.
    names
        The names that were looked for.
    is_found
        Whether each of them was found, one value per name.

    Returns
    -------
    The record of what was found and what is missing.
    """
    missing = tuple(name for name, found in zip(names, is_found, strict=True) if not found)
    return Coverage(source, len(names) - len(missing), len(names), missing)


def log_coverage(coverage: Coverage) -> None:
    """Log a coverage; as a warning when names were asked for and none was found.

    Parameters
    ----------
    coverage
        The record to log.
    """
    if coverage.n_total and not coverage.n_found:
        logger.warning(
            "%s. Are both sides symbols, or both Ensembl ids? If not, use aliases=load_aliases()",
            coverage,
        )
    else:
        logger.info("%s", coverage)

"""The pieces that a benchmark consists of: one predictor on one split with one seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from scbig.benchmark._predictors import PredictorSpec
from scbig.benchmark._settings import CEILING, POOLED
from scbig.splits import Split


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
    """

    scores: pd.DataFrame
    seconds: float
    error: str | None = None


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

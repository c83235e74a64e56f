"""What a user asked `scbig benchmark` for."""

from dataclasses import dataclass
from pathlib import Path

from scbig.cli._requests import split_list


def split_numbers(option: str, text: str | None) -> tuple[int, ...]:
    """Read an option of whole numbers, separated by commas.

    Raises
    ------
    ValueError
        When a part is no whole number.
    """
    parts = split_list(text)
    if wrong := [part for part in parts if not part.isdecimal()]:
        raise ValueError(f"{option} {text}: {wrong[0]!r} is no whole number. Write {option} 0,1,2")
    return tuple(map(int, parts))


@dataclass(frozen=True)
class Splitting:
    """What is held out: a task, or splits of a file."""

    task: str | None = None
    n_cells: tuple[int, ...] = ()
    context: str | None = None
    candidates: tuple[str, ...] = ()
    share: float | None = None
    split_file: Path | None = None
    split: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scoring:
    """Who is scored, and how."""

    predictors: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    metrics: tuple[str, ...] = ()
    use_overwrite: bool = False
    command: str | None = None

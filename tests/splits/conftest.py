"""Screens without expression: only labels matter to a split."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.data import ScreenSchema

GENES = tuple(f"G{i:02d}" for i in range(20))
PAIRS = tuple((GENES[i], GENES[i + step]) for step in (1, 2) for i in range(15))


@pytest.fixture
def schema() -> ScreenSchema:
    return ScreenSchema("perturbation", "control", "+", ("cell_line",))


@pytest.fixture
def conditions() -> list[tuple[str, ...]]:
    """Twenty singles and thirty pairs of them, and the control."""
    return [(), *((gene,) for gene in GENES), *PAIRS]


@pytest.fixture
def make_cells() -> Callable[..., AnnData]:
    """Make cells of each label in each of three lines."""

    def make(labels: Iterable[str], n_cells: int = 4, n_lines: int = 3) -> AnnData:
        rows = [
            (label, f"line{line}")
            for label in ("control", *labels)
            for line in range(n_lines)
            for _ in range(n_cells)
        ]
        obs = pd.DataFrame(rows, columns=["perturbation", "cell_line"])
        obs.index = [f"cell{i}" for i in range(len(obs))]
        return AnnData(np.zeros((len(obs), 1), np.float32), obs=obs)

    return make


@pytest.fixture
def screen(make_cells: Callable[..., AnnData], conditions: list[tuple[str, ...]]) -> AnnData:
    return make_cells("+".join(targets) for targets in conditions if targets)

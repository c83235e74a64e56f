"""A small screen with two lines, singles and doubles, and a prediction of it."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.data import ScreenSchema

GENES = ["A", "B", "C", *(f"G{i:02d}" for i in range(21))]
SIZES = {"control": 14, "A": 7, "B": 9, "C": 6, "A+B": 8, "B+C": 5}
SCHEMA = ScreenSchema("perturbation", "control", "+", ("line",))


def make_cells(seed: int, name: str, labels: dict[str, int], noise: float = 0.4) -> AnnData:
    """Draw cells around effects that do not depend on the seed; two lines."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(7)
    base = fixed.uniform(0.5, 2.5, (2, len(GENES)))
    effects = {key: fixed.normal(0, 0.5, len(GENES)) * (key != "control") for key in SIZES}
    rows, x = [], []
    for line, centre in zip("xy", base, strict=True):
        for label, n_cells in labels.items():
            effect = effects["+".join(sorted(label.split("+")))]
            x.append(centre + effect + rng.normal(0, noise, (n_cells, len(GENES))))
            rows += [(label, line)] * n_cells
    obs = pd.DataFrame(rows, columns=["perturbation", "line"]).astype("category")
    obs.index = [f"{name}{i:03d}" for i in range(len(obs))]
    values = np.abs(np.concatenate(x)).astype(np.float32)
    return AnnData(values, obs=obs, var=pd.DataFrame(index=GENES))


@pytest.fixture
def real() -> AnnData:
    return make_cells(0, "real", SIZES)


@pytest.fixture
def predicted() -> AnnData:
    """Predict all conditions, doubles spelled the other way round, without controls."""
    labels = {"A": 5, "B": 4, "C": 5, "B+A": 6, "C+B": 4}
    cells = make_cells(1, "pred", labels, noise=2.5)
    cells.X = cells.X + np.random.default_rng(5).uniform(0, 0.6, len(GENES)).astype(np.float32)
    return cells


@pytest.fixture
def schema() -> ScreenSchema:
    return SCHEMA


@pytest.fixture
def cells_of() -> Callable[..., np.ndarray]:
    """Expression of a condition in a line, in float64: ``cells_of(adata, "A+B", "x")``."""

    def get(adata: AnnData, label: str, line: str) -> np.ndarray:
        own = adata.obs["perturbation"].astype(str).map(lambda s: "+".join(sorted(s.split("+"))))
        return np.asarray(adata[(own == label) & (adata.obs["line"] == line)].X, np.float64)

    return get


@pytest.fixture
def value_of() -> Callable[..., float]:
    """Look a score up: ``value_of(scores, "mse", "A", "x")``."""

    def get(scores: pd.DataFrame, metric: str, label: str, line: str = "all") -> float:
        rows = scores.query("metric == @metric and perturbation == @label and context == @line")
        [value] = rows["value"]
        return value

    return get

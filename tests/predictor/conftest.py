"""A small screen in two lines, and the least that a predictor has to bring along."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

CELLS = {"control": 6, "A": 3, "B": 4, "A+B": 5, "B+C": 2}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So small a network is only slowed down by threads."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def screen() -> AnnData:
    """Two lines with the same conditions; C never alone."""
    rng = np.random.default_rng(3)
    rows = [(label, line) for line in "xy" for label, n in CELLS.items() for _ in range(n)]
    obs = pd.DataFrame(rows, columns=["perturbation", "line"])
    obs.index = [f"cell{i}" for i in range(len(obs))]
    names = ["A", "B", "C", *(f"G{i}" for i in range(5))]
    x = rng.gamma(2.0, 0.5, size=(len(obs), len(names))).astype(np.float32)
    # The lines express genes differently.
    x[(obs["line"] == "y").to_numpy()] *= 3
    return AnnData(x, obs=obs, var=pd.DataFrame(index=names))

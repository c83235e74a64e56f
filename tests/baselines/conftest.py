"""A small screen whose means can be worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.baselines import Baseline

CELLS = {"control": 6, "A": 3, "B": 4, "A+B": 5, "B+C": 2}


@pytest.fixture
def screen() -> AnnData:
    """Two lines; A is perturbed alone in one only, C never alone."""
    rng = np.random.default_rng(3)
    rows = [
        (label, line)
        for line, labels in (("x", CELLS), ("y", ("control", "B", "B+C")))
        for label in labels
        for _ in range(CELLS[label])
    ]
    obs = pd.DataFrame(rows, columns=["perturbation", "line"]).astype("category")
    obs.index = [f"cell{i}" for i in range(len(obs))]
    names = ["A", "B", "C", *(f"G{i}" for i in range(5))]
    x = rng.gamma(2.0, 0.5, size=(len(obs), len(names))).astype(np.float32)
    return AnnData(x, obs=obs, var=pd.DataFrame(index=names))


def get_effect(adata: AnnData, label: str, line: str | None = None) -> np.ndarray:
    """Mean of the cells with a label minus mean of the controls, from the matrix itself."""
    is_here = (
        np.ones(adata.n_obs, bool) if line is None else (adata.obs["line"] == line).to_numpy()
    )
    own = (adata.obs["perturbation"] == label).to_numpy() & is_here
    control = (adata.obs["perturbation"] == "control").to_numpy() & is_here
    return adata.X[own].mean(axis=0) - adata.X[control].mean(axis=0)


@pytest.fixture
def effect_of():
    return get_effect


@pytest.fixture
def predict_effect():
    """Expected effect of a condition in the first context."""

    def predict(baseline: Baseline, *targets: str) -> np.ndarray:
        resolved = baseline._vocabulary.resolve(targets)
        return baseline._method.predict_effects([resolved], np.zeros(1, dtype=int))[0]

    return predict

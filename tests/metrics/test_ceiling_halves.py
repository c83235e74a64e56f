"""The ceiling of conditions with an odd number of cells, whose halves differ in size."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.data import ScreenSchema
from scbig.metrics import Evaluator

SIZES = {"control": 9, "A": 3, "B": 5, "C": 7, "D": 8}


@pytest.fixture
def alike() -> AnnData:
    """Cells of a condition are copies of each other."""
    rng = np.random.default_rng(0)
    mean = {label: rng.uniform(0.5, 3, 12) for label in SIZES}
    labels = np.repeat(list(SIZES), list(SIZES.values()))
    obs = pd.DataFrame({"perturbation": labels}, index=[f"cell{i}" for i in range(len(labels))])
    return AnnData(np.stack([mean[label] for label in labels]).astype(np.float32), obs=obs)


def test_halves_of_like_cells_agree_whatever_their_sizes(alike: AnnData):
    metrics = ["mse", "pearson_delta"]
    ceiling = Evaluator(alike, ScreenSchema("perturbation", "control", "+"), metrics=metrics)
    scores = ceiling.score_ceiling().pivot_table(
        index="perturbation", columns="metric", values="value"
    )
    assert sorted(scores.index) == ["A", "B", "C", "D"]
    np.testing.assert_allclose(scores["mse"], 0, atol=1e-10)
    np.testing.assert_allclose(scores["pearson_delta"], 1, atol=1e-6)


def test_the_halves_of_three_cells_are_one_and_the_mean_of_two():
    """Cells at 0, 0 and 3: the lone half is off by 1.5 or by 3 from the other."""
    values = {"control": [1.0] * 4, "A": [0.0, 0.0, 3.0]}
    labels = [label for label, cells in values.items() for _ in cells]
    x = np.concatenate([np.outer(cells, np.ones(4)) for cells in values.values()])
    obs = pd.DataFrame({"perturbation": labels}, index=[f"cell{i}" for i in range(len(labels))])
    adata = AnnData(x.astype(np.float32) + np.float32(0.25), obs=obs)
    schema = ScreenSchema("perturbation", "control", "+")
    found = {
        Evaluator(adata, schema, metrics=["mse"], seed=seed).score_ceiling()["value"].item()
        for seed in range(8)
    }
    # The mean over three halvings, of which some take the outlier alone.
    possible = [((3 - n) * 1.5**2 + n * 3**2) / 3 for n in range(4)]
    assert len(found) > 1
    for value in found:
        assert min(abs(value - p) for p in possible) < 1e-6

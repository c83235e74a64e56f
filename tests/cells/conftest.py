"""Control cells whose counts are negative binomial, with what they were drawn from."""

from dataclasses import dataclass

import numpy as np
import pytest

from scbig.cells import CellCounts, normalise_counts


@dataclass(frozen=True)
class Population:
    mean: np.ndarray
    theta: np.ndarray
    size: np.ndarray
    counts: np.ndarray

    def to_cells(self) -> CellCounts:
        return normalise_counts(self.counts)


def draw_negative_binomial(
    rng: np.random.Generator, mean: np.ndarray, theta: np.ndarray
) -> np.ndarray:
    return rng.poisson(rng.gamma(np.broadcast_to(theta, mean.shape), mean / theta))


@pytest.fixture
def population() -> Population:
    rng = np.random.default_rng(7)
    n_cells, n_genes = 800, 120
    mean = rng.lognormal(-0.5, 1.2, n_genes)
    theta = rng.uniform(0.5, 4.0, n_genes)
    size = rng.lognormal(0, 0.3, n_cells)
    size /= size.mean()
    counts = draw_negative_binomial(rng, size[:, None] * mean, theta)
    counts[:, -1] = 0  # silent in control cells
    return Population(mean, theta, size, counts)

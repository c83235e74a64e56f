"""A small simulated screen, and a baseline that is trained on a screen."""

from collections.abc import Callable

import pytest
from anndata import AnnData

import scbig
from scbig.baselines import Additive


@pytest.fixture(scope="package")
def screen() -> AnnData:
    return scbig.data.simulate_screen(900, 40, n_programs=4, n_targets=8, n_doubles=4, seed=0)


@pytest.fixture(scope="package")
def train_on() -> Callable[..., Additive]:
    """Train on all conditions: ``train_on(cells, layer="log")``."""

    def train(cells: AnnData, **setup) -> Additive:
        Additive.setup_anndata(cells, **setup)
        model = Additive(cells, seed=0)
        model.train(validation=[])
        return model

    return train

"""A small SCBIG, trained for a moment on the screen of the room."""

from collections.abc import Callable

import pytest
import torch
from anndata import AnnData

from scbig.model import SCBIG, SCBIGConfig


@pytest.fixture(scope="session")
def config() -> SCBIGConfig:
    return SCBIGConfig(
        n_latent=6,
        n_hidden=8,
        n_layers=1,
        n_heads=2,
        n_inducing=3,
        n_condition=8,
        velocity_hidden=(16,),
        n_solver_steps=2,
        align_every=2,
        autoencoder_epochs=2,
        flow_lr=5e-3,
        flow_steps=4,
        groups_per_step=4,
        cells_per_group=8,
        ema_decay=0.5,
        # So short a flow is no gain; it is kept, so that there is something to test.
        use_gate=False,
    )


@pytest.fixture(scope="session")
def fit(config: SCBIGConfig) -> Callable[..., SCBIG]:
    """Set a screen up, build a model and train it."""

    def fit_model(
        adata: AnnData, setup: dict | None = None, train: dict | None = None, **init: object
    ) -> SCBIG:
        torch.set_num_threads(1)
        SCBIG.setup_anndata(adata, **(setup or {}))
        model = SCBIG(adata, **({"preset": config, "n_programs": 6} | init))
        model.train(**({"accelerator": "cpu", "use_progress_bar": False} | (train or {})))
        return model

    return fit_model


@pytest.fixture(scope="session")
def trained(_simulated: AnnData, fit: Callable[..., SCBIG]) -> SCBIG:
    """A trained model that all tests share: they must leave it, and its data, as they are."""
    return fit(_simulated.copy())


@pytest.fixture(scope="session")
def in_batches(_simulated: AnnData, fit: Callable[..., SCBIG]) -> SCBIG:
    """A model whose contexts are two batches; shared like `trained`."""
    return fit(_simulated.copy(), {"context_keys": "batch"})

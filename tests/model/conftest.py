"""A small screen and a model trained on it for a moment, for all tests of the room."""

from collections.abc import Callable, Iterator

import pytest
import torch
from anndata import AnnData

from scbig.data import simulate_screen
from scbig.model import SCBIG, SCBIGConfig


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So small a network is only slowed down by threads."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


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
def _simulated() -> AnnData:
    adata = simulate_screen(n_cells=600, n_genes=60, n_programs=6, n_targets=12, n_doubles=8)
    adata.obs["batch"] = adata.obs["batch"].astype(str)
    return adata


@pytest.fixture
def screen(_simulated: AnnData) -> AnnData:
    """600 cells of 12 single and 8 double perturbations; every test has its own."""
    return _simulated.copy()


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


@pytest.fixture(scope="session")
def targets(_simulated: AnnData) -> list[str]:
    """Targets of the screen, sorted."""
    labels = set(_simulated.obs["perturbation"]) - {"control"}
    return sorted({target for label in labels for target in label.split("+")})


@pytest.fixture(scope="session")
def unseen(_simulated: AnnData, targets: list[str]) -> str:
    """A measured gene that no cell of the screen is perturbed in."""
    return next(gene for gene in _simulated.var_names if gene not in targets)

"""A small screen for the tests of all models."""

from collections.abc import Iterator

import pytest
import torch
from anndata import AnnData

from scbig.data import simulate_screen


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So small a network is only slowed down by threads."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


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
def targets(_simulated: AnnData) -> list[str]:
    """Targets of the screen, sorted."""
    labels = set(_simulated.obs["perturbation"]) - {"control"}
    return sorted({target for label in labels for target in label.split("+")})


@pytest.fixture(scope="session")
def unseen(_simulated: AnnData, targets: list[str]) -> str:
    """A measured gene that no cell of the screen is perturbed in."""
    return next(gene for gene in _simulated.var_names if gene not in targets)

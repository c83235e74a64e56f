"""A small DualStreamMamba, trained for a moment on the screen of the room."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from anndata import AnnData

from scbig.model import DualStreamConfig, DualStreamMamba
from scbig.model.dualstream._module import DualStreamModule, GeneRecord
from scbig.model.dualstream._networks import StreamCondition, StreamSizes

N_GENES = 7


@pytest.fixture(scope="session")
def small() -> DualStreamConfig:
    return DualStreamConfig(
        max_tokens=20,
        n_hidden=8,
        n_blocks=1,
        n_states=4,
        n_latent=3,
        n_steps=4,
        groups_per_step=4,
        cells_per_group=8,
        ema_decay=0.5,
    )


@pytest.fixture(scope="session")
def fit_small(small: DualStreamConfig) -> Callable[..., DualStreamMamba]:
    """Set a screen up, build a model and train it."""

    def fit_model(
        adata: AnnData, setup: dict | None = None, train: dict | None = None, **init: object
    ) -> DualStreamMamba:
        torch.set_num_threads(1)
        DualStreamMamba.setup_anndata(adata, **(setup or {}))
        model = DualStreamMamba(adata, **({"preset": small} | init))
        model.train(**({"accelerator": "cpu", "use_progress_bar": False} | (train or {})))
        return model

    return fit_model


@pytest.fixture(scope="session")
def ungated(small: DualStreamConfig) -> DualStreamConfig:
    """So short a training is no gain; the networks are kept, to have something to test."""
    return replace(small, use_gate=False)


@pytest.fixture(scope="session")
def dual(
    _simulated: AnnData, fit_small: Callable[..., DualStreamMamba], ungated: DualStreamConfig
) -> DualStreamMamba:
    """A trained model whose networks predict; tests share it and must leave it as it is."""
    return fit_small(_simulated.copy(), preset=ungated)


@pytest.fixture(scope="session")
def dual_in_batches(
    _simulated: AnnData, fit_small: Callable[..., DualStreamMamba], ungated: DualStreamConfig
) -> DualStreamMamba:
    """The same with two batches as contexts."""
    return fit_small(_simulated.copy(), {"context_keys": "batch"}, preset=ungated)


@pytest.fixture
def make_module(small: DualStreamConfig) -> Callable[..., DualStreamModule]:
    """Make a module of seven genes in tokens of two, whose readouts are not at zero."""

    def make(config: DualStreamConfig = small, *, is_fresh: bool = False) -> DualStreamModule:
        rng = torch.Generator().manual_seed(0)
        vectors = torch.nn.functional.normalize(torch.randn(N_GENES, 3, generator=rng), dim=1)
        genes = GeneRecord(
            order=torch.tensor([3, 1, 6, 0, 2, 5, 4]),
            vectors=vectors,
            mean=torch.rand(N_GENES, generator=rng),
            std=torch.rand(N_GENES, generator=rng) + 0.1,
            dropout=torch.rand(N_GENES, generator=rng),
        )
        torch.manual_seed(0)
        config = DualStreamConfig(**{**vars(config), "genes_per_token": 2})
        module = DualStreamModule(
            genes, StreamSizes(n_targets=4, n_contexts=2, n_tables=1), config
        )
        if not is_fresh:
            for parameter in module.parameters():
                parameter.data += 0.1 * torch.randn(parameter.shape, generator=rng)
        return module.eval()

    return make


@pytest.fixture
def condition() -> StreamCondition:
    """A single, a pair and a triple perturbation; target 3 is measured nowhere, 2 is unseen."""
    rng = torch.Generator().manual_seed(1)
    mask = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1]]).bool()
    embedding = torch.nn.functional.normalize(torch.randn(3, 3, 3, generator=rng), dim=-1)
    return StreamCondition(
        gene=torch.tensor([[2, -1, -1], [0, 5, -1], [2, 5, -1]]),
        target=torch.tensor([[1, -1, -1], [0, -1, -1], [1, -1, 3]]),
        embedding=embedding * mask.unsqueeze(-1),
        mask=mask,
        context=torch.tensor([0, 1, -1]),
        effect=torch.randn(3, N_GENES, generator=rng),
    )

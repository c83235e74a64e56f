"""A small screen of loci and a model trained on it for a moment."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from anndata import AnnData

from scbig.data import simulate_locus_screen
from scbig.model import STRAND, STRANDConfig
from scbig.priors import GeneEmbedding, Loci, TableEncoder

pytest.importorskip("pyfaidx")


class Screen(NamedTuple):
    adata: AnnData
    loci: Loci
    fasta: Path


@pytest.fixture(scope="session")
def strand_config() -> STRANDConfig:
    return STRANDConfig(
        window=128,
        n_latent=6,
        dim=16,
        n_heads=2,
        locus_lr=5e-3,
        locus_steps=40,
        conditions_per_step=16,
        bridge_width=16,
        bridge_blocks=1,
        n_solver_steps=3,
        bridge_lr=5e-3,
        bridge_steps=40,
        groups_per_step=4,
        cells_per_group=8,
        # So short a bridge is no gain; it is kept, so that there is something to test.
        use_gate=False,
    )


@pytest.fixture(scope="session")
def _simulated(tmp_path_factory: pytest.TempPathFactory) -> Screen:
    folder = tmp_path_factory.mktemp("loci")
    return Screen(*simulate_locus_screen(folder, n_targets=40, n_genes=40, n_cells=900, seed=1))


@pytest.fixture
def loci_screen(_simulated: Screen) -> Screen:
    """900 cells of 40 genes with two or three start sites; every test has its own cells."""
    return _simulated._replace(adata=_simulated.adata.copy())


@pytest.fixture(scope="session")
def fit_strand(strand_config: STRANDConfig) -> Callable[..., STRAND]:
    """Set a screen up, build a model and train it."""

    def fit(
        screen: Screen,
        changes: dict | None = None,
        setup: dict | None = None,
        train: dict | None = None,
        **init: object,
    ) -> STRAND:
        torch.set_num_threads(1)
        STRAND.setup_anndata(screen.adata, **(setup or {}))
        config = replace(strand_config, **(changes or {}))
        given = {"loci": screen.loci, "fasta": screen.fasta, "preset": config} | init
        model = STRAND(screen.adata, **given)
        model.train(**({"accelerator": "cpu", "use_progress_bar": False} | (train or {})))
        return model

    return fit


@pytest.fixture(scope="session")
def strand(_simulated: Screen, fit_strand: Callable[..., STRAND]) -> STRAND:
    """A trained model that all tests share: they must leave it, and its data, as they are."""
    return fit_strand(_simulated._replace(adata=_simulated.adata.copy()))


@pytest.fixture(scope="session")
def table(_simulated: Screen) -> TableEncoder:
    """Vectors of five features for all loci."""
    vectors = np.random.default_rng(0).normal(3, 2, (len(_simulated.loci), 5))
    return TableEncoder(GeneEmbedding(_simulated.loci.ids, vectors.astype(np.float32), "table"))

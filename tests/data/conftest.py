"""A small screen in two batches, in every storage that an AnnData may have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

STORAGES = {
    "dense32": lambda x: x.astype(np.float32),
    "dense64": lambda x: x.astype(np.float64),
    "csr": lambda x: sparse.csr_matrix(x.astype(np.float32)),
    "csr64": lambda x: sparse.csr_matrix(x.astype(np.float64)),
    "csc": lambda x: sparse.csc_matrix(x.astype(np.float32)),
    "csr_array": lambda x: sparse.csr_array(x.astype(np.float32)),
    "csc_array": lambda x: sparse.csc_array(x.astype(np.float32)),
}
BACKED = ("dense32", "csr", "csc")
ALL_STORAGES = (*STORAGES, *(f"backed-{name}" for name in BACKED))


@pytest.fixture
def values() -> np.ndarray:
    """Log1p expression of 60 cells and 8 genes, with zeros, exact in float32."""
    counts = np.random.default_rng(1).poisson(1.5, (60, 8))
    return np.log1p(counts * 1.7).astype(np.float32)


@pytest.fixture
def obs() -> pd.DataFrame:
    """Label the cells with two single perturbations, one double, and two batches with controls."""
    labels = np.repeat(["control", "G0", "G1", "G0+G1"], 15)
    return pd.DataFrame(
        {
            "perturbation": pd.Categorical(labels),
            "batch": pd.Categorical(np.tile(["a", "b", "b"], 20)),
            "depth": np.arange(60),
        },
        index=[f"cell{i}" for i in range(60)],
    )


@pytest.fixture
def adata(values: np.ndarray, obs: pd.DataFrame) -> AnnData:
    return AnnData(values.copy(), obs=obs.copy(), var=pd.DataFrame(index=gene_names(8)))


@pytest.fixture
def store(obs: pd.DataFrame, tmp_path: Path) -> Callable[..., AnnData]:
    """Make the screen in a named storage: ``store(values, "backed-csr")``."""

    def make(values: Any, storage: str, layer: str | None = None) -> AnnData:
        name = storage.removeprefix("backed-")
        matrix = STORAGES[name](values)
        x = matrix if layer is None else np.zeros(values.shape, np.float32)
        cells = AnnData(x, obs=obs.copy(), var=pd.DataFrame(index=gene_names(values.shape[1])))
        if layer is not None:
            cells.layers[layer] = matrix
        if name == storage:
            return cells
        cells.write_h5ad(tmp_path / "cells.h5ad")
        return anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")

    return make


@pytest.fixture(params=ALL_STORAGES)
def storage(request: pytest.FixtureRequest) -> str:
    return request.param


def gene_names(n: int) -> list[str]:
    return [f"G{i}" for i in range(n)]

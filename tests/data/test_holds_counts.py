"""Raw counts are told from other values, wherever they are stored."""

import anndata
import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from scbig.data import _raw_counts, holds_counts


@pytest.fixture
def counts() -> np.ndarray:
    return np.random.default_rng(0).poisson(0.7, (60, 8)).astype(np.float32)


@pytest.mark.parametrize("n_cells", [None, 20, 1000])
def test_whole_values_are_counts_in_every_storage(store, counts, storage, n_cells):
    assert holds_counts(store(counts, storage), None, n_cells=n_cells)


@pytest.mark.parametrize("bad", [0.5, -1.0, np.nan, np.inf])
def test_one_other_value_is_enough(store, counts, storage, bad):
    counts[41, 6] = bad
    assert not holds_counts(store(counts, storage), None)


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csc_matrix])
def test_blocks_of_values(monkeypatch, counts, make):
    monkeypatch.setattr(_raw_counts, "_N_VALUES", 7)
    assert holds_counts(AnnData(make(counts)), None)
    counts[59, 7] = 0.25
    assert not holds_counts(AnnData(make(counts)), None)


def test_what_is_no_counts():
    assert not holds_counts(AnnData(np.zeros((3, 4), dtype=np.float32)), None)
    assert not holds_counts(AnnData(sparse.csr_matrix((3, 4), dtype=np.float32)), None)
    assert not holds_counts(AnnData(np.full((3, 4), -1)), None)
    assert holds_counts(AnnData(np.eye(4, dtype=np.int64)), None)
    assert not holds_counts(AnnData(np.zeros((0, 4), dtype=np.float32)), None)


def test_some_cells_are_read_of_a_file(tmp_path):
    """Of a file by rows, no more than some cells are read; of the first and the last too."""
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(0.7, (5000, 8)), dtype=np.float32)
    AnnData(counts).write_h5ad(tmp_path / "cells.h5ad")
    cells = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    read = []

    class Recorded:
        shape, dtype = cells.X.shape, cells.X.dtype

        def __getitem__(self, rows: slice):
            read.extend(range(*rows.indices(5000)))
            return cells.X[rows]

    parts = list(_raw_counts._iter_values(Recorded(), 1000))
    assert len(read) == len(set(read)) == 1000
    assert (read[0], read[-1]) == (0, 4999)
    assert sum(map(len, parts)) == counts[np.sort(read)].nnz

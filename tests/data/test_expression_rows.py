import logging

import anndata
import numpy as np
import pytest
from anndata import AnnData
from hypothesis import given, strategies as st
from scipy import sparse

from scbig.data import Expression, get_matrix

SHAPE = (23, 6)
VALUES = np.random.default_rng(0).gamma(1.0, size=SHAPE).astype(np.float32)
VALUES[VALUES < 0.5] = 0
MATRICES = {
    "dense": VALUES,
    "float64": VALUES.astype(np.float64),
    "csr": sparse.csr_matrix(VALUES),
    "csc": sparse.csc_array(VALUES),
}


@given(
    name=st.sampled_from(sorted(MATRICES)),
    indices=st.lists(st.integers(0, SHAPE[0] - 1), max_size=40),
    columns=st.none() | st.lists(st.integers(-1, SHAPE[1] - 1), max_size=9),
    use_fill=st.booleans(),
    size=st.integers(1, 30),
)
def test_rows_and_chunks_are_those_of_the_matrix(name, indices, columns, use_fill, size):
    fill = None
    expected = VALUES
    if columns is not None:
        columns = np.array(columns, dtype=np.int64)
        fill = np.linspace(5, 6, len(columns)) if use_fill else None
        expected = np.array(
            [
                [row[c] if c >= 0 else (fill[i] if use_fill else 0) for i, c in enumerate(columns)]
                for row in VALUES
            ],
            dtype=np.float32,
        ).reshape(SHAPE[0], len(columns))
    expression = Expression(MATRICES[name], columns, fill)
    assert (expression.n_cells, expression.n_genes) == expected.shape
    rows = expression.rows(np.array(indices, dtype=np.int64))
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, expected[indices] if indices else expected[:0])
    chunks = list(expression.chunks(size))
    assert [s for s, _ in chunks] == [
        slice(i, min(i + size, SHAPE[0])) for i in range(0, SHAPE[0], size)
    ]
    np.testing.assert_array_equal(np.concatenate([values for _, values in chunks]), expected)


@pytest.mark.parametrize("layer", [None, "log"])
def test_every_storage(store, values, storage, layer):
    expression = Expression(get_matrix(store(values, storage, layer), layer))
    indices = np.array([7, 3, 3, 59, 0])
    np.testing.assert_array_equal(expression.rows(indices), values[indices])
    np.testing.assert_array_equal(expression.rows(np.array([], dtype=int)), values[:0])
    read = np.concatenate([rows for _, rows in expression.chunks(7)])
    np.testing.assert_array_equal(read, values)


def test_views(store, values, storage):
    adata = store(values, storage)
    chosen = np.flatnonzero(adata.obs["batch"] == "b")
    expression = Expression(get_matrix(adata[chosen, ["G5", "G2"]], None))
    np.testing.assert_array_equal(
        expression.rows(np.array([4, 1])), values[np.ix_(chosen[[4, 1]], [5, 2])]
    )


def test_rows_are_copies(adata):
    before = adata.X.copy()
    Expression(adata.X).rows(np.arange(3))[:] = 9
    np.testing.assert_array_equal(adata.X, before)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float16])
def test_other_numbers_become_float32(values, dtype):
    x = np.rint(values).astype(dtype)
    rows = Expression(x).rows(np.array([1, 0]))
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, x[[1, 0]].astype(np.float32))


def test_files_by_columns_are_reported(store, values, caplog):
    with caplog.at_level(logging.WARNING, "scbig.data"):
        Expression(get_matrix(store(values, "backed-csr"), None))
        assert caplog.text == ""
        Expression(get_matrix(store(values, "backed-csc"), None))
    assert "(CSC) and is read whole" in caplog.text


@pytest.mark.parametrize("name", ["dense", "csr"])
def test_files_are_read_in_pieces(tmp_path, monkeypatch, name):
    AnnData(MATRICES[name]).write_h5ad(tmp_path / "x.h5ad")
    matrix = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r").X
    largest = 0
    read = type(matrix).__getitem__

    def count(self, index):
        nonlocal largest
        rows = read(self, index)
        largest = max(largest, rows.shape[0])
        return rows

    monkeypatch.setattr(type(matrix), "__getitem__", count)
    total = sum(rows.sum(dtype=np.float64) for _, rows in Expression(matrix).chunks(5))
    assert total == pytest.approx(VALUES.sum(dtype=np.float64))
    assert largest == 5

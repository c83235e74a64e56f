"""Foreign files: damaged sparse matrices, and small files that announce much, are refused."""

import os
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from scbig import _reading
from scbig._reading import check_announced, check_sparse, read_h5ad
from scbig.data import check_expression, get_matrix
from scbig.priors import GeneGraph, load_gene_embedding


@pytest.fixture
def matrix() -> sparse.csr_matrix:
    return sparse.random(20, 12, 0.3, format="csr", dtype=np.float32, random_state=0)


@pytest.fixture
def file(tmp_path: Path, matrix: sparse.csr_matrix) -> Path:
    adata = AnnData(matrix, obs=pd.DataFrame(index=[f"c{i}" for i in range(20)]))
    adata.layers["other"] = matrix.tocsc()
    adata.obsm["vectors"] = matrix.copy()
    adata.write_h5ad(tmp_path / "a.h5ad")
    return tmp_path / "a.h5ad"


def _set(part: str, place: int, value: int) -> Callable[[sparse.csr_matrix], None]:
    def change(matrix: sparse.csr_matrix) -> None:
        getattr(matrix, part)[place] = value

    return change


def _repeat(matrix: sparse.csr_matrix) -> None:
    matrix.indices[1] = matrix.indices[0]


DAMAGES = {
    "beyond": (_set("indices", 3, 12), "indices reach from 0 to 12, and 0 to 11 are there"),
    "far beyond": (_set("indices", 3, 2**30), "indices reach from 0 to 1,073,741,824"),
    "negative": (_set("indices", 3, -1), "indices reach from -1 to 11"),
    "falling": (_set("indptr", 5, 0), "indptr does not rise"),
    "jumping": (_set("indptr", 5, 10_000), "indptr does not rise"),
    "late": (_set("indptr", 0, 1), "indptr does not rise from 0"),
    "long": (_set("indptr", -1, 10_000), "indptr ends at 10,000, and there are"),
    "twice": (_repeat, "a place is there twice"),
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("form", ["csr", "csc"])
def test_a_damaged_matrix_is_refused(matrix: sparse.csr_matrix, kind: str, form: str):
    damage, message = DAMAGES[kind]
    damaged = matrix if form == "csr" else sparse.csc_matrix(matrix.T)
    if form == "csc":
        damaged = sparse.csc_matrix(
            (matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape[::-1]
        )
    damage(damaged)
    with pytest.raises(ValueError, match=f"X is a damaged sparse matrix: {message}"):
        check_sparse(damaged, "X")


def test_lengths_and_types_of_the_parts_are_looked_at(matrix: sparse.csr_matrix):
    parts = matrix.data, matrix.indices, matrix.indptr
    assert _reading.find_damage(*parts, matrix.shape) is None
    assert "entries for 21 rows" in _reading.find_damage(*parts, (21, 12))
    assert "indices for" in _reading.find_damage(parts[0][:-1], *parts[1:], matrix.shape)
    floats = parts[0], parts[1].astype(float), parts[2]
    assert "whole numbers" in _reading.find_damage(*floats, matrix.shape)
    flat = parts[0][None], *parts[1:]
    assert "one dimension" in _reading.find_damage(*flat, matrix.shape)


def test_whole_matrices_pass(matrix: sparse.csr_matrix):
    unsorted = matrix.copy()
    for start, end in zip(unsorted.indptr, unsorted.indptr[1:], strict=False):
        unsorted.indices[start:end] = unsorted.indices[start:end][::-1].copy()
        unsorted.data[start:end] = unsorted.data[start:end][::-1].copy()
    order = unsorted.indices.copy()
    for one in (unsorted, matrix.tocoo(), sparse.csr_array(matrix), np.eye(3), None,
                sparse.csr_matrix((0, 0)), sparse.csr_matrix((3, 0))):  # fmt: skip
        check_sparse(one, "X")
    np.testing.assert_array_equal(unsorted.indices, order)  # nothing is sorted in place


def test_a_damaged_list_of_places_is_refused(matrix: sparse.csr_matrix):
    pairs = matrix.tocoo()
    pairs.row[0] = 20
    with pytest.raises(ValueError, match="indices reach from"):
        check_sparse(pairs, "X")


@pytest.mark.parametrize("kind", DAMAGES)
def test_expression_in_memory_is_checked_before_it_is_read(matrix: sparse.csr_matrix, kind: str):
    adata = AnnData(matrix)
    adata.layers["l"] = matrix.copy()
    DAMAGES[kind][0](adata.X)
    DAMAGES[kind][0](adata.layers["l"])
    with pytest.raises(ValueError, match="X is a damaged sparse matrix"):
        check_expression(adata, None)
    with pytest.raises(ValueError, match=r"layers\['l'\] is a damaged sparse matrix"):
        get_matrix(adata, "l")


@pytest.mark.parametrize("place", ["X", "layers/other", "obsm/vectors"])
@pytest.mark.parametrize(
    ("part", "at", "value", "message"),
    [
        ("indices", 3, 12345, "indices reach from 0 to 12,345"),
        ("indices", 3, -1, "indices reach from -1"),
        ("indptr", 3, 10_000, "indptr does not rise"),
        ("indptr", -1, 5, "indptr does not rise"),
    ],
)
def test_a_damaged_file_is_refused(
    file: Path, place: str, part: str, at: int, value: int, message: str
):
    with h5py.File(file, "r+") as opened:
        stored = opened[f"{place}/{part}"]
        values = stored[...]
        values[at] = value
        stored[...] = values
    with pytest.raises(ValueError, match=rf"a\.h5ad.*{message}"):
        read_h5ad(file)
    if place == "obsm/vectors":
        with pytest.raises(ValueError, match=rf"a\.h5ad.*{message}"):
            load_gene_embedding(file, key="vectors")


def test_a_backed_file_is_checked_as_it_is_read(file: Path):
    with h5py.File(file, "r+") as opened:
        opened["X/indices"][3] = 500
    adata = ad.read_h5ad(file, backed="r")
    with pytest.raises(ValueError, match="What was read of the file is a damaged sparse matrix"):
        check_expression(adata, None)


def test_a_whole_file_is_read(file: Path, matrix: sparse.csr_matrix):
    np.testing.assert_array_equal(read_h5ad(file).X.toarray(), matrix.toarray())


def _announce(file: h5py.File) -> None:
    del file["layers/other"]
    file["layers"].create_dataset("other", (20, 10**10), dtype="f4", chunks=(1, 1024))


def _shape(file: h5py.File) -> None:
    file["X"].attrs["shape"] = np.array([10**12, 12])


def _link(file: h5py.File) -> None:
    del file["X"]
    file["X"] = h5py.ExternalLink("other.h5ad", "/X")


def _elsewhere(file: h5py.File) -> None:
    del file["X"]
    file.create_dataset("X", (20, 12), dtype="f4", external=[("/etc/hostname", 0, 960)])


def _circle(file: h5py.File) -> None:
    file["uns/self"] = file["uns"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_announce, "would take .* in memory or more"),
        (_shape, "indptr has the shape"),
        (_link, r"refers to the file 'other\.h5ad' at 'X'"),
        (_elsewhere, "keeps 'X' in another file"),
        (_circle, "nested without end"),
    ],
)
def test_a_hostile_file_is_refused_before_it_is_read(
    file: Path, change: Callable[[h5py.File], None], message: str
):
    with h5py.File(file, "r+") as opened:
        change(opened)
    with pytest.raises(ValueError, match=rf"a\.h5ad.*{message}"):
        read_h5ad(file)


@pytest.mark.parametrize("content", [b"", b"no such file", b"\x89HDF\r\n\x1a\n" + b"\0" * 100])
def test_what_is_no_such_file_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "b.h5ad").write_bytes(content)
    with pytest.raises(ValueError, match=r"b\.h5ad is not a readable \.h5ad file"):
        read_h5ad(tmp_path / "b.h5ad")
    with pytest.raises(FileNotFoundError, match=r"c\.h5ad"):
        read_h5ad(tmp_path / "c.h5ad")


def test_the_limit_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a"
    path.write_bytes(bytes(1 << 20))
    check_announced(path, 128 << 20)
    check_announced(path, 250 << 20)
    with pytest.raises(ValueError, match="raise the limit: SCBIG_MAX_EXPANSION=301"):
        check_announced(path, 300 << 20)
    monkeypatch.setitem(os.environ, "SCBIG_MAX_EXPANSION", "301")
    check_announced(path, 300 << 20)
    monkeypatch.setitem(os.environ, "SCBIG_MAX_EXPANSION", "much")
    with pytest.raises(ValueError, match="is no whole number from 1"):
        check_announced(path, 1)


def test_a_damaged_graph_is_refused():
    adjacency = sparse.csr_array(np.array([[0.0, 1.0], [1.0, 0.0]]))
    adjacency.indices[0] = 7
    with pytest.raises(ValueError, match="graph: adjacency is a damaged sparse matrix"):
        GeneGraph(("A", "B"), adjacency, "graph")

import gzip
import logging
import os
import pickle
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from scbig.priors import load_gene_embedding

NAMES = ["TP53", "NA", "1a", "EGR1"]
VECTORS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
FRAME = pd.DataFrame(VECTORS, index=NAMES)
TENSORS = dict(zip(NAMES, torch.from_numpy(VECTORS), strict=True))


def save_pickle(path: Path, table: object) -> None:
    path.write_bytes(pickle.dumps(table))


def save_h5ad(path: Path, matrix: object, **obsm: np.ndarray) -> None:
    anndata.AnnData(matrix, obs=pd.DataFrame(index=NAMES), obsm=obsm).write_h5ad(path)


def with_string_columns(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns=str)


WRITERS = {
    "index.parquet": lambda path: with_string_columns(FRAME).to_parquet(path),
    "column.parquet": lambda path: (
        with_string_columns(FRAME).reset_index(names="gene").to_parquet(path)
    ),
    "a.csv": FRAME.to_csv,
    "a.csv.gz": FRAME.to_csv,
    "a.tsv": lambda path: FRAME.to_csv(path, sep="\t", index_label="gene"),
    "A.TSV.GZ": lambda path: path.write_bytes(gzip.compress(FRAME.to_csv(sep="\t").encode())),
    "names.npz": lambda path: np.savez(path, names=NAMES, vectors=VECTORS),
    "genes.npz": lambda path: np.savez_compressed(path, genes=NAMES, embeddings=VECTORS),
    "dense.h5ad": lambda path: save_h5ad(path, VECTORS),
    "sparse.h5ad": lambda path: save_h5ad(path, sparse.csr_matrix(VECTORS)),
    "a.pt": lambda path: torch.save(TENSORS, path),
    "names.pt": lambda path: torch.save(
        {"names": NAMES, "vectors": torch.from_numpy(VECTORS)}, path
    ),
    "a.pickle": lambda path: save_pickle(path, dict(zip(NAMES, VECTORS, strict=True))),
    "lists.pkl": lambda path: save_pickle(path, dict(zip(NAMES, VECTORS.tolist(), strict=True))),
    "genes.pkl": lambda path: save_pickle(path, {"genes": NAMES, "embeddings": VECTORS}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    embedding = load_gene_embedding(tmp_path / name)
    assert embedding.names == tuple(NAMES)
    assert all(type(gene) is str for gene in embedding.names)
    assert embedding.vectors.dtype == np.float32
    # Decimal text holds every float32 exactly, so no format loses a bit.
    np.testing.assert_array_equal(embedding.vectors, VECTORS)
    assert embedding.source == name


def test_obsm_key(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    save_h5ad(path, np.zeros((4, 1)), X_gene=VECTORS)
    np.testing.assert_array_equal(load_gene_embedding(path, key="X_gene").vectors, VECTORS)
    with pytest.raises(ValueError, match=r"no obsm\['other'\]; it has \['X_gene'\]"):
        load_gene_embedding(path, key="other")


def test_h5ad_without_x(tmp_path: Path) -> None:
    save_h5ad(tmp_path / "a.h5ad", None, X_gene=VECTORS)
    with pytest.raises(ValueError, match=r"has no X; give key= one of obsm: \['X_gene'\]"):
        load_gene_embedding(tmp_path / "a.h5ad")


def test_half_precision_tensors(tmp_path: Path) -> None:
    torch.save({"A": torch.tensor([0.5, 2.0], dtype=torch.bfloat16)}, tmp_path / "a.pt")
    assert load_gene_embedding(tmp_path / "a.pt").vectors.tolist() == [[0.5, 2.0]]


def test_zero_vector_is_read_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_pickle(tmp_path / "a.pkl", {"A": [0.0, 0.0], "B": [1.0, 0.0]})
    with caplog.at_level(logging.INFO, logger="scbig.priors"):
        embedding = load_gene_embedding(tmp_path / "a.pkl", var_names=["A", "B"])
    assert embedding.names == ("A", "B")
    assert "a.pkl: 1 of 2 names matched (50%); missing: A" in caplog.text


class Harmful:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("name", ["a.pt", "a.pkl", "a.pickle"])
def test_harmful_file_is_refused_and_not_run(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "was_run"
    write = torch.save if name == "a.pt" else lambda table, path: save_pickle(path, table)
    write({"A": Harmful(f"touch {marker}")}, tmp_path / name)
    with pytest.raises(ValueError, match=r"is refused: it asks for \w+\.system"):
        load_gene_embedding(tmp_path / name)
    assert not marker.exists()


def test_torch_advice_to_load_unsafely_is_not_passed_on(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"garbage")
    with pytest.raises(ValueError, match="only a dictionary of tensors") as caught:
        load_gene_embedding(tmp_path / "a.pt")
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "\n", "is empty"),
        ("a.csv", "gene,x\n", "no genes found"),
        ("a.csv", "gene\tx\nA\t1\n", "separated by ',', found the single column"),
        ("a.csv", "gene,x,y\nA,1,2\nB,1\n", "line 3: Expected 3 columns, got 2"),
        ("a.tsv", "gene\tx\nA\t1\nB\tlow\n", "line 3: .*invalid value 'low'"),
        ("a.csv", "gene,x\nA,\n", "line 2: .*invalid value ''"),
        ("a.csv", "gene,x\nA,nan\n", "non-finite values as float32"),
        ("a.csv", "gene,x\nA,1\nA,2\n", "'A' occurs twice"),
        ("a.csv", "gene,x,x\nA,1,2\n", "column names occur twice"),
        ("a.csv", "A,0.5,1.5\nB,0.1,-2e3\n", "has no header line"),
        ("a.csv.gz", "gene,x\n", "cannot be read as text"),
        ("a.parquet", "text", "not a readable parquet file"),
        ("a.npz", "text", "not a readable .npz file"),
        ("a.h5ad", "text", "not a readable .h5ad file"),
        ("a.pkl", "text", "a.pkl is"),
        ("a.xlsx", "text", r"unknown suffix; known are \.parquet, \.csv, .*\.pkl"),
    ],
)
def test_bad_text(tmp_path: Path, name: str, text: str, match: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=match):
        load_gene_embedding(tmp_path / name)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ([1.0], "found a list"),
        ({}, "found an empty one"),
        ({"A": [1.0], "B": [1.0, 2.0]}, "'A' has 1 values, 'B' has 2"),
        ({"A": [[1.0]]}, r"'A' has shape \(1, 1\)"),
        ({"A": 1.0}, r"'A' has shape \(\)"),
        ({"A": ["x"]}, "value of 'A' is not a vector"),
        ({"A": None}, r"'A' has shape \(\)|'A' is not a vector"),
        ({7: [1.0]}, r"name 0 is 7 \(int\); gene names must be strings"),
        ({"names": ["A"], "vectors": [[1.0], [2.0]]}, "one row for each of the 1 names"),
        ({"A": [float("inf")]}, "non-finite"),
    ],
)
def test_bad_dictionaries(tmp_path: Path, table: object, match: str) -> None:
    save_pickle(tmp_path / "a.pkl", table)
    with pytest.raises(ValueError, match=match):
        load_gene_embedding(tmp_path / "a.pkl")


def test_npz_of_objects(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", names=np.array(["A", None], dtype=object), vectors=np.ones((2, 1))
    )
    with pytest.raises(ValueError, match=r"plain arrays: .*dtype=str"):
        load_gene_embedding(tmp_path / "a.npz")


def test_parquet_without_names(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1.0], "y": [2.0]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"expected gene names .* found float64 in 'x'"):
        load_gene_embedding(tmp_path / "a.parquet")


def test_parquet_with_text_among_the_numbers(tmp_path: Path) -> None:
    pd.DataFrame({"g": ["A"], "x": [2.0], "y": ["b"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"expected numbers in all other columns; \['y'\]"):
        load_gene_embedding(tmp_path / "a.parquet")


def test_key_is_for_h5ad_only(tmp_path: Path) -> None:
    save_pickle(tmp_path / "a.pkl", {"A": [1.0]})
    with pytest.raises(ValueError, match="key='x' names an entry of obsm"):
        load_gene_embedding(tmp_path / "a.pkl", key="x")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_gene_embedding(tmp_path / "nowhere.csv")


@pytest.mark.data_kit
def test_kit_against_pandas(priors_kit: Path, norman_targets: list[str]) -> None:
    path = priors_kit / "gene_embedding_go_string_128.parquet"
    frame = pd.read_parquet(path)
    embedding = load_gene_embedding(path)
    assert embedding.vectors.shape == (16394, 128)
    aligned = embedding.align(norman_targets)
    expected = frame.reindex(norman_targets)
    np.testing.assert_array_equal(aligned.values, expected.fillna(0).to_numpy())
    assert len(norman_targets) == 105
    assert aligned.coverage.n_found == expected.notna().all(axis=1).sum() == 92
    assert "KIAA1804" in aligned.coverage.missing

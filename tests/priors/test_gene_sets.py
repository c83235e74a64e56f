import gzip
import logging
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import sparse

from scbig.priors import GeneAliases, GeneSets, load_gene_sets


@pytest.fixture
def gene_sets() -> GeneSets:
    sets = {"small": ("A",), "middle": ("A", "B", "C"), "large": tuple("ABCDEF")}
    return GeneSets(sets, source="sets")


def test_membership_against_a_loop(gene_sets: GeneSets) -> None:
    names = ["E", "X", "C", "A", "B"]
    aligned = gene_sets.align(names, min_size=1)
    expected = [[name in genes for name in names] for genes in gene_sets.sets.values()]
    np.testing.assert_array_equal(aligned.membership.toarray(), expected)
    assert aligned.membership.dtype == np.float32
    assert isinstance(aligned.membership, sparse.csr_array)
    assert aligned.names == ("small", "middle", "large")
    assert aligned.coverage.missing == ("X",)
    assert gene_sets.get_coverage(names) == aligned.coverage


@pytest.mark.parametrize(
    ("min_size", "max_size", "kept"),
    [(1, 1, ("small",)), (2, 500, ("middle", "large")), (3, 3, ("middle",)), (5, 9, ())],
)
def test_size_counts_only_the_given_names(
    gene_sets: GeneSets, min_size: int, max_size: int, kept: tuple[str, ...]
) -> None:
    aligned = gene_sets.align(["A", "B", "C", "D"], min_size=min_size, max_size=max_size)
    assert aligned.names == kept
    assert aligned.membership.shape == (len(kept), 4)


def test_aliases_and_log(gene_sets: GeneSets, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="scbig.priors"):
        aligned = gene_sets.align(["NEW"], min_size=1, aliases=GeneAliases({"NEW": ("F",)}))
    assert aligned.names == ("large",)
    assert "sets: 1 of 3 sets kept" in caplog.text
    assert "sets: 1 of 1 names matched" in caplog.text


@pytest.mark.parametrize(("min_size", "max_size"), [(0, 5), (6, 5)])
def test_impossible_sizes(gene_sets: GeneSets, min_size: int, max_size: int) -> None:
    with pytest.raises(ValueError, match="1 <= min_size <= max_size"):
        gene_sets.align(["A"], min_size=min_size, max_size=max_size)


@pytest.mark.parametrize(
    ("sets", "match"),
    [
        ({}, "names of sets: no genes found"),
        ({"s": ()}, "set 's': no genes found"),
        ({"s": ("A", "A")}, "set 's': the name 'A' occurs twice"),
    ],
)
def test_refused(sets: dict[str, tuple[str, ...]], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        GeneSets(sets, source="sets")


SETS = {"first": ("A", "B"), "second": ("C",)}
names = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)


def write_gmt(sets: dict[str, tuple[str, ...]]) -> str:
    return "".join("\t".join((name, "about", *genes)) + "\n" for name, genes in sets.items())


def save(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(path.stem, text)
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["a.gmt", "a.gmt.gz", "a.gmt.zip", "A.GMT", "a.txt"])
def test_containers(tmp_path: Path, name: str) -> None:
    gene_sets = load_gene_sets(save(tmp_path / name, write_gmt(SETS)))
    assert dict(gene_sets.sets) == SETS
    assert gene_sets.source == name


@given(
    st.dictionaries(
        names, st.lists(names, min_size=1, max_size=5, unique=True).map(tuple), min_size=1
    )
)
def test_round_trip(sets: dict[str, tuple[str, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder) / "sets.gmt.gz", write_gmt(sets))
        assert dict(load_gene_sets(path).sets) == sets


def test_blank_lines_tabs_at_the_end_and_repeated_genes(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gmt", "s\t\tA\tB\tA\t\t\r\n\n  \nt\tx\tC")
    assert dict(load_gene_sets(path).sets) == {"s": ("A", "B"), "t": ("C",)}


def test_coverage_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(tmp_path / "a.gmt", write_gmt(SETS))
    with caplog.at_level(logging.INFO, logger="scbig.priors"):
        load_gene_sets(path, var_names=["A", "Z"])
    assert "a.gmt: 1 of 2 names matched (50%); missing: Z" in caplog.text


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("s\tx\tA\nt\tx\n", r"line 2: expected name, description .* found 't\\tx'"),
        ("s\tx\tA\n\nA B C\n", "line 3"),
        ("\tx\tA\n", "line 1"),
        ("s\tx\tA\ns\tx\tB\n", "line 2: the set 's' occurs twice"),
    ],
)
def test_bad_text(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        load_gene_sets(save(tmp_path / "a.gmt", text))


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.xlsx", b"x", r"unknown suffix; known are \.gmt, \.gmt\.gz"),
        ("a.gmt.gz", b"plain", "cannot be read as text"),
        ("a.gmt.gz", gzip.compress(b"s\tx\tA\n", mtime=0)[:-9], "cannot be read as text"),
        ("a.gmt", b"s\tx\t\xff\n", "cannot be read as text"),
        ("a.zip", b"plain", "cannot be read as zipped text"),
    ],
    ids=["suffix", "not gzip", "cut gzip", "not UTF-8", "not zip"],
)
def test_bad_bytes(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=match):
        load_gene_sets(path)


def test_zip_of_two_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.gmt", "s\tx\tA\n")
        archive.writestr("b.gmt", "s\tx\tA\n")
    with pytest.raises(ValueError, match=r"must hold one file; it holds \['a.gmt', 'b.gmt'\]"):
        load_gene_sets(tmp_path / "a.zip")


@pytest.mark.data_kit
@pytest.mark.parametrize(
    "name",
    ["MSigDB_Hallmark_2020.gmt", "GO_Biological_Process_2021.gmt", "ReactomePathways.gmt.zip"],
)
def test_kit_against_a_plain_split(priors_kit: Path, norman_targets: list[str], name: str) -> None:
    path = priors_kit / name
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            text = archive.read(archive.namelist()[0]).decode()
    else:
        text = path.read_text(encoding="utf-8")
    expected = {line.split("\t")[0]: set(line.split("\t")[2:]) for line in text.splitlines()}
    gene_sets = load_gene_sets(path)
    assert {name: set(genes) for name, genes in gene_sets.sets.items()} == {
        name: {gene.strip() for gene in genes} - {""} for name, genes in expected.items()
    }
    n_found = sum(any(target in genes for genes in expected.values()) for target in norman_targets)
    assert gene_sets.get_coverage(norman_targets).n_found == n_found > 10


@pytest.mark.data_kit
def test_kit_counts(priors_kit: Path) -> None:
    assert len(load_gene_sets(priors_kit / "MSigDB_Hallmark_2020.gmt").sets) == 50
    assert len(load_gene_sets(priors_kit / "GO_Biological_Process_2021.gmt").sets) == 6036

import gzip
import logging
import subprocess
import sys
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import sparse

from scbig.priors import GeneAliases, GeneGraph, load_string


@pytest.fixture
def graph() -> GeneGraph:
    rng = np.random.default_rng(0)
    upper = np.triu(rng.random((6, 6)) < 0.5, k=1).astype(np.float32)
    return GeneGraph(tuple("ABCDEF"), sparse.csr_array(upper + upper.T), source="graph")


def test_align_against_dense_indexing(graph: GeneGraph) -> None:
    names = ["F", "X", "B", "A", "Y", "C"]
    aligned = graph.align(names)
    dense = graph.adjacency.toarray()
    expected = np.zeros((6, 6))
    for i, left in enumerate(names):
        for j, right in enumerate(names):
            if left in "ABCDEF" and right in "ABCDEF":
                expected[i, j] = dense["ABCDEF".index(left), "ABCDEF".index(right)]
    np.testing.assert_array_equal(aligned.adjacency.toarray(), expected)
    assert isinstance(aligned.adjacency, sparse.csr_array)
    np.testing.assert_array_equal(aligned.is_found, [True, False, True, True, False, True])
    assert aligned.coverage.missing == ("X", "Y")
    assert graph.get_coverage(names) == aligned.coverage


def test_aliases(graph: GeneGraph) -> None:
    aligned = graph.align(["NEW", "B"], aliases=GeneAliases({"NEW": ("A",)}))
    assert aligned.adjacency[0, 1] == graph.adjacency[0, 1]
    assert aligned.coverage.n_found == 2


@pytest.mark.parametrize(
    ("matrix", "match"),
    [
        (np.zeros((2, 2)), r"shape \(2, 2\); expected \(3, 3\)"),
        (np.eye(3), r"self loops.*setdiag"),
        (np.diag([1.0, 1.0], k=1), r"not symmetric.*maximum"),
        (np.array([[0, np.nan, 0], [np.nan, 0, 0], [0, 0, 0]]), "non-finite"),
    ],
)
def test_refused(matrix: np.ndarray, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        GeneGraph(("A", "B", "C"), sparse.csr_array(matrix), source="graph")


Pair = tuple[str, str]
INFO = (
    "#string_protein_id\tpreferred_name\tprotein_size\tannotation\n"
    '9606.P0\tA\t1\tnot "available\n9606.P1\tB\t1\t\n9606.P2\tC\t1\tx\n9606.P3\tNA\t1\tx\n'
)
HEADER = "protein1 protein2 combined_score\n"


def write_links(scores: dict[Pair, int]) -> str:
    rows = [f"{a} {b} {score}\n{b} {a} {score}\n" for (a, b), score in scores.items()]
    return HEADER + "".join(rows)


def load(folder: Path, links: str, info: str = INFO, **options: int):
    (folder / "links.txt.gz").write_bytes(gzip.compress(links.encode()))
    (folder / "info.txt").write_text(info)
    return load_string(folder / "links.txt.gz", folder / "info.txt", **options)


def test_only_strong_links_both_ways(tmp_path: Path) -> None:
    links = write_links({("9606.P0", "9606.P2"): 700, ("9606.P0", "9606.P1"): 699})
    graph = load(tmp_path, links)
    assert graph.names == ("A", "B", "C", "NA")
    expected = np.zeros((4, 4))
    expected[0, 2] = expected[2, 0] = 1
    np.testing.assert_array_equal(graph.adjacency.toarray(), expected)
    assert load(tmp_path, links, min_score=699).adjacency.nnz == 4


def test_one_direction_repeats_and_loops(tmp_path: Path) -> None:
    graph = load(tmp_path, HEADER + "9606.P1 9606.P0 900\n" * 3 + "9606.P1 9606.P1 900\n")
    assert graph.adjacency.toarray().tolist()[1] == [1, 0, 0, 0]
    assert graph.adjacency.nnz == 2


def test_proteins_of_one_name_are_one_gene(tmp_path: Path) -> None:
    info = INFO + "9606.P4\tA\t1\tx\n"
    links = write_links({("9606.P4", "9606.P1"): 900, ("9606.P0", "9606.P4"): 900})
    graph = load(tmp_path, links, info)
    assert graph.names == ("A", "B", "C", "NA")
    assert graph.adjacency.nnz == 2
    assert graph.adjacency[0, 1] == 1


def test_other_columns_and_line_ends(tmp_path: Path) -> None:
    links = "protein1 protein2 coexpression combined_score\r\n9606.P0 9606.P1 5 800\r\n"
    assert load(tmp_path, links).adjacency.nnz == 2


def test_no_link_is_strong_enough(tmp_path: Path) -> None:
    assert load(tmp_path, HEADER + "9606.P0 9606.P1 5\n").adjacency.nnz == 0


def test_logs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    links = HEADER + "9606.P0 9606.P1 900\n9606.P0 9606.P9 900\n9606.P0 9606.P2 1\n"
    load(tmp_path, links)
    with caplog.at_level(logging.INFO, logger="scbig.priors"):
        load_string(tmp_path / "links.txt.gz", tmp_path / "info.txt", var_names=["A", "NA", "nan"])
    assert "3 rows, 2 of them of score 700 or more, of these 1 between known" in caplog.text
    assert "STRING: 4 genes, 1 interactions" in caplog.text
    assert "STRING: 2 of 3 names matched (67%); missing: nan" in caplog.text


proteins = [f"9606.P{i}" for i in range(7)]
scores_of_pairs = st.dictionaries(
    st.sampled_from(list(combinations(proteins, 2))), st.integers(0, 1000)
)


@given(scores_of_pairs, st.integers(0, 1000))
def test_round_trip(scores: dict[Pair, int], min_score: int) -> None:
    rows = "".join(f"{protein}\tG{i}\n" for i, protein in enumerate(proteins))
    info = f"#string_protein_id\tpreferred_name\n{rows}"
    with tempfile.TemporaryDirectory() as folder:
        graph = load(Path(folder), write_links(scores), info, min_score=min_score)
    strong = {pair for pair, score in scores.items() if score >= min_score}
    left, right = graph.adjacency.nonzero()
    found = {(proteins[i], proteins[j]) for i, j in zip(left, right, strict=True) if i < j}
    assert found == strong
    assert graph.adjacency.nnz == 2 * len(strong)


@pytest.mark.parametrize(
    ("links", "info", "match"),
    [
        ("", INFO, "links.txt.gz is empty"),
        (HEADER, "", "info.txt is empty"),
        ("a b c\n", INFO, r"lacks the columns .*expected .*combined_score.*found \['a', 'b', 'c'"),
        (HEADER, "id\tname\n", r"info.txt lacks .*#string_protein_id.*found \['id', 'name'\]"),
        (HEADER.replace(" ", "\t"), INFO, "lacks the columns"),
        (HEADER + "9606.P0 9606.P1 1\n9606.P0 9606.P1\n", INFO, "line 3: expected protein1"),
        (HEADER + "9606.P0 9606.P1 high\n", INFO, "line 2: .*high"),
        (HEADER + "9606.P0 9606.P1 \n", INFO, "line 2"),
        (HEADER + "9606.P0 9606.P1 99999999999\n", INFO, "conversion error"),
        (HEADER, INFO + "9606.P7\n", "line 6: Expected 4 columns"),
        (HEADER, INFO + "9606.P0\tZ\t1\tx\n", "'9606.P0' occurs twice"),
        (HEADER, INFO + "9606.P8\t\t1\tx\n", "name 4 is empty"),
        (HEADER + "10090.P0 10090.P1 900\n", INFO, "none of the proteins is in the info file"),
    ],
)
def test_bad_files(tmp_path: Path, links: str, info: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        load(tmp_path, links, info)


def test_line_number_far_into_the_file(tmp_path: Path) -> None:
    text = HEADER + "9606.P0 9606.P1 900\n" * 500_000 + "9606.P0 900\n"
    with pytest.raises(ValueError, match="line 500002: "):
        load(tmp_path, text)


def test_damaged_gzip(tmp_path: Path) -> None:
    rows = (
        f"9606.P0 9606.P1 {score}\n"
        for score in np.random.default_rng(0).integers(999, size=99999)
    )
    load(tmp_path, HEADER)
    (tmp_path / "links.txt.gz").write_bytes(gzip.compress((HEADER + "".join(rows)).encode())[:-99])
    with pytest.raises(ValueError, match="cannot be read"):
        load_string(tmp_path / "links.txt.gz", tmp_path / "info.txt")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no_info"):
        load_string(tmp_path / "no_links.txt", tmp_path / "no_info.txt")


@pytest.mark.parametrize("min_score", [0.7, -1, 1001, float("nan")])
def test_impossible_scores(tmp_path: Path, min_score: float) -> None:
    with pytest.raises(ValueError, match=r"use min_score=700|min_score=.*whole number"):
        load(tmp_path, HEADER, min_score=min_score)


@pytest.mark.data_kit
def test_kit_against_pandas(priors_kit: Path, norman_targets: list[str]) -> None:
    import pandas as pd

    links = priors_kit / "9606.protein.links.subset.txt.gz"
    info = priors_kit / "9606.protein.info.subset.txt.gz"
    graph = load_string(links, info)
    names = pd.read_csv(info, sep="\t", index_col=0)["preferred_name"]
    rows = pd.read_csv(links, sep=" ").query("combined_score >= 700")
    ends = zip(rows["protein1"].map(names), rows["protein2"].map(names), strict=True)
    expected = {frozenset(pair) for pair in ends}
    left, right = graph.adjacency.nonzero()
    found = {frozenset((graph.names[i], graph.names[j])) for i, j in zip(left, right, strict=True)}
    assert found == expected
    assert (len(graph.names), graph.adjacency.nnz) == (10335, 2 * 58059)
    coverage = graph.get_coverage(norman_targets)
    assert coverage.n_found == len(set(norman_targets) & set(names)) == 61


MEASURED_LOAD = """
import resource, sys, time
from scbig.priors import load_string
start = time.perf_counter()
graph = load_string(sys.argv[1], sys.argv[2])
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sys.stdout.write(f"{seconds} {peak / 2**20} {graph.adjacency.nnz}")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_full_human_size_in_a_minute_and_two_gigabytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n_proteins, n_blocks, block = 19_700, 137, 100_000
    ids = np.array([f"9606.ENSP{i:011d}" for i in rng.permutation(10 * n_proteins)[:n_proteins]])
    rows = "".join(f"{protein}\tG{i}\n" for i, protein in enumerate(ids))
    (tmp_path / "info.txt").write_text(f"#string_protein_id\tpreferred_name\n{rows}")
    strong = []
    with gzip.open(tmp_path / "links.txt.gz", "wt", compresslevel=1) as file:
        file.write(HEADER)
        for _ in range(n_blocks):
            pairs = rng.integers(n_proteins, size=(2, block))
            # Like STRING's, most scores are low.
            scores = np.minimum(150 + rng.exponential(150, size=block).astype(int), 999)
            lines = zip(ids[pairs[0]], ids[pairs[1]], scores.astype(str), strict=True)
            file.write("\n".join(map(" ".join, lines)) + "\n")
            strong.append(pairs[:, (scores >= 700) & (pairs[0] != pairs[1])])
    command = [sys.executable, "-c", MEASURED_LOAD, tmp_path / "links.txt.gz"]
    result = subprocess.run(
        [*command, tmp_path / "info.txt"], capture_output=True, text=True, check=True
    )
    seconds, gigabytes, n_entries = map(float, result.stdout.split())
    logging.getLogger(__name__).info("%.1f s, %.2f GB", seconds, gigabytes)
    ends = np.sort(np.concatenate(strong, axis=1), axis=0)
    assert n_entries == 2 * np.unique(ends[0] * n_proteins + ends[1]).size
    assert seconds < 60
    assert gigabytes < 2

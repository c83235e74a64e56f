"""Counts of what can be asked of a genome, against windows that are cut out of its text."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from scbig.priors import (
    Genome,
    Loci,
    Locus,
    _genome_coverage,
    count_loci,
    count_positions,
    load_start_sites,
)

pytest.importorskip("pyfaidx")

COLUMNS = ["n", "n_known", "n_askable", "n_whole"]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    rng = np.random.default_rng(0)
    one = "".join(rng.choice(list("ACGTacgt"), 90))
    return {
        "one": "N" * 12 + one[:30] + "N" + one[30:60] + "N" * 25 + one[60:] + "NNN",
        "two": "ACGTR",
        "gap": "N" * 9,
    }


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, str]) -> Genome:
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    return Genome(path)


def _count(text: str, start: int, end: int, first: int, width: int) -> list[bool]:
    """Whether a place is known, and its window from `first` has known bases, and only these."""
    known = [base.upper() in "ACGT" for base in text]
    window = [0 <= i < len(text) and known[i] for i in range(first, first + width)]
    return [all(known[start:end]), any(window), all(window)]


@pytest.mark.parametrize("width", [1, 2, 5, 8, 24, 1000])
@pytest.mark.parametrize("n_at_once", [7, 1000])
def test_positions_are_those_whose_windows_can_be_read(
    genome: Genome, texts, monkeypatch, width: int, n_at_once: int
):
    monkeypatch.setattr(_genome_coverage, "_N_AT_ONCE", n_at_once)
    table = count_positions(genome, width=width)
    total = np.zeros(4, dtype=int)
    for name, text in texts.items():
        each = [_count(text, i, i + 1, i - width // 2, width) for i in range(len(text))]
        expected = np.array([len(text), *np.sum(each, axis=0)])
        assert table.loc[name, COLUMNS].astype(int).tolist() == expected.tolist(), name
        total += expected
    assert table.loc["all", COLUMNS].astype(int).tolist() == total.tolist()
    shares = table.loc["all", ["share_known", "share_askable", "share_whole"]]
    np.testing.assert_allclose(shares.astype(float), total[1:] / total[0])


def test_a_position_is_counted_as_its_window_is_read(genome: Genome, texts):
    """The window of a position is the one that a model reads."""
    width = 8
    places = [f"one:{i + 1}" for i in range(len(texts["one"]))]
    windows = genome.get_windows(Loci.from_text(places, assembly="toy"), width)
    is_known = windows.codes < 4
    table = count_positions(genome, width=width)
    assert table.loc["one", "n_askable"] == is_known.any(axis=1).sum()
    assert table.loc["one", "n_whole"] == is_known.all(axis=1).sum()


def test_loci_are_counted_wherever_they_are(genome: Genome, texts, monkeypatch):
    monkeypatch.setattr(_genome_coverage, "_N_LOCI", 3)
    places = [(start, start + 1 + start % 3) for start in range(0, 130, 7)]
    records = [Locus(f"x{a}", "one", a, b, "+") for a, b in places if b <= len(texts["one"])]
    n_inside = len(records)
    records += [
        Locus("far", "one", 500, 501),
        Locus("y", "missing", 3, 4),
        Locus("z", "gap", 3, 4),
    ]
    table = count_loci(genome, Loci(tuple(records), "toy"), width=6)
    each = [_count(texts["one"], x.start, x.end, (x.start + x.end) // 2 - 3, 6)
            for x in records[:n_inside]]  # fmt: skip
    assert table.loc["one", COLUMNS].astype(int).tolist() == [
        n_inside + 1, *np.sum(each, axis=0)
    ]  # fmt: skip
    assert table.loc["missing", COLUMNS].astype(int).tolist() == [1, 0, 0, 0]
    assert table.loc["gap", COLUMNS].astype(int).tolist() == [1, 0, 0, 0]
    assert table.loc["all", "n"] == len(records)


def test_a_place_on_no_chromosome_of_the_genome_is_none_that_can_be_asked(genome: Genome):
    table = count_loci(genome, Loci((Locus("y", "missing", 3, 4),), "toy"), width=6)
    assert table.loc["all", COLUMNS].astype(int).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("width", [0, -1, 2.5, True])
def test_a_window_has_a_base(genome: Genome, width):
    with pytest.raises(ValueError, match=r"width=.* is not|width=.*whole number"):
        count_positions(genome, width=width)


GTF = """#!genome-build toy
one\tX\tgene\t11\t90\t.\t+\t.\tgene_id "E1"; gene_name "AB C";
one\tX\ttranscript\t11\t60\t.\t+\t.\tgene_id "E1"; transcript_id "T1"; gene_name "AB C";
one\tX\texon\t11\t60\t.\t+\t.\tgene_id "E1"; gene_name "AB C";
one\tX\ttranscript\t11\t90\t.\t+\t.\tgene_id "E1"; gene_name "AB C"; note "a;b # c";
one\tX\ttranscript\t31\t90\t.\t+\t.\tgene_id "E1"; gene_name "AB C";
two\tX\ttranscript\t1\t4\t.\t-\t.\tgene_id "E2";
two\tX\ttranscript\t1\t3\t.\t-\t.\tgene_id "E2";
"""
GFF = """##gff-version 3
one\tX\tgene\t11\t90\t.\t+\t.\tID=gene:E1;Name=AB
one\tX\tmRNA\t11\t60\t.\t+\t.\tID=T1;Parent=gene:E1
two\tX\tmRNA\t1\t4\t.\t-\t.\tID=T2;Parent=gene:E2;gene=CD
"""
SITES = [
    ("AB C-P1", "one", 10, "+", "AB C"), ("AB C-P2", "one", 30, "+", "AB C"),
    ("E2-P1", "two", 3, "-", "E2"), ("E2-P2", "two", 2, "-", "E2"),
]  # fmt: skip


def _describe(loci: Loci) -> list[tuple]:
    return [(x.id, x.chrom, x.start, x.strand, x.gene) for x in loci]


def test_start_sites_are_the_first_bases_of_transcripts(tmp_path: Path, genome: Genome):
    (tmp_path / "toy.gtf").write_text(GTF)
    with gzip.open(tmp_path / "toy.gtf.gz", "wt") as file:
        file.write(GTF)
    for name in ("toy.gtf", "toy.gtf.gz"):
        loci = load_start_sites(tmp_path / name, assembly="toy")
        assert _describe(loci) == SITES
        assert {x.end - x.start for x in loci} == {1}
        assert loci.assembly == "toy"
        assert [x.tss_label for x in loci] == ["P1", "P2"] * 2
    assert count_loci(genome, loci, width=4).loc["all", "n"] == 4


def test_gff3_names_genes_in_its_own_way(tmp_path: Path):
    (tmp_path / "toy.gff3").write_text(GFF)
    found = _describe(load_start_sites(tmp_path / "toy.gff3", assembly="toy"))
    assert found == [("gene:E1-P1", "one", 10, "+", "gene:E1"), ("CD-P1", "two", 3, "-", "CD")]


def test_without_transcripts_genes_are_read(tmp_path: Path):
    rows = [line for line in GTF.splitlines() if "\ttranscript\t" not in line]
    (tmp_path / "toy.gtf").write_text("\n".join(rows) + "\n")
    assert _describe(load_start_sites(tmp_path / "toy.gtf", assembly="toy")) == SITES[:1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t5\t9\tpeak\n", "has no rows of transcripts or genes"),
        ("one\tX\tgene\t1\t9\t.\t.\t.\tID=A\n", r"line 1: 9 columns and the strand \['\.'\]"),
        ("#\none\tX\tgene\t1\t9\n", r"line 2: 5 columns"),
        ("one\tX\tgene\ta\t9\t.\t+\t.\tID=A\n", r"positions \['a', '9'\] are no numbers"),
        ("one\tX\tgene\t1\t9\t.\t+\t.\tscore 3;\n", "names no gene"),
    ],
)  # fmt: skip
def test_what_is_no_annotation_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "toy.gtf").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_start_sites(tmp_path / "toy.gtf", assembly="toy")
    with pytest.raises(FileNotFoundError, match="no annotation"):
        load_start_sites(tmp_path / "none.gtf", assembly="toy")

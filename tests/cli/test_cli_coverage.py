"""Counts of what can be asked of a genome, on the command line."""

from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("pyfaidx")

GTF = (
    'one\tX\ttranscript\t21\t30\t.\t+\t.\tgene_name "AB";\n'
    'one\tX\ttranscript\t1\t2\t.\t+\t.\tgene_name "AB";\n'
)


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "genome.fa"
    path.write_text(">one\n" + "N" * 12 + "ACGTACGTACGTACGTACGTACGT" + "\n>two\nNNNN\n")
    return path


def test_positions_and_start_sites_are_counted(fasta: Path, scbig_command, tmp_path: Path):
    (tmp_path / "toy.gtf").write_text(GTF)
    found = scbig_command(
        "coverage", fasta, "--annotation", tmp_path / "toy.gtf", "--assembly", "toy",
        "--window", 4, "--out", tmp_path / "coverage.csv",
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert "positions, window of 4 bases:" in found.output
    assert "start sites, window of 4 bases:" in found.output
    table = pd.read_csv(tmp_path / "coverage.csv", index_col=["of", "chrom"])
    # Windows from 2 before a position to 1 behind it; bases 12 to 35 are known.
    counts = ["n", "n_known", "n_askable", "n_whole"]
    assert table.loc[("positions", "one"), counts].astype(int).tolist() == [36, 24, 25, 21]
    assert table.loc[("positions", "all"), counts].astype(int).tolist() == [40, 24, 25, 21]
    assert table.loc[("positions", "all"), "share_askable"] == pytest.approx(25 / 40)
    assert table.loc[("start sites", "all"), counts].astype(int).tolist() == [2, 1, 1, 1]


def test_a_genome_alone_is_enough(fasta: Path, scbig_command):
    found = scbig_command("coverage", fasta)
    assert found.exit_code == 0, found.output
    assert "window of 1024 bases" in found.output
    assert "start sites" not in found.output


def test_an_annotation_needs_its_genome(fasta: Path, scbig_command, tmp_path: Path):
    (tmp_path / "toy.gtf").write_text(GTF)
    found = scbig_command("coverage", fasta, "--annotation", tmp_path / "toy.gtf")
    assert found.exit_code == 1
    assert "--assembly hg38" in found.output

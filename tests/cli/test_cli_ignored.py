"""Options that would be ignored are refused by name, before anything is read."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--normalize",), "--normalize would be ignored: it is for --data"),
        (("--target-sum", "500"), "--target-sum would be ignored: it is for --data"),
        (("--modality", "rna"), "--modality would be ignored: it is for --data"),
        (("--assembly", "hg38"), "--assembly would be ignored: it is of the table --loci"),
    ],
)
def test_predict(scbig_command: Callable, tmp_path: Path, options: tuple[str, ...], why: str):
    out = tmp_path / "p.h5ad"
    result = scbig_command("predict", tmp_path, "--perturbations", "A", "--out", out, *options)
    assert result.exit_code
    assert why in " ".join(result.output.split())


@pytest.mark.parametrize("option", ["--share", "--candidates", "--n-cells"])
def test_benchmark(scbig_command: Callable, counts_file: Path, tmp_path: Path, option: str):
    splits = tmp_path / "s.json"
    splits.write_text("{}")
    result = scbig_command(
        "benchmark", counts_file, "--out", tmp_path / "b", "--split-file", splits, option, "1"
    )
    assert result.exit_code
    text = " ".join(result.output.split())
    assert f"{option} would be ignored: splits are those of --split-file" in text


@pytest.mark.parametrize("command", ["train", "benchmark", "evaluate"])
def test_modalities_of_files_that_have_none(
    scbig_command: Callable, counts_file: Path, tmp_path: Path, command: str
):
    result = scbig_command(command, counts_file, "--out", tmp_path / "o.csv", "--modality", "rna")
    assert result.exit_code
    assert "--modality would be ignored" in " ".join(result.output.split())

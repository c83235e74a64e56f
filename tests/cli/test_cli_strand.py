"""STRAND on the command line, and options that do not fit a model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import pytest

from scbig.data import simulate_locus_screen
from scbig.model import STRAND
from scbig.model.strand import PRESETS

pytest.importorskip("pyfaidx")


class Files(NamedTuple):
    screen: Path
    loci: Path
    fasta: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("loci")
    adata, _, fasta = simulate_locus_screen(folder, n_targets=12, n_genes=40, n_cells=300)
    adata.write_h5ad(folder / "screen.h5ad")
    return Files(folder / "screen.h5ad", folder / "loci.tsv", fasta)


@pytest.fixture(scope="module")
def _small_preset():
    """What the command line passes on does not depend on the size of the networks."""
    changes = {"dim": 16, "n_heads": 2, "n_latent": 8, "locus_steps": 20, "bridge_width": 16}
    small = {"default": replace(PRESETS["default"], window=256, **changes)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scbig.model.strand._model.PRESETS", small)
        yield


@pytest.fixture(scope="module")
def strand_folder(
    files: Files, scbig_command: Callable, tmp_path_factory, _small_preset: None
) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    found = scbig_command(
        "train", files.screen, "--model", "strand", "--loci", files.loci, "--fasta", files.fasta,
        "--assembly", "simulated", "--coordinates", "0-based", "--max-steps", 20, "--accelerator",
        "cpu", "--hold-out", "TARGET001-P1", "--validation", "TARGET002-P1", "--out", folder,
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    return folder


def test_a_trained_model_is_strand(strand_folder: Path):
    model = STRAND.load(strand_folder)
    assert model._vocabulary.schema.perturbation_key == "locus"
    assert model.comparison_.n_conditions == 1


def test_predict_finds_the_class(
    strand_folder: Path, files: Files, scbig_command: Callable, tmp_path: Path
):
    wanted = "TARGET001-P1,TARGET001-P1+TARGET002-P2,chr1:900"
    out = tmp_path / "predicted.h5ad"
    common = ("predict", strand_folder, "--perturbations", wanted, "--out", out, "--n-cells", 3)
    refused = scbig_command(*common)
    assert refused.exit_code == 1
    assert "chr1:900" in refused.output
    found = scbig_command(*common, "--fasta", files.fasta)
    assert found.exit_code == 0, found.output
    adata = ad.read_h5ad(out)
    assert "strand" in adata.layers
    assert set(adata.obs["locus"]) == {"control", *wanted.split(",")}
    table = ("--effects", "--fasta", files.fasta, "--out", tmp_path / "effects.h5ad")
    found = scbig_command("predict", strand_folder, "--perturbations", wanted, *table)
    assert found.exit_code == 0, found.output
    assert ad.read_h5ad(tmp_path / "effects.h5ad").obs_names.tolist() == wanted.split(",")


def test_a_table_without_its_genome_is_refused(files: Files, scbig_command, tmp_path: Path):
    found = scbig_command(
        "train", files.screen, "--model", "strand", "--loci", files.loci, "--fasta", files.fasta,
        "--out", tmp_path / "model",
    )  # fmt: skip
    assert found.exit_code == 1
    assert "--assembly" in found.output


@pytest.mark.parametrize(
    ("model", "option", "value", "owner"),
    [
        ("scbig", "--assembly", "hg38", "strand"),
        ("strand", "--max-epochs", "3", "scbig"),
        ("effect_regression", "--max-steps", "3", "scbig"),
    ],
)
def test_options_of_another_model_are_refused(
    files: Files, scbig_command, tmp_path: Path, model: str, option: str, value: str, owner: str
):
    found = scbig_command(
        "train", files.screen, "--model", model, option, value, "--out", tmp_path / "m"
    )
    assert found.exit_code == 1
    assert f"{option} does not fit --model {model}; it is for {owner}" in found.output


def test_strand_needs_loci(files: Files, scbig_command, tmp_path: Path):
    found = scbig_command("train", files.screen, "--model", "strand", "--out", tmp_path / "m")
    assert found.exit_code == 1
    assert "STRAND needs --loci" in found.output


def test_other_models_have_no_loci(model_folder: Path, files: Files, scbig_command, tmp_path):
    found = scbig_command(
        "predict", model_folder, "--perturbations", "GENE0001", "--fasta", files.fasta, "--out",
        tmp_path / "x.h5ad",
    )  # fmt: skip
    assert found.exit_code == 1
    assert "SCBIG, which has no ['fasta']" in found.output

"""How labels are told to the commands that score."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.cli._evaluate import _read_schema
from scbig.cli._options import Labels


@pytest.fixture
def library(small_screen: AnnData, tmp_path: Path) -> tuple[Path, Path]:
    """The screen with guides in place of genes, and the table of both."""
    screen = small_screen.copy()
    genes = screen.obs["perturbation"].astype(str)
    guides = genes.str.replace("+", "/") + np.where(np.arange(screen.n_obs) % 2, "_g1", "_g2")
    table = pd.DataFrame({"guide": guides, "gene": genes}).drop_duplicates()
    table.to_csv(tmp_path / "library.csv", index=False)
    screen.obs["perturbation"] = pd.Categorical(guides)
    screen.write_h5ad(tmp_path / "screen.h5ad")
    return tmp_path / "screen.h5ad", tmp_path / "library.csv"


def test_a_benchmark_of_guides(
    scbig_command: Callable, screen_file: Path, library: tuple[Path, Path], tmp_path: Path
):
    path, table = library
    asked = "--task", "additive", "--predictors", "additive", "--metrics", "mse"
    result = scbig_command("benchmark", path, *asked, "--out", tmp_path / "none")
    assert (result.exit_code, "look like guides" in result.output) == (1, True)
    given = "--guide-to-gene", table
    for data, options, name in ((path, given, "guides"), (screen_file, (), "genes")):
        result = scbig_command("benchmark", data, *asked, *options, "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
    guides, genes = (pd.read_csv(tmp_path / name / "scores.csv") for name in ("guides", "genes"))
    columns = ["predictor", "perturbation", "value"]
    pd.testing.assert_frame_equal(guides[columns], genes[columns], rtol=1e-5)


def test_evaluate_reads_labels_as_train_does(small_screen: AnnData, library: tuple[Path, Path]):
    screen = small_screen.copy()
    labels = screen.obs["perturbation"].astype(str).str.replace("+", ".")
    screen.obs["perturbation"] = pd.Categorical(labels)
    screen.var["symbol"] = screen.var_names
    schema = _read_schema(screen, Labels(separator=".", gene_key="symbol"))
    assert (schema.separator, schema.gene_key) == (".", "symbol")
    told = Labels(guide_to_gene=library[1], perturbation_key="guide")
    screen.obs["guide"] = (
        small_screen.obs["perturbation"].astype(str).str.replace("+", "/") + "_g1"
    )
    schema = _read_schema(screen, told)
    assert schema.control == "control"
    single = next(label for label in schema.guides if label[1].startswith("GENE"))
    assert schema.parse(single[0]) == tuple(sorted(single[1].split("+")))

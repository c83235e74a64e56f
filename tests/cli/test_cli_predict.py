"""`scbig predict`: what it writes, and how it refuses."""

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.cli._predict import _write_lines
from scbig.model import SCBIG


def test_prediction_is_the_one_of_the_python_interface(
    scbig_command: Callable, model_folder: Path, tmp_path: Path
):
    out = tmp_path / "predicted.h5ad"
    wanted = ["GENE0001", "GENE0001+GENE0002"]
    model = SCBIG.load(model_folder)
    expected = model.predict(perturbations=wanted, n_cells=7, seed=3)
    result = scbig_command(
        "predict", model_folder, "--perturbations", ",".join(wanted), "--out", out,
        "--n-cells", 7, "--seed", 3,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "Wrote 21 cells x 60 genes" in result.output
    written = ad.read_h5ad(out)
    for layer in ("scbig", "scbig_counts"):
        pair = (x.layers[layer].toarray() for x in (written, expected))
        np.testing.assert_allclose(*pair, rtol=1e-6)
    assert written.obs["perturbation"].tolist() == expected.obs["perturbation"].tolist()


def test_other_control_cells_and_a_spread(
    scbig_command: Callable,
    small_screen: AnnData,
    counts_file: Path,
    model_folder: Path,
    tmp_path: Path,
):
    out = tmp_path / "predicted.h5ad"
    result = scbig_command(
        "predict", model_folder, "--perturbations", "GENE0001", "--out", out, "--data",
        counts_file, "--normalize", "--n-cells", 5, "--key-added", "mine",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    written = ad.read_h5ad(out)
    assert {"mine", "mine_counts"} <= set(written.layers)
    rows = (written.obs["perturbation"] == "control").to_numpy()
    sources = small_screen[written.obs["mine_source"][rows].tolist()]
    np.testing.assert_allclose(written.X[rows].toarray(), sources.X.toarray(), rtol=1e-5)


def test_effects_are_written_as_a_table_or_line_by_line(
    scbig_command: Callable, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("scbig.cli._predict._AT_ONCE", 2)
    wanted = ["GENE0001", "GENE0002", "GENE0001+GENE0002"]
    expected = SCBIG.load(model_folder).predict_effects(wanted)
    for name in ("effects.h5ad", "effects.csv", "effects.tsv"):
        result = scbig_command(
            "predict", model_folder, "--perturbations", ",".join(wanted), "--effects", "--out",
            tmp_path / name,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert "Wrote the effects of 3 conditions on 60 genes" in result.output
    table = ad.read_h5ad(tmp_path / "effects.h5ad")
    np.testing.assert_allclose(table.X, expected.X, atol=1e-6)
    assert set(table.layers) == set(expected.layers)
    for name, separator in (("effects.csv", ","), ("effects.tsv", "\t")):
        lines = pd.read_csv(tmp_path / name, sep=separator)
        layers = [layer for layer in expected.layers if layer is not None]
        columns = ["gene", *expected.obs.columns, "effect", *layers]
        assert lines.columns.tolist() == columns
        assert lines["gene"].tolist() == expected.var_names.tolist() * 3
        assert lines["perturbation"].tolist() == np.repeat(wanted, 60).tolist()
        np.testing.assert_allclose(lines["effect"], expected.X.ravel(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            lines["expected"], expected.layers["expected"].ravel(), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("option", ["--n-cells", "--n-draws", "--key-added", "--seed", "--data"])
def test_a_table_has_no_options_of_cells(
    scbig_command: Callable, model_folder: Path, screen_file: Path, tmp_path: Path, option: str
):
    result = scbig_command(
        "predict", model_folder, "--perturbations", "GENE0001", "--effects", "--out",
        tmp_path / "effects.h5ad", option, screen_file if option == "--data" else 3,
    )  # fmt: skip
    assert result.exit_code == 1
    assert f"{option} is for cells, and --effects makes none" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--perturbations", "NOWHERE"], "Nothing is known of the target(s) ['NOWHERE']"),
        (["--perturbations", "Gene0002"], "Did you mean 'GENE0002'? Train with a table"),
        (["--perturbations", "gene0002", "--effects"], "other names: scbig train --gene-key"),
        (["--perturbations", "GENE0001", "--contexts", "z"], "Context(s) ['z'] have no control"),
        (["--perturbations", ","], "No perturbation was asked for"),
        (["--perturbations", "NOWHERE", "--effects"], "Nothing is known of the target(s)"),
        (["--perturbations", ",", "--effects"], "No perturbation was asked for"),
    ],
)
def test_what_cannot_be_predicted_is_an_error(
    scbig_command: Callable, model_folder: Path, tmp_path: Path, options: list[str], message: str
):
    out = tmp_path / "predicted.h5ad"
    result = scbig_command("predict", model_folder, *options, "--out", out)
    assert result.exit_code == 1
    assert message in result.output
    assert not out.exists()


def make_table(**obs: str) -> AnnData:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    rows = pd.DataFrame(obs, index=["A", "B"])
    genes = pd.DataFrame(index=["G1", "G2", "G3"])
    return AnnData(values, rows, genes, layers={"standard_error": values / 8})


def test_labels_that_are_called_gene_stay_what_they_are(tmp_path: Path):
    table, out = make_table(), tmp_path / "effects.csv"
    table.obs["gene"] = ["A", "B"]
    _write_lines(table, out, ",")
    lines = pd.read_csv(out)
    assert lines.columns.tolist() == ["measured_gene", "gene", "effect", "standard_error"]
    assert lines["gene"].tolist() == ["A"] * 3 + ["B"] * 3
    assert lines["measured_gene"].tolist() == ["G1", "G2", "G3"] * 2
    np.testing.assert_allclose(lines["effect"], np.arange(6))


@pytest.mark.parametrize("taken", [["effect"], ["standard_error"], ["gene", "measured_gene"]])
def test_lines_write_over_no_column(tmp_path: Path, taken: list[str]):
    out = tmp_path / "effects.csv"
    with pytest.raises(ValueError, match=rf"write over the columns \['{taken[-1]}'\].*h5ad"):
        _write_lines(make_table(**dict.fromkeys(taken, "a")), out, ",")
    assert not out.exists()


def test_raw_counts_are_normalised_as_they_are_read(
    scbig_command: Callable, counts_file: Path, model_folder: Path, tmp_path: Path
):
    made = {}
    for name, options in (("raw", ()), ("normalised", ("--normalize",))):
        out = tmp_path / f"{name}.h5ad"
        result = scbig_command(
            "predict", model_folder, "--perturbations", "GENE0001", "--data", counts_file,
            "--n-cells", 5, "--out", out, *options,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        written = ad.read_h5ad(out)
        made[name] = written.X[(written.obs["perturbation"] == "control").to_numpy()].toarray()
    np.testing.assert_allclose(made["raw"], made["normalised"], atol=1e-5)


def test_a_folder_without_a_model_is_an_error(scbig_command: Callable, tmp_path: Path):
    result = scbig_command(
        "predict", tmp_path, "--perturbations", "A", "--out", tmp_path / "p.h5ad"
    )
    assert (result.exit_code, "holds no model saved by scbig" in result.output) == (1, True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("there.h5ad", "exists. Replace it with --overwrite"),
        ("predicted.csv", "does not end in .h5ad"),
        ("absent/predicted.h5ad", "There is no folder"),
    ],
)
def test_the_output_is_checked_first(
    scbig_command: Callable, model_folder: Path, tmp_path: Path, name: str, message: str
):
    (tmp_path / "there.h5ad").write_text("")
    result = scbig_command(
        "predict", model_folder, "--perturbations", "GENE0001", "--out", tmp_path / name
    )
    assert (result.exit_code, message in result.output) == (1, True)

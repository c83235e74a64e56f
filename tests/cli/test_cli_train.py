"""`scbig train`: what it reads, leaves out and says, and how it refuses."""

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.model import SCBIG, DualStreamMamba, EffectRegression

# Everything but the training itself, which the fixture `model_folder` goes through.
QUICK = ("--max-epochs", "0", "--max-steps", "0", "--accelerator", "cpu")


def get_labels(screen: AnnData, n_targets: int) -> list[str]:
    return sorted(screen.obs.loc[screen.obs["n_targets"] == n_targets, "perturbation"].unique())


def read_targets(folder: Path) -> set[tuple[str, ...]]:
    """The conditions that a saved model has effects of."""
    values = json.loads((folder / "model.json").read_text())
    return {tuple(sorted(targets)) for targets in values["effects"]["targets"]}


def test_a_trained_model_can_be_loaded(model_folder: Path, small_screen: AnnData):
    model = SCBIG.load(model_folder)
    assert model.is_trained_
    assert read_targets(model_folder) == {
        tuple(sorted(label.split("+")))
        for label in get_labels(small_screen, 1) + get_labels(small_screen, 2)
    }


def test_held_out_conditions_are_left_out(
    scbig_command: Callable, small_screen: AnnData, screen_file: Path, tmp_path: Path
):
    single, double = get_labels(small_screen, 1)[0], get_labels(small_screen, 2)[0]
    turned = "+".join(reversed(double.split("+")))
    splits = {"mine": {"test": [turned], "val": [get_labels(small_screen, 1)[1]]}}
    (tmp_path / "splits.json").write_text(json.dumps(splits))
    options = ["--split-file", tmp_path / "splits.json", "--split", "mine", "--hold-out", single]
    result = scbig_command("train", screen_file, "--out", tmp_path / "model", *QUICK, *options)
    assert result.exit_code == 0, result.output
    assert "Held out 2 conditions" in result.output
    trained = read_targets(tmp_path / "model")
    assert not {(single,), tuple(sorted(double.split("+")))} & trained
    assert len(trained) == 10 + 6 - 2


def test_a_table_of_guides_is_read(
    scbig_command: Callable, small_screen: AnnData, screen_file: Path, tmp_path: Path
):
    screen = small_screen.copy()
    genes = screen.obs["perturbation"].astype(str)
    guides = genes + np.where(np.arange(screen.n_obs) % 2, "_+_1.2", "_-_3")
    screen.obs["guide"] = guides.mask(genes == "control", genes)
    table = screen.obs[["guide", "perturbation"]].drop_duplicates()
    table.to_csv(tmp_path / "library.tsv", sep="\t", index=False)
    del screen.obs["perturbation"]
    screen.write_h5ad(tmp_path / "screen.h5ad")
    asked = "train", tmp_path / "screen.h5ad", "--model", "effect_regression"
    result = scbig_command(*asked, "--perturbation-key", "guide", "--out", tmp_path / "none")
    assert result.exit_code == 1
    assert "look like guides and not like genes" in result.output
    given = "--guide-to-gene", tmp_path / "library.tsv"
    result = scbig_command(*asked, *given, "--out", tmp_path / "model")
    assert result.exit_code == 0, result.output
    result = scbig_command("train", screen_file, *asked[2:], "--out", tmp_path / "genes")
    assert read_targets(tmp_path / "model") == read_targets(tmp_path / "genes")
    gene = get_labels(small_screen, 1)[0]
    out = "--effects", "--out", tmp_path / "effects.csv"
    result = scbig_command("predict", tmp_path / "model", "--perturbations", f"{gene}_+_1.2", *out)
    assert result.exit_code == 0, result.output
    assert set(pd.read_csv(tmp_path / "effects.csv")["guide"]) == {gene}


def test_priors_and_labels_are_read(
    scbig_command: Callable, small_screen: AnnData, tmp_path: Path
):
    genes = list(small_screen.var_names)
    vectors = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    table = pd.DataFrame(vectors, index=genes)
    table.columns = table.columns.astype(str)
    table.to_csv(tmp_path / "genes.csv")
    (tmp_path / "sets.gmt").write_text("\t".join(["first", "", *genes[:20]]) + "\n")
    screen = small_screen.copy()
    screen.obs = screen.obs.rename(columns={"perturbation": "what"})
    screen.obs["what"] = screen.obs["what"].cat.rename_categories({"control": "none"})
    screen.write_h5ad(tmp_path / "screen.h5ad")
    result = scbig_command(
        "train", tmp_path / "screen.h5ad", "--out", tmp_path / "model", *QUICK,
        "--perturbation-key", "what", "--control", "none", "--context-keys", "batch",
        "--gene-embedding", tmp_path / "genes.csv", "--pathways", tmp_path / "sets.gmt",
        "--seed", "5",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / "model" / "model.json").read_text())
    assert values["vocabulary"]["schema"]["perturbation_key"] == "what"
    assert values["vocabulary"]["contexts"] == ["batch_1", "batch_2"]
    assert values["vocabulary"]["embeddings"][0]["names"] == genes
    assert values["seed"] == 5


@pytest.mark.parametrize("options", [(), ("--normalize",)])
def test_counts_are_normalised(
    scbig_command: Callable,
    small_screen: AnnData,
    counts_file: Path,
    tmp_path: Path,
    options: tuple[str, ...],
):
    folder = tmp_path / "model"
    command = "train", counts_file, "--model", "effect_regression", *options, "--out", folder
    result = scbig_command(*command)
    assert result.exit_code == 0, result.output
    assert "Normalised X to 10000 counts a cell" in result.output
    assert ("X holds raw counts, all values are whole" in result.output) == (not options)
    controls = small_screen.obs["perturbation"] == "control"
    expected = small_screen.X[controls.to_numpy()].toarray().mean(axis=0)
    model = EffectRegression.load(folder)
    np.testing.assert_allclose(model._effects.control_mean[0], expected, rtol=1e-4)
    # The counts are kept as they are.
    named = small_screen[model.controls.obs_names].layers["counts"]
    assert abs(model.controls.layers["counts"] - named).max() == 0


def test_integers_are_log1p_values_if_one_says_so(
    scbig_command: Callable, small_screen: AnnData, tmp_path: Path
):
    screen = small_screen.copy()
    screen.X = np.rint(screen.X.toarray()).astype(np.float32)
    del screen.layers["counts"]
    screen.write_h5ad(tmp_path / "screen.h5ad")
    result = scbig_command(
        "train", tmp_path / "screen.h5ad", "--is-log1p", "--model", "effect_regression",
        "--out", tmp_path / "model",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "X holds raw counts" not in result.output


def test_several_control_labels(scbig_command: Callable, small_screen: AnnData, tmp_path: Path):
    screen = small_screen.copy()
    labels = screen.obs["perturbation"].astype(str)
    controls = labels.index[labels == "control"]
    labels[controls[::2]], labels[controls[1::2]] = "NT1", "NT2"
    screen.obs["perturbation"] = labels.astype("category")
    screen.write_h5ad(tmp_path / "screen.h5ad")
    result = scbig_command(
        "train", tmp_path / "screen.h5ad", "--control", "NT1", "--control", "NT2",
        "--model", "effect_regression", "--out", tmp_path / "model",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    model = EffectRegression.load(tmp_path / "model")
    assert model.controls.n_obs == len(controls)
    out = model.predict(perturbations=["GENE0001"])
    assert set(out.obs["perturbation"]) == {"NT1", "GENE0001"}


def test_log1p_values_are_not_normalised_again(
    scbig_command: Callable, screen_file: Path, tmp_path: Path
):
    result = scbig_command("train", screen_file, "--normalize", "--out", tmp_path / "model")
    assert result.exit_code == 1
    assert "Error: --normalize expects raw counts, but X holds values such as" in result.output


def test_a_layer_of_counts_is_normalised(
    scbig_command: Callable, screen_file: Path, tmp_path: Path
):
    options = ["--normalize", "--target-sum", "5000", "--layer", "counts"]
    result = scbig_command("train", screen_file, "--out", tmp_path / "model", *QUICK, *options)
    assert result.exit_code == 0, result.output
    assert "Normalised layers['counts'] to 5000 counts a cell" in result.output


def test_mudata_is_read(scbig_command: Callable, small_screen: AnnData, tmp_path: Path):
    mudata.MuData({"rna": small_screen.copy()}).write_h5mu(tmp_path / "screen.h5mu")
    result = scbig_command("train", tmp_path / "screen.h5mu", "--out", tmp_path / "model", *QUICK)
    assert result.exit_code == 0, result.output
    assert SCBIG.load(tmp_path / "model").is_trained_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--control", "mock"], "has the control label 'mock'"),
        (["--layer", "scaled"], "There is no layer 'scaled'"),
        (
            ["--layer", "scaled", "--normalize"],
            "There is no layer 'scaled'. Layers found: ['counts']",
        ),
        (["--hold-out", "Q+R,GENE0001"], "have no cells"),
        (["--split", "mine"], "--split mine needs --split-file"),
        (["--string-links", __file__], "give both --string-links and --string-info"),
    ],
)
def test_what_does_not_fit_is_an_error_in_one_line(
    scbig_command: Callable, screen_file: Path, tmp_path: Path, options: list[str], message: str
):
    result = scbig_command("train", screen_file, "--out", tmp_path / "model", *options)
    assert result.exit_code == 1
    [line] = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert message in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "is no JSON"),
        ("[1]", "holds a list; splits by name are expected"),
        ('{"a": {}}', "holds no split 'mine'. Choose with --split one of ['a']"),
    ],
)
def test_split_files_are_checked(
    scbig_command: Callable, screen_file: Path, tmp_path: Path, text: str, message: str
):
    (tmp_path / "splits.json").write_text(text)
    options = ["--split-file", tmp_path / "splits.json", "--split", "mine"]
    result = scbig_command("train", screen_file, "--out", tmp_path / "model", *options)
    assert (result.exit_code, message in result.output) == (1, True)


def test_a_model_is_not_replaced_unasked(
    scbig_command: Callable, screen_file: Path, model_folder: Path
):
    result = scbig_command("train", screen_file, "--out", model_folder)
    assert result.exit_code == 1
    assert "is not empty. Replace what is there with --overwrite" in result.output
    result = scbig_command("train", screen_file, "--out", screen_file)
    assert "is a file; --out names a folder" in result.output


def test_usage_errors_exit_with_2(scbig_command: Callable, tmp_path: Path):
    result = scbig_command("train", tmp_path / "absent.h5ad", "--out", tmp_path / "model")
    assert result.exit_code == 2
    assert "does not exist" in result.output
    assert scbig_command("train", __file__).exit_code == 2


def test_other_files_are_refused(scbig_command: Callable, tmp_path: Path):
    result = scbig_command("train", __file__, "--out", tmp_path / "model")
    assert (result.exit_code, "is neither .h5ad nor .h5mu" in result.output) == (1, True)


def test_libraries_are_quiet_and_left_as_they_were(
    scbig_command: Callable, screen_file: Path, tmp_path: Path
):
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level, list(warnings.filters), logging.getLogger("scbig").handlers[:]
    result = scbig_command("-q", "train", screen_file, "--out", tmp_path / "model", *QUICK)
    assert (result.exit_code, result.output) == (0, "")
    after = logger.level, list(warnings.filters), logging.getLogger("scbig").handlers[:]
    assert after == before


def test_debug_shows_where_an_error_came_up(
    scbig_command: Callable, screen_file: Path, tmp_path: Path
):
    wrong = ("--perturbation-key", "nothing")
    result = scbig_command("--debug", "train", screen_file, *wrong, "--out", tmp_path / "model")
    assert isinstance(result.exception, ValueError)


def test_train_says_how_the_model_compares(
    scbig_command: Callable, screen_file: Path, tmp_path: Path
):
    result = scbig_command("train", screen_file, "--out", tmp_path / "model", *QUICK)
    assert result.exit_code == 0, result.output
    comparison = SCBIG.load(tmp_path / "model").comparison_
    assert comparison is not None
    assert comparison.n_conditions == 2
    assert str(comparison) in result.output


def test_dualstream_trains_and_predicts(
    screen_file: Path, scbig_command: Callable, tmp_path: Path
):
    model, out = tmp_path / "model", tmp_path / "predicted.h5ad"
    found = scbig_command(
        "train", screen_file, "--model", "dualstream", "--max-steps", 3, "--accelerator", "cpu",
        "--out", model,
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert DualStreamMamba.load(model).is_trained
    target = ad.read_h5ad(screen_file).uns["truth"]["effects"].index[0]
    found = scbig_command(
        "predict", model, "--perturbations", target, "--out", out, "--n-cells", 3
    )
    assert found.exit_code == 0, found.output
    adata = ad.read_h5ad(out)
    assert "dualstream" in adata.layers
    assert list(adata.obs["perturbation"]) == ["control"] * 3 + [target] * 3

"""`scbig info`, and what the shell completes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from scbig.cli._info import PACKAGES, describe_model
from scbig.model import SCBIG


def read_rows(output: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w :-]+?): +(.*)$", output, re.M))


def test_versions_and_devices_for_a_report(scbig_command: Callable):
    result = scbig_command("info")
    assert result.exit_code == 0, result.output
    rows = read_rows(result.output)
    assert rows["scbig"].startswith(f"{version('scbig-perturb')} (")
    assert {name: rows[name] for name in PACKAGES} == {name: version(name) for name in PACKAGES}
    assert rows["python"].startswith(".".join(map(str, sys.version_info[:3])))
    assert rows["cpu"].startswith(f"{os.cpu_count()} cores, ")
    assert any(name.startswith("cuda") for name in rows)


def test_a_package_that_is_missing_is_told(scbig_command: Callable, monkeypatch):
    monkeypatch.setattr("scbig.cli._info.PACKAGES", ("no-such-package",))
    assert read_rows(scbig_command("info").output)["no-such-package"] == "not installed"


def test_what_a_model_is_of(scbig_command: Callable, model_folder: Path):
    result = scbig_command("info", model_folder)
    assert result.exit_code == 0, result.output
    rows, model = read_rows(result.output), SCBIG.load(model_folder)
    assert rows["model"] == f"SCBIG, saved by scbig {version('scbig-perturb')}"
    assert rows["trained"].startswith("yes (seed 0, autoencoder 1 epochs")
    found = model._vocabulary
    assert rows["targets"] == f"{len(found.targets)}: {', '.join(found.targets)}"
    assert rows["genes"].startswith(f"60: {', '.join(found.genes[:20])}, ... and 40 more (--all)")
    assert rows["contexts"] == "1: all"
    assert rows["conditions"] == "10 of one target, 6 combinations"
    assert "perturbation_key='perturbation', control='control'" in rows["set up with"]
    comparison = model.comparison_
    for name, score in {"SCBIG": comparison.score, **comparison.floors}.items():
        assert f"{name} {score:.2f}" in rows["compared"]
    shown = [float(score) for score in re.findall(r" (-?\d\.\d\d)", rows["compared"])]
    assert shown == sorted(shown, reverse=True)
    whole = read_rows(scbig_command("info", model_folder, "--all").output)
    assert whole["genes"] == f"60: {', '.join(found.genes)}"


def test_a_model_that_is_not_trained(small_screen, tmp_path: Path):
    adata = small_screen.copy()
    SCBIG.setup_anndata(adata, context_keys=["batch"])
    SCBIG(adata, n_programs=4, missing_embedding="mean").save(tmp_path / "model")
    rows = dict(describe_model(tmp_path / "model"))
    assert (rows["trained"], rows["compared"]) == ("no", "no conditions were held out")
    assert rows["contexts"] == "2: batch_1, batch_2"
    assert "mean effect" in rows["others"]
    assert "conditions" not in rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no model saved by scbig"),
        ("{", "cannot be read"),
        ("[]", "is not what scbig wrote"),
        (json.dumps({"class": "SCBIG"}), "is not what scbig wrote"),
    ],
)
def test_a_folder_without_a_model(scbig_command: Callable, tmp_path: Path, text, message):
    if text is not None:
        (tmp_path / "model.json").write_text(text)
    result = scbig_command("info", tmp_path)
    assert (result.exit_code, message in " ".join(result.output.split())) == (1, True)


def test_all_is_of_a_model(scbig_command: Callable):
    result = scbig_command("info", "--all")
    assert result.exit_code == 1
    assert "scbig info MODEL --all" in result.output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("scbig tr", {"train"}),
        ("scbig in", {"info"}),
        ("scbig predict --pert", {"--perturbations", "--perturbations-file"}),
        ("scbig benchmark --task un", {"unseen"}),
        ("scbig train --model du", {"dualstream"}),
    ],
)
def test_the_shell_completes(words: str, expected: set[str]):
    code = "from scbig.cli import app; app(prog_name='scbig')"
    asked = {
        "_SCBIG_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, env=os.environ | asked,
    )  # fmt: skip
    assert set(done.stdout.split()) == expected


def test_completion_can_be_installed(scbig_command: Callable):
    assert "--install-completion" in scbig_command("--help").output


def test_every_predictor_is_named_in_the_help(scbig_command: Callable):
    from scbig.benchmark.catalogue import CATALOGUE

    shown = " ".join(re.sub("[│]", " ", scbig_command("benchmark", "--help").output).split())
    assert [spec.name for spec in CATALOGUE if spec.name not in shown] == []


TABLE = "n_cells,target_gene,x\n10,GENE0001,a\n20,GENE0001+GENE0002,b\n\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("wanted.txt", "# what we plan\nGENE0001\n\n  GENE0001+GENE0002  \nGENE0001\n"),
        ("wanted", "\ufeffGENE0001\r\nGENE0001+GENE0002\r\n"),
        ("wanted.csv", TABLE),
        ("wanted.tsv", TABLE.replace(",", "\t")),
        ("wanted.csv", "label,other\nGENE0001,1\nGENE0001+GENE0002,2\n"),
    ],
)
def test_perturbations_are_read_from_a_file(
    scbig_command: Callable, model_folder: Path, tmp_path: Path, name: str, text: str
):
    import anndata as ad

    (tmp_path / name).write_text(text, encoding="utf-8")
    out = tmp_path / "effects.h5ad"
    result = scbig_command(
        "predict", model_folder, "--perturbations-file", tmp_path / name, "--effects", "--out", out
    )
    assert result.exit_code == 0, result.output
    expected = SCBIG.load(model_folder).predict_effects(["GENE0001", "GENE0001+GENE0002"])
    found = ad.read_h5ad(out)
    assert found.obs_names.tolist() == expected.obs_names.tolist()
    np.testing.assert_allclose(found.X, expected.X, atol=1e-6)


def test_a_file_and_an_option_are_put_together(
    scbig_command: Callable, model_folder: Path, tmp_path: Path
):
    file, out = tmp_path / "wanted.txt", tmp_path / "effects.csv"
    file.write_text("GENE0001\n")
    result = scbig_command(
        "predict", model_folder, "--perturbations", "GENE0002,GENE0001", "--perturbations-file",
        file, "--effects", "--out", out,
    )  # fmt: skip
    assert "Wrote the effects of 2 conditions" in result.output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n# nothing\n", "names no perturbation. Write one label a line"),
        (b"\xff\xfe\x00", "is no text (UTF-8)"),
        (None, "Give --perturbations A,B,A+B, or --perturbations-file FILE"),
    ],
)
def test_nothing_to_predict_is_an_error(
    scbig_command: Callable, model_folder: Path, tmp_path: Path, content, message
):
    file, options = tmp_path / "wanted.txt", []
    if content is not None:
        file.write_bytes(content)
        options = ["--perturbations-file", file]
    result = scbig_command("predict", model_folder, *options, "--out", tmp_path / "p.h5ad")
    assert (result.exit_code, message in " ".join(result.output.split())) == (1, True)

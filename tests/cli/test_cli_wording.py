"""Errors and lines of a command name its options, and no arguments of Python."""

from collections.abc import Callable
from pathlib import Path

import pytest
from anndata import AnnData

from scbig.cli._wording import Option, make_translator

NAMES = [
    "perturbation_key",
    "separator",
    "context_keys",
    "target_sum",
    "perturbations",
    "contexts",
    "n_draws",
    "n_cells",
    "guide_to_gene",
    "key_added",
    "validation",
    "max_steps",
    "missing_embedding",
]
AROUND = (
    " (In Python, before it: import anndata; adata = anndata.read_h5ad('FILE.h5ad'); and after "
    "it: adata.write_h5ad('NEW.h5ad'))"
)
OPTIONS = {name: Option(f"--{name.replace('_', '-')}") for name in NAMES} | {
    "is_log1p": Option("--is-log1p", is_switch=True),
    "overwrite": Option("--overwrite", is_switch=True),
    "control": Option("--control", is_repeated=True),
}


@pytest.mark.parametrize(
    ("python", "shell"),
    [
        ("Name it: perturbation_key='gene name'.", "Name it: --perturbation-key 'gene name'."),
        ("control='NT', control=['NT', 'a b']", "--control NT, --control NT --control 'a b'"),
        ("such as context_keys=('line', 'day')", "such as --context-keys line,day"),
        ("contexts=[...] chooses", "--contexts ... chooses"),
        ("perturbations=[('A', 'B'), 'C']", "--perturbations A+B,C"),
        ("separator=''", "--separator ''"),
        ("guide_to_gene={'STAT1_g1': 'STAT1'}.",
         "--guide-to-gene FILE.csv, with the lines 'guide,gene', 'STAT1_g1,STAT1'."),
        ("target_sum=1e4", "--target-sum 1e4"),
        ("is_log1p=True overrides", "--is-log1p overrides"),
        ("with overwrite=True", "with --overwrite"),
        ("take is_log1p=False", "take no --is-log1p"),
        ("max_steps=None", "no --max-steps"),
        ("Name some, train(validation=[...]), or insist: train(max_steps=10).",
         "Name some, --validation ..., or insist: --max-steps 10."),
        ("with SCBIG(adata, missing_embedding='mean').", "with --missing-embedding mean."),
        ("save(..., overwrite=True)", "--overwrite"),
        ("predict(perturbations=['A'], contexts=['x'], ...)", "--perturbations A --contexts x"),
        ("leave n_draws out", "leave --n-draws out"),
        ("obs['n_cells'] and layers[key_added]", "obs['n_cells'] and layers[key_added]"),
        ("seed=3 is none, nor my_control='x'", "seed=3 is none, nor my_control='x'"),
        ("Drop: adata = adata[keep].copy()", f"Drop: in Python: adata = adata[keep].copy(){AROUND}"),  # noqa: E501
        ("adata.obs['x'] = adata.obs['x'].map({'a': 'b'})",
         f"in Python: adata.obs['x'] = adata.obs['x'].map({{'a': 'b'}}){AROUND}"),
        ("100% of {these} [stay]", "100% of {these} [stay]"),
    ],
)  # fmt: skip
def test_arguments_become_options(python: str, shell: str):
    assert make_translator(OPTIONS)(python) == shell


def test_without_options_nothing_changes():
    assert make_translator({})("train(max_steps=3)") == "train(max_steps=3)"


@pytest.mark.parametrize(
    ("command", "options", "expected"),
    [
        ("train", ["--perturbation-key", "nope", "--out", "m"], "--perturbation-key"),
        ("train", ["--control", "mock", "--out", "m"], "--control"),
        ("predict", ["--perturbations", "GENE0001", "--contexts", "z", "--out", "p.h5ad"],
         "--contexts all"),
        ("predict", ["--perturbations", ",", "--out", "p.h5ad"], "--perturbations GENE"),
    ],
)  # fmt: skip
def test_errors_of_commands_are_in_their_words(
    scbig_command: Callable, screen_file: Path, model_folder: Path, tmp_path: Path,
    command: str, options: list[str], expected: str, monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    what = screen_file if command == "train" else model_folder
    result = scbig_command(command, what, *options)
    text = " ".join(result.output.split())
    assert result.exit_code == 1
    assert expected in text
    assert [f"{name}=" for name in (*OPTIONS, "setup_anndata(") if f"{name}=" in text] == []


def test_lines_of_commands_are_in_their_words(
    scbig_command: Callable, small_screen: AnnData, tmp_path: Path
):
    labels = small_screen.obs["perturbation"].unique().tolist()
    singles = [label for label in labels if "+" not in label and label != "control"]
    few = small_screen[small_screen.obs["perturbation"].isin(["control", *singles[:5]])]
    few.copy().write_h5ad(tmp_path / "few.h5ad")
    result = scbig_command(
        "train", tmp_path / "few.h5ad", "--out", tmp_path / "m", "--max-epochs", 0
    )
    text = " ".join(result.output.split())
    assert result.exit_code == 0, result.output
    # Of so few conditions none is held out.
    assert "Name some, --validation ..., or insist: --max-steps 1000." in text

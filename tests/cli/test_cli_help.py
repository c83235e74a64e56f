"""Help and version, which must be quick."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest


def test_version(scbig_command: Callable):
    result = scbig_command("--version")
    assert (result.exit_code, result.output) == (0, f"scbig {version('scbig-perturb')}\n")


def test_without_a_command_the_help_is_shown(scbig_command: Callable):
    output = scbig_command().output
    for command in ("train", "predict", "evaluate", "demo"):
        assert f" {command} " in output


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("train", ["--normalize", "--perturbation-key", "--split-file", "--preset", "--out"]),
        ("predict", ["--perturbations", "--data", "--n-cells", "--n-draws", "--effects", "--out"]),
        ("evaluate", ["--predicted", "--layer", "--split-file", "--metrics", "--out"]),
        ("demo", ["--n-genes", "--seed", "--out"]),
    ],
)
def test_help_names_the_options(scbig_command: Callable, command: str, options: list[str]):
    result = scbig_command(command, "--help")
    assert result.exit_code == 0
    assert [option for option in options if option not in result.output] == []


def test_help_loads_no_heavy_library():
    """A second is not enough to import torch; that help does not is what keeps it quick."""
    code = (
        "import sys\n"
        "from scbig.cli import app\n"
        "try: app(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'scvi', 'anndata', 'scanpy', 'pandas', 'numpy'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "scbig", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"scbig {version('scbig-perturb')}\n"

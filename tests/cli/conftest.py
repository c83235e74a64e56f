"""A small screen on disk, and a model trained on it by the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from anndata import AnnData
from typer.testing import CliRunner, Result

import scbig
from scbig.cli import app

QUICK = ("--max-epochs", "1", "--max-steps", "5", "--accelerator", "cpu")


def run_scbig(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(
        app, [str(a) for a in arguments]
    )


@pytest.fixture(scope="session")
def scbig_command() -> Callable[..., Result]:
    return run_scbig


@pytest.fixture(scope="session")
def small_screen() -> AnnData:
    return scbig.data.simulate_screen(400, 60, n_programs=4, n_targets=10, n_doubles=6, seed=0)


@pytest.fixture(scope="session")
def screen_file(small_screen: AnnData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("screen") / "screen.h5ad"
    small_screen.write_h5ad(path)
    return path


@pytest.fixture(scope="session")
def counts_file(small_screen: AnnData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("counts") / "counts.h5ad"
    counts = AnnData(small_screen.layers["counts"], small_screen.obs, small_screen.var)
    counts.write_h5ad(path)
    return path


@pytest.fixture(scope="session")
def model_folder(screen_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    result = run_scbig("train", screen_file, "--out", folder, *QUICK)
    if result.exit_code:
        raise RuntimeError(result.output)
    return folder

"""A model that is not in the package, by its import path: trained, asked and benchmarked."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scbig.cli._options import MODELS

# Nothing of scbig is in it: the protocol is all that commands ask for.
OWN = """
import json
from pathlib import Path
import anndata as ad
import numpy as np


class Shift:
    default_key = "shift"
    context_keys = ()

    def __init__(self, adata, *, seed=None, gene_sets=None):
        self.adata, self.seed, self.shift = adata, seed, None

    @classmethod
    def setup_anndata(cls, adata, *, layer=None, perturbation_key=None, control=None,
                      context_keys=(), separator=None, gene_key=None, is_log1p=False):
        adata.uns["shift"] = {"key": perturbation_key, "control": control}

    def train(self, *, validation=None, use_refit=True, max_steps=None):
        self.shift = 0.25 * (max_steps or 1)

    def predict(self, adata=None, *, perturbations=None, key_added=None, n_cells=None,
                seed=None):
        start = self.adata if adata is None else adata
        key = self.adata.uns["shift"]["key"]
        rows = np.arange(n_cells or 5) % start.n_obs
        parts = {"+".join([p] if isinstance(p, str) else p): start[rows].copy()
                 for p in perturbations}
        for label, part in parts.items():
            part.obs[key] = label
        out = ad.concat(list(parts.values()), index_unique="-", keys=list(parts))
        out.layers[key_added or self.default_key] = out.X.toarray() + self.shift
        return out

    def save(self, dir_path, *, overwrite=False):
        folder = Path(dir_path)
        folder.mkdir(exist_ok=True)
        self.adata.write_h5ad(folder / "cells.h5ad")
        (folder / "shift.json").write_text(json.dumps({"shift": self.shift, "seed": self.seed}))

    @classmethod
    def load(cls, dir_path, adata=None):
        model = cls(ad.read_h5ad(Path(dir_path) / "cells.h5ad"))
        model.shift = json.loads((Path(dir_path) / "shift.json").read_text())["shift"]
        return model
"""


@pytest.fixture
def own_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_models.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_models", raising=False)
    return "my_models:Shift"


def test_it_is_trained_and_asked(
    scbig_command: Callable, screen_file: Path, own_path: str, tmp_path: Path
):
    folder, out = tmp_path / "model", tmp_path / "predicted.h5ad"
    result = scbig_command(
        "train", screen_file, "--model", own_path, "--max-steps", 3, "--seed", 4, "--out", folder
    )
    assert result.exit_code == 0, result.output
    assert json.loads((folder / "shift.json").read_text()) == {"shift": 0.75, "seed": 4}
    assert f"--model-class {own_path} --perturbations" in result.output
    result = scbig_command(
        "predict", folder, "--model-class", own_path, "--perturbations", "A,A+B", "--out", out
    )
    assert result.exit_code == 0, result.output
    predicted = ad.read_h5ad(out)
    assert list(predicted.obs["perturbation"].unique()) == ["A", "A+B"]
    difference = predicted.layers["shift"] - predicted.X.toarray()
    np.testing.assert_allclose(difference, 0.75, rtol=1e-5)


def test_it_has_a_row_in_the_benchmark(
    scbig_command: Callable, screen_file: Path, own_path: str, tmp_path: Path
):
    out = tmp_path / "bench"
    result = scbig_command(
        "benchmark", screen_file, "--task", "unseen", "--predictors", f"no_change,{own_path}",
        "--metrics", "mse", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    scores = pd.read_csv(out / "scores.csv")
    assert set(scores["predictor"]) == {"no_change", "shift", "ceiling"}
    means = scores.groupby("predictor")["value"].mean()
    assert 0 < means["shift"] - means["no_change"] < 0.2


def test_options_that_it_lacks_are_refused(
    scbig_command: Callable, screen_file: Path, own_path: str, tmp_path: Path
):
    result = scbig_command(
        "train", screen_file, "--model", own_path, "--preset", "paper", "--out", tmp_path / "m"
    )
    assert result.exit_code == 1
    assert "--preset does not fit --model shift; it is for scbig" in result.output


def test_an_entry_point_is_a_choice(
    scbig_command: Callable,
    screen_file: Path,
    own_path: str,
    tmp_path: Path,
):
    assert own_path
    folder = tmp_path / "my_models-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: my-models\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[scbig.predictors]\nmine = my_models:Shift\n")
    model = tmp_path / "model"
    result = scbig_command("train", screen_file, "--model", "mine", "--out", model)
    assert result.exit_code == 0, result.output
    assert (model / "shift.json").exists()


@pytest.mark.parametrize(
    ("model", "status", "message"),
    [
        ("luck", 2, "'luck' is not one of 'scbig', 'dualstream', 'strand', 'effect_regression'"),
        ("additive", 2, "'additive' is not one of"),
        ("nowhere:Luck", 1, "nowhere:Luck: there is no module 'nowhere'"),
        ("scbig.baselines:Luck", 1, "has no 'Luck'"),
        ("scbig.baselines:FLOORS", 1, "is of type tuple, where a class is expected"),
    ],
)
def test_what_is_no_model_is_an_error(
    scbig_command: Callable, screen_file: Path, tmp_path: Path,
    model: str, status: int, message: str,
):  # fmt: skip
    result = scbig_command("train", screen_file, "--model", model, "--out", tmp_path / "m")
    assert (result.exit_code, message in result.output) == (status, True), result.output


def test_choices_and_help_are_those_of_the_catalogue(scbig_command: Callable):
    output = scbig_command("train", "--help").output
    assert "scbig|dualstream|strand" in output
    words = " ".join(output.replace("│", " ").split())
    assert [spec.name for spec in MODELS if f"{spec.name}: {spec.help}" not in words] == []
    assert "Steps of the flow, the streams or the bridge." in words
    assert "What is known of the loci (--model strand)" in words

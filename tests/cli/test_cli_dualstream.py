"""DualStreamMamba on the command line."""

from collections.abc import Callable
from pathlib import Path

import anndata as ad

from scbig.model import DualStreamMamba


def test_trains_and_predicts(screen_file: Path, scbig_command: Callable, tmp_path: Path):
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

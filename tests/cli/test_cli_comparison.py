"""`scbig train` says how the model compares with the baselines."""

from collections.abc import Callable
from pathlib import Path

from scbig.model import SCBIG

QUICK = ("--max-epochs", "0", "--max-steps", "0", "--accelerator", "cpu")


def test_train_says_how_the_model_compares(
    scbig_command: Callable, screen_file: Path, tmp_path: Path
):
    result = scbig_command("train", screen_file, "--out", tmp_path / "model", *QUICK)
    assert result.exit_code == 0, result.output
    comparison = SCBIG.load(tmp_path / "model").comparison_
    assert comparison is not None
    assert comparison.n_conditions == 2
    assert str(comparison) in result.output

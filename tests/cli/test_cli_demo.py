"""`scbig demo`, made small, and the parts of it that decide what it says."""

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from scbig.cli._demo_report import describe
from scbig.cli._demo_screen import MIXED, PAIR, SINGLE, make_demo_screen

PREDICTORS = {"scbig", "no_change", "train_mean", "additive"}


def test_the_demo_writes_what_it_says(scbig_command: Callable, tmp_path: Path):
    out = tmp_path / "demo"
    result = scbig_command(
        "demo", "--out", out, "--n-cells", 500, "--n-genes", 80, "--max-epochs", 1,
        "--max-steps", 3,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "adjusted Rand index" in result.output
    for name in ("predicted.h5ad", "scores.csv", "scores.png", "effect.png", "programs.png"):
        assert name in result.output
        assert (out / name).stat().st_size > 1000
    assert plt.get_fignums() == []
    scores = pd.read_csv(out / "scores.csv")
    assert set(scores["predictor"]) == PREDICTORS
    assert scores["value"].notna().all()
    is_none = (scores["predictor"] == "no_change") & (scores["metric"] == "pearson_delta")
    np.testing.assert_array_equal(scores.loc[is_none, "value"], 0)
    predicted = ad.read_h5ad(out / "predicted.h5ad")
    assert set(scores["perturbation"]) == set(predicted.obs["perturbation"]) - {"control"}
    assert predicted.layers["scbig"].shape == predicted.shape


def test_held_out_genes_are_nowhere_in_training():
    screen = make_demo_screen(500, 80, seed=1)
    trained = [screen.schema.parse(label) for label in screen.train.obs["perturbation"].unique()]
    seen = {gene for targets in trained for gene in targets}
    by_kind = {kind: set() for kind in (SINGLE, PAIR, MIXED)}
    for targets, kind in screen.held_out.kinds.items():
        by_kind[kind].add(targets)
        assert targets not in trained
    assert len(by_kind[SINGLE]) == 8
    assert not seen & {gene for targets in by_kind[SINGLE] for gene in targets}
    assert all(set(pair) <= seen for pair in by_kind[PAIR])
    assert all(set(pair) - seen for pair in by_kind[MIXED])
    assert len(by_kind[PAIR]) > 0


@pytest.mark.parametrize(
    ("own", "text"),
    [
        (0.5, "SCBIG beats additive, the best baseline: Pearson delta 0.50 against 0.40."),
        (0.3, "SCBIG LOSES to additive, the best baseline: Pearson delta 0.30 against 0.40."),
        (0.401, "SCBIG is level with additive: Pearson delta 0.40 against 0.40."),
    ],
)
def test_the_comparison_is_said_in_words(own: float, text: str):
    means = pd.Series({"scbig": own, "train_mean": 0.2, "additive": 0.4, "no_change": 0.0})
    assert describe(means, "doubles") == f"doubles: {text}"

"""The script of the benchmark page: both real screens, with no special handling."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "scripts" / "real_screens.py"


@pytest.mark.slow
@pytest.mark.data_kit
def test_real_screens_are_predicted_by_one_script(data_kit: Path, tmp_path: Path) -> None:
    table = tmp_path / "figures.csv"
    subprocess.run([sys.executable, SCRIPT, data_kit, "--out", table], check=True)
    figures = pd.read_csv(table).set_index(["screen", "predictor", "metric"])["value"]

    papalexi = figures["papalexi2021"]["scbig"]
    assert papalexi["own_gene_falls"] == 9
    assert papalexi["own_gene_predicted_to_fall"] == papalexi["own_gene_falls"]
    assert papalexi["n_ranked"] == 25

    norman = figures["norman2019_resampled"]
    assert norman["scbig"]["pearson_delta"] > norman["additive"]["pearson_delta"] + 0.015
    assert norman["scbig"]["mse_x100"] < norman["additive"]["mse_x100"]
    # An independent computation gives 0.633 for additive and 0.442 for the training mean
    # without the validation conditions; with them both change a little.
    assert norman["additive"]["pearson_delta"] == pytest.approx(0.633, abs=0.01)
    assert norman["train_mean"]["pearson_delta"] == pytest.approx(0.442, abs=0.02)
    assert norman["scbig"]["n_ranked"] == 39
    assert norman["scbig"]["train_seconds"] < 8 * 60
    assert norman["scbig"]["peak_memory_mb"] < 4 * 1024

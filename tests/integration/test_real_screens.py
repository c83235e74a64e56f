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
    figures = pd.read_csv(table).set_index(["screen", "metric"])["value"]

    papalexi = figures["papalexi2021"]
    assert papalexi["own_gene_falls"] >= 8
    assert papalexi["own_gene_predicted_to_fall"] == papalexi["own_gene_falls"]
    assert papalexi["n_ranked"] == 25

    norman = figures["norman2019_resampled"]
    # The additive baseline scores 0.633 and ridge 0.677 on these held-out doubles.
    assert norman["pearson_delta"] > 0.68
    assert norman["n_ranked"] == 39
    assert norman["train_seconds"] < 8 * 60
    assert norman["peak_memory_mb"] < 4 * 1024

"""The evaluator keeps its time and memory on a large screen."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "scripts" / "evaluation_speed.py"


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--sparse"]])
def test_two_hundred_conditions_of_ten_thousand_cells(options: list[str]):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=True
    )
    found = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert found["scored"] == "3600 of 3600"
    assert float(found["seconds"]) < 60
    assert float(found["peak_gb"]) < 4

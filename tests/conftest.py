"""Fixtures that every room's tests may use."""

import os
import random
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import settings

matplotlib.use("Agg")
# Examples are checked for what they give; how long one takes says how busy the machine is.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Seed the global generators for libraries that draw from them; ours are passed in."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def data_kit() -> Path:
    """Give the folder of real screens, or skip."""
    folder = os.environ.get("SCBIG_TEST_DATA")
    if not folder:
        pytest.skip("SCBIG_TEST_DATA is not set: no folder of real screens")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"SCBIG_TEST_DATA names {path}, which is not a folder")
    return path

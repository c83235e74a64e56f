import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def priors_kit() -> Path:
    folder = os.environ.get("SCBIG_TEST_DATA")
    if not folder:
        pytest.skip("SCBIG_TEST_DATA does not name the folder of test data")
    return Path(folder) / "priors"


@pytest.fixture(scope="session")
def norman_targets(priors_kit: Path) -> list[str]:
    import h5py

    with h5py.File(priors_kit.parent / "norman2019_resampled.h5ad") as file:
        labels = file["obs/perturbation/categories"].asstr()[:]
    targets = {target for label in labels for target in label.split("+")}
    return sorted(targets - {"control"})

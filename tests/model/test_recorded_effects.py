"""What models and baselines expected when their code was last meant to change.

A failure after a deliberate change is answered by a line in the changelog and
``python docs/scripts/record_effects.py --out tests/model/records --only CASE ...``; after a change
that was to move code only, by mending it.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "scripts" / "record_effects.py"
RECORDS = Path(__file__).parent / "records"
MAX_BYTES = 300_000
# Cells are float32 on the way, so that their means are good for little more.
REGRESSION, NETWORK = 1e-6, 1e-4


def _load() -> ModuleType:
    spec = spec_from_file_location("record_effects", SCRIPT)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


recipe = _load()


@pytest.mark.parametrize("name", recipe.CASES)
def test_effects_are_those_on_record(name: str) -> None:
    if recipe.CASES[name].screen is recipe.make_loci:
        pytest.importorskip("pyfaidx")
    with np.load(RECORDS / f"{name}.npz") as record:
        expected = dict(record)
    found = recipe.compute_record(name)
    assert found["rows"].tolist() == expected["rows"].tolist()
    atol = NETWORK if recipe.CASES[name].is_network else REGRESSION
    for part in ("effects", "confidence"):
        np.testing.assert_allclose(found[part], expected[part], rtol=0, atol=atol, err_msg=part)


def test_records_are_those_of_the_cases_and_small() -> None:
    files = list(RECORDS.iterdir())
    assert {file.name for file in files} == {f"{name}.npz" for name in recipe.CASES}
    assert sum(file.stat().st_size for file in files) < MAX_BYTES


def test_networks_change_what_the_regression_expects() -> None:
    """Or else the records of networks would say nothing of them."""
    effects = {}
    for name in recipe.CASES:
        with np.load(RECORDS / f"{name}.npz") as record:
            effects[name] = record["effects"]
    for network, alone in (
        ("scbig_flow", "scbig_anchor"),
        ("scbig_pca", "scbig_anchor"),
        ("scbig_unanchored_stopped", "scbig_anchor"),
        ("dualstream_contexts", "dualstream_anchor"),
        ("dualstream_unanchored_stopped", "scbig_anchor"),
        ("strand_table", "strand_regression"),
    ):
        assert np.abs(effects[network] - effects[alone]).max() > 100 * NETWORK, network
    for gated in ("scbig_gate", "dualstream_gate"):
        np.testing.assert_allclose(effects[gated], effects["scbig_anchor"], rtol=0, atol=1e-6)

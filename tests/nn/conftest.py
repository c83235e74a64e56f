from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed_torch() -> Iterator[None]:
    """Give every test of the room the same random numbers, and the others their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield

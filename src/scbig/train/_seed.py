"""Reproducible training that leaves the user's random state alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the block, and restore its generators afterwards.

    Parameters
    ----------
    seed
        Seed of all devices.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield

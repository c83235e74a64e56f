"""Reproducible training that leaves the user's random state alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from scvi import settings


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


def get_default_seed() -> int:
    """Return the seed of scvi-tools if the user set one, or else 0."""
    return 0 if settings.seed is None else int(settings.seed)

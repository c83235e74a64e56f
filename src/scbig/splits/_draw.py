"""Seeded draws that do not depend on the order of what they draw from."""

import math
from collections.abc import Collection
from typing import TypeVar

import numpy as np

from scbig.data import Targets

Item = TypeVar("Item", str, Targets)

# 0.3 * 130 and the like come out a little beside the whole number that they mean.
ROUNDING = 1e-9


def make_generator(seed: int) -> np.random.Generator:
    """Start the random numbers of one split."""
    check_seed(seed)
    return np.random.default_rng(seed)


def check_seed(seed: int) -> None:
    """Raise when a seed is no whole number of at least 0."""
    if not is_whole(seed) or seed < 0:
        raise ValueError(f"seed={seed!r} is not a whole number of at least 0, such as seed=0.")


def is_whole(value: object) -> bool:
    """Whether a value is a whole number; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def draw(items: Collection[Item], n_drawn: int, rng: np.random.Generator) -> list[Item]:
    """Draw without replacement; sorted, whatever the order of ``items``."""
    ordered = sorted(items)
    picked = rng.choice(len(ordered), n_drawn, replace=False)
    return [ordered[i] for i in sorted(picked)]


def count_test(share: float, n_items: int) -> int:
    """Round a share for testing down, to at least one."""
    _check_share("test", share, is_zero_allowed=False)
    return max(1, math.floor(share * n_items + ROUNDING))


def count_validation(share: float, n_items: int) -> int:
    """Round a share for validation up, so that small screens have something to stop on."""
    _check_share("stop", share, is_zero_allowed=True)
    return math.ceil(share * n_items - ROUNDING)


def _check_share(verb: str, share: float, *, is_zero_allowed: bool) -> None:
    if not 0 <= share <= 1 or (share == 0 and not is_zero_allowed):
        least = "from 0" if is_zero_allowed else "above 0 and up"
        raise ValueError(f"The share to {verb} on is {share!r}. Give a number {least} to 1.")

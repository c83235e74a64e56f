"""The gate against its definition, and on cases that must not pass."""

import numpy as np
import pytest

from scbig.data import Effects
from scbig.model.base import is_gain

N_GENES = 200


@pytest.fixture
def held_out(rng: np.random.Generator) -> Effects:
    n = 12
    return Effects(
        tuple((f"T{i}",) for i in range(n)),
        np.zeros(n, dtype=int),
        rng.normal(size=(n, N_GENES)),
        np.full(n, 50),
        np.full((1, N_GENES), 5.0),
        np.ones((n, N_GENES)),
    )


def add_noise(held_out: Effects, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return held_out.delta + sizes[:, None] * rng.normal(size=held_out.delta.shape)


def test_less_noise_is_a_gain_and_more_is_none(held_out: Effects, rng: np.random.Generator):
    noisy = add_noise(held_out, np.full(12, 2.0), rng)
    better = add_noise(held_out, np.full(12, 1.0), rng)
    assert is_gain(noisy, better, held_out)
    assert not is_gain(better, noisy, held_out)


def test_a_gain_that_chance_would_show_is_none(held_out: Effects, rng: np.random.Generator):
    """Seven conditions get better and five worse: the mean rises, within its error."""
    before = add_noise(held_out, np.full(12, 1.0), rng)
    after = before.copy()
    after[:7] = 0.6 * before[:7] + 0.4 * held_out.delta[:7]
    after[7:] = 1.3 * before[7:] - 0.3 * held_out.delta[7:]
    correlations = [
        np.mean([np.corrcoef(p, d)[0, 1] for p, d in zip(predicted, held_out.delta, strict=True)])
        for predicted in (before, after)
    ]
    assert correlations[1] > correlations[0] + 0.01
    assert not is_gain(before, after, held_out)


def test_a_larger_error_is_no_gain(held_out: Effects, rng: np.random.Generator):
    """The right direction, far too strong."""
    before = add_noise(held_out, np.full(12, 2.0), rng)
    after = add_noise(held_out, np.full(12, 1.0), rng)
    assert is_gain(before, after, held_out)
    assert not is_gain(before, 5 * after, held_out)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_conditions_show_nothing(held_out: Effects, rng: np.random.Generator, n: int):
    held_out = held_out.subset(np.arange(n))
    before = add_noise(held_out, np.full(n, 2.0), rng)
    assert not is_gain(before, held_out.delta, held_out)


def test_no_change_is_no_gain(held_out: Effects, rng: np.random.Generator):
    before = add_noise(held_out, np.full(12, 2.0), rng)
    assert not is_gain(before, before.copy(), held_out)

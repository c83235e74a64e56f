from itertools import permutations

import numpy as np
import ot as pot
import pytest
import torch

from scbig.ot import exact_coupling, pair_batches


@pytest.mark.parametrize("seed", range(3))
def test_exact_coupling_beats_every_permutation(seed: int) -> None:
    cost = np.random.default_rng(seed).random((6, 6))
    least = min(cost[range(6), order].sum() for order in permutations(range(6)))
    rows, columns = exact_coupling(cost).T
    assert sorted(columns) == list(range(6))
    assert cost[rows, columns].sum() == pytest.approx(least)


def test_exact_coupling_batch_agrees_with_pot() -> None:
    cost = np.random.default_rng(0).random((4, 12, 12))
    pairs = exact_coupling(cost)
    assert pairs.shape == (4, 12, 2)
    for problem, (rows, columns) in zip(cost, pairs.transpose(0, 2, 1), strict=True):
        plan = pot.emd([], [], problem)
        np.testing.assert_allclose(plan[rows, columns], 1 / 12)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_exact_coupling_leaves_the_surplus_of_the_longer_side(shape: tuple[int, int]) -> None:
    cost = np.full(shape, 9.0)
    cost[[0, 1, 2], [2, 1, 0]] = 0.0
    assert exact_coupling(cost).tolist() == [[0, 2], [1, 1], [2, 0]]
    assert exact_coupling(cost[None]).shape == (1, 3, 2)


def test_exact_coupling_refuses_what_is_no_cost() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\); pass \(n, m\)"):
        exact_coupling(np.zeros(3))
    with pytest.raises(ValueError, match="1 NaN or infinite"):
        exact_coupling([[0.0, np.nan]])


def test_pair_batches_recovers_a_shuffle() -> None:
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(5, 8, 3, generator=generator)
    order = torch.stack([torch.randperm(8, generator=generator) for _ in range(5)])
    x1 = x0.gather(1, order.unsqueeze(-1).expand_as(x0)) + 1000.0
    partner = pair_batches(x0, x1)
    assert partner.dtype == torch.int64
    assert torch.equal(partner, order.argsort(1))


def test_pair_batches_has_the_least_squared_distance() -> None:
    x0, x1 = np.random.default_rng(1).normal(size=(2, 3, 10, 4))
    partner = pair_batches(torch.from_numpy(x0), torch.from_numpy(x1)).numpy()
    for a, b, order in zip(x0, x1, partner, strict=True):
        least = pot.emd2([], [], pot.dist(a, b)) * len(a)
        assert ((a - b[order]) ** 2).sum() == pytest.approx(least)


def test_pair_batches_refuses_unequal_shapes() -> None:
    with pytest.raises(ValueError, match=r"x0 has shape \(2, 3, 1\) and x1 \(2, 4, 1\)"):
        pair_batches(torch.zeros(2, 3, 1), torch.zeros(2, 4, 1))

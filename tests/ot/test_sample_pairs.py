import numpy as np
import ot as pot
import pytest
import torch

from scbig.ot import sample_pairs


def test_pairs_come_from_the_plan_of_pot_at_the_mean_cost() -> None:
    torch.manual_seed(0)
    x0, x1 = torch.randn(2, 3, 2).double(), torch.randn(2, 4, 2).double()
    n_draws = 4000
    repeated = x0.repeat_interleave(n_draws, 0), x1.repeat_interleave(n_draws, 0)
    first, second = sample_pairs(*repeated, torch.Generator().manual_seed(1))
    assert first.shape == second.shape == (2 * n_draws, 3)
    for i in range(2):
        cost = pot.dist(x0[i].numpy(), x1[i].numpy())
        plan = pot.sinkhorn([1 / 3] * 3, [1 / 4] * 4, cost, reg=cost.mean(), stopThr=1e-12)
        rows = slice(i * n_draws, (i + 1) * n_draws)
        found = np.zeros((3, 4))
        np.add.at(found, (first[rows].numpy().ravel(), second[rows].numpy().ravel()), 1)
        # Four standard errors of a share of 12,000 draws.
        np.testing.assert_allclose(
            found / found.sum(), plan, atol=4 * (plan / 12_000).max() ** 0.5
        )


def test_points_are_drawn_with_replacement_and_by_the_generator() -> None:
    x0, x1 = torch.randn(2, 50, 3), torch.randn(2, 50, 3)
    first, second = sample_pairs(x0, x1, torch.Generator().manual_seed(5))
    again = sample_pairs(x0, x1, torch.Generator().manual_seed(5))
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    for positions in (first, second):
        assert 0 <= positions.min() <= positions.max() < 50
        assert all(len(row.unique()) < 50 for row in positions)


def test_a_small_epsilon_pairs_what_is_near() -> None:
    x0 = 10.0 * torch.arange(5.0).view(1, 5, 1)
    order = torch.tensor([3, 1, 4, 0, 2])
    first, second = sample_pairs(x0, x0[:, order] + 0.1, epsilon=0.01)
    assert torch.equal(order[second], first)


def test_the_unit_of_epsilon_is_the_mean_cost() -> None:
    x0, x1 = torch.randn(1, 20, 2).double(), torch.randn(1, 20, 2).double()
    one, other = (
        sample_pairs(scale * x0, scale * x1, torch.Generator().manual_seed(2))
        for scale in (1.0, 64.0)
    )
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


def test_points_that_coincide_are_paired_at_random() -> None:
    first, second = sample_pairs(torch.ones(1, 400, 2), torch.ones(1, 400, 2))
    assert len(first.unique()) > 200
    assert len(second.unique()) > 200


@pytest.mark.parametrize(
    "shapes", [((3, 2), (3, 2)), ((2, 3, 2), (1, 3, 2)), ((1, 3, 2), (1, 3, 4))]
)
def test_shapes_that_do_not_fit_are_refused(shapes: tuple) -> None:
    with pytest.raises(ValueError, match=r"pass \(batch, n, d\) and \(batch, m, d\)"):
        sample_pairs(*map(torch.zeros, shapes))

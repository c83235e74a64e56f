import numpy as np
import ot as pot
import pytest
import torch
from scipy.optimize import linprog

from scbig.ot import entropic_plan, sinkhorn_cost


def _problem(seed: int, *shape: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n, m = shape[-2:]
    return rng.random(shape), rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))


@pytest.mark.parametrize("epsilon", [1.0, 0.1, 0.02])
def test_plan_agrees_with_pot(epsilon: float) -> None:
    cost, row, column = _problem(0, 7, 5)
    expected = pot.bregman.sinkhorn_log(row, column, cost, epsilon, 20_000, 1e-13)
    result = entropic_plan(
        torch.from_numpy(cost),
        epsilon=epsilon,
        row_mass=torch.from_numpy(row),
        column_mass=torch.from_numpy(column),
        n_iter=20_000,
        tol=1e-12,
    )
    assert result.is_converged
    assert result.n_iter < 20_000
    np.testing.assert_allclose(result.plan.numpy(), expected, atol=1e-9)


def test_plan_agrees_with_plain_sinkhorn_and_uniform_masses() -> None:
    cost, _, _ = _problem(1, 6, 9)
    expected = pot.sinkhorn([], [], cost, 0.2, numItermax=5000, stopThr=1e-13)
    plan = entropic_plan(torch.from_numpy(cost), epsilon=0.2, tol=1e-12).plan
    np.testing.assert_allclose(plan.numpy(), expected, atol=1e-10)


def test_small_epsilon_approaches_the_linear_programme() -> None:
    cost, row, column = _problem(2, 4, 5)
    marginals = np.vstack([np.kron(np.eye(4), np.ones(5)), np.kron(np.ones(4), np.eye(5))])
    exact = linprog(cost.ravel(), A_eq=marginals, b_eq=np.concatenate([row, column])).fun
    plan = entropic_plan(
        torch.from_numpy(cost),
        epsilon=1e-3,
        row_mass=torch.from_numpy(row),
        column_mass=torch.from_numpy(column),
        n_iter=50_000,
        tol=1e-9,
    ).plan.numpy()
    assert (plan * cost).sum() == pytest.approx(exact, abs=2e-3)


def test_float32_costs_far_beyond_epsilon_do_not_underflow() -> None:
    cost = 500.0 + 100.0 * torch.eye(4)
    plan = entropic_plan(cost, epsilon=0.1).plan
    expected = (1 - torch.eye(4)) / 12
    torch.testing.assert_close(plan, expected)


def test_a_batch_is_its_problems_one_by_one() -> None:
    cost, row, column = (torch.from_numpy(a) for a in _problem(3, 2, 3, 5, 4))
    options = {"epsilon": 0.3, "row_mass": row, "column_mass": column, "n_iter": 30, "tol": 0.0}
    whole = entropic_plan(cost, **options)
    assert whole.plan.shape == (2, 3, 5, 4)
    assert whole.n_iter == 30
    for i, j in np.ndindex(2, 3):
        torch.testing.assert_close(whole.plan[i, j], entropic_plan(cost[i, j], **options).plan)


def test_marginal_error_is_the_distance_of_the_row_sums() -> None:
    cost, row, column = (torch.from_numpy(a) for a in _problem(4, 6, 6))
    row, column = 3.0 * row, 3.0 * column
    result = entropic_plan(
        cost, epsilon=0.01, row_mass=row, column_mass=column, n_iter=5, tol=1e-6
    )
    assert not result.is_converged
    assert result.marginal_error == pytest.approx(
        float((result.plan.sum(1) - row).abs().sum() / 3.0)
    )
    assert result.marginal_error > 1e-3
    torch.testing.assert_close(result.plan.sum(0), column)


def test_refusals_name_the_remedy() -> None:
    cost = torch.rand(3, 4)
    with pytest.raises(ValueError, match="epsilon is 0"):
        entropic_plan(cost, epsilon=0.0)
    with pytest.raises(ValueError, match=r"row_mass has 4 entries.*needs 3"):
        entropic_plan(cost, epsilon=1.0, row_mass=torch.ones(4))
    with pytest.raises(ValueError, match="column_mass holds entries that are not positive"):
        entropic_plan(cost, epsilon=1.0, column_mass=torch.tensor([0.0, 0.5, 0.5, 0.0]))
    with pytest.raises(ValueError, match="row_mass adds up to 3, column_mass to 1; divide"):
        entropic_plan(cost, epsilon=1.0, row_mass=torch.ones(3))


def test_sinkhorn_cost_agrees_with_pot() -> None:
    x, y = np.random.default_rng(5).normal(size=(2, 8, 3))
    expected = pot.sinkhorn2([], [], pot.dist(x, y), 1.0, numItermax=5000, stopThr=1e-12)
    cost = sinkhorn_cost(torch.from_numpy(x), torch.from_numpy(y), epsilon=1.0, n_iter=2000)
    assert cost.item() == pytest.approx(float(expected), rel=1e-6)


def test_sinkhorn_cost_of_a_batch_with_unequal_clouds() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 2, generator=generator)
    y = torch.randn(3, 7, 2, generator=generator)
    whole = sinkhorn_cost(x, y)
    assert whole.shape == (3,)
    torch.testing.assert_close(whole[1], sinkhorn_cost(x[1], y[1]))


def test_gradients_of_the_sinkhorn_cost() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 4, 2, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: sinkhorn_cost(a, b, n_iter=20), (x, y))


def test_gradient_is_finite_where_the_clouds_meet() -> None:
    x = torch.rand(5, 2, generator=torch.Generator().manual_seed(2)).requires_grad_()
    sinkhorn_cost(x, x.detach().clone()).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()

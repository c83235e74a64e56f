"""Entropic optimal transport in the log domain, batched and differentiable."""

from dataclasses import dataclass

import torch

# Looking at the error costs a synchronisation on a GPU, hence not in every iteration.
_CHECK_EVERY = 10


@dataclass(frozen=True)
class EntropicPlan:
    """An entropic transport plan and how well it keeps its marginals.

    Attributes
    ----------
    plan
        Transported mass, shape `(..., n, m)`.
    marginal_error
        Largest L1 distance, over the batch, between the plan's row sums and `row_mass`,
        as a share of the total mass. The column sums are met up to rounding.
    n_iter
        Iterations that were run.
    is_converged
        Whether `marginal_error` is at most the tolerance.
    """

    plan: torch.Tensor
    marginal_error: float
    n_iter: int
    is_converged: bool


def entropic_plan(
    cost: torch.Tensor,
    *,
    epsilon: float,
    row_mass: torch.Tensor | None = None,
    column_mass: torch.Tensor | None = None,
    n_iter: int = 1000,
    tol: float = 1e-6,
) -> EntropicPlan:
    """Compute an entropic transport plan.

    Sinkhorn's iterations (arXiv 1306.0895) on logarithms, so that a small `epsilon` does
    not underflow. Gradients flow through the iterations to `cost` and to the masses.

    Parameters
    ----------
    cost
        Floating-point costs, shape `(..., n, m)`.
    epsilon
        Entropic regularisation, in the units of `cost`.
    row_mass
        Positive mass of the rows, shape broadcastable to `(..., n)`. Uniform, with total 1,
        by default.
    column_mass
        Positive mass of the columns, shape broadcastable to `(..., m)`, of the same total.
    n_iter
        Largest number of iterations.
    tol
        Stop as soon as the marginal error is at most this; 0 runs all iterations.

    Returns
    -------
    The plan with its marginal error.

    Raises
    ------
    ValueError
        When `epsilon` or `n_iter` is not positive, or the masses are not positive, do not
        fit the shape of `cost` or have different totals.
    """
    if epsilon <= 0 or n_iter < 1:
        raise ValueError(
            f"epsilon is {epsilon} and n_iter {n_iter}; pass epsilon > 0 and n_iter >= 1."
        )
    log_row = _log_mass(row_mass, cost, axis=-2, name="row_mass")
    log_column = _log_mass(column_mass, cost, axis=-1, name="column_mass")
    _check_totals(log_row, log_column)
    kernel = cost / -epsilon
    log_plan, n_done = _scale(kernel, log_row, log_column, n_iter, tol)
    plan = log_plan.exp()
    error = _relative_error(plan.detach().sum(-1, keepdim=True), log_row.detach().exp())
    return EntropicPlan(plan, error, n_done, error <= tol)


def sinkhorn_cost(
    x: torch.Tensor, y: torch.Tensor, *, epsilon: float = 0.1, n_iter: int = 50
) -> torch.Tensor:
    """Compute the cost of moving one cloud of points onto another.

    The squared Euclidean cost of the entropic plan between uniform masses, without the
    entropy term. A fixed number of iterations makes it a smooth loss; how far the plan is
    from its marginals is what :func:`entropic_plan` reports.

    Parameters
    ----------
    x
        Points, shape `(..., n, d)`.
    y
        Points, shape `(..., m, d)`.
    epsilon
        Entropic regularisation, in squared units of the points.
    n_iter
        Number of iterations.

    Returns
    -------
    Costs, shape `(...)`.
    """
    # Squared differences, not torch.cdist: its square root has no gradient where x = y.
    cost = (x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1)
    result = entropic_plan(cost, epsilon=epsilon, n_iter=n_iter, tol=0.0)
    return (result.plan * cost).sum((-2, -1))


def _scale(
    kernel: torch.Tensor, log_row: torch.Tensor, log_column: torch.Tensor, n_iter: int, tol: float
) -> tuple[torch.Tensor, int]:
    """Scale rows and columns in turn; return the log plan and the iterations done."""
    log_u = torch.zeros_like(kernel[..., :1])  # (..., n, 1)
    log_v = torch.zeros_like(kernel[..., :1, :])  # (..., 1, m)
    for step in range(1, n_iter + 1):
        previous = log_u
        log_u = log_row - (kernel + log_v).logsumexp(-1, keepdim=True)
        # The row sums of the last plan come free: row mass times exp(old u - new u).
        if tol > 0 and step > 1 and step % _CHECK_EVERY == 1:
            row_mass = log_row.detach().exp()
            row_sums = row_mass * (previous - log_u).detach().exp()
            if _relative_error(row_sums, row_mass) <= tol:
                return kernel + previous + log_v, step - 1
        log_v = log_column - (kernel + log_u).logsumexp(-2, keepdim=True)
    return kernel + log_u + log_v, n_iter


def _relative_error(row_sums: torch.Tensor, row_mass: torch.Tensor) -> float:
    """Largest L1 error of the row sums in the batch, as a share of the total mass."""
    error = (row_sums - row_mass).abs().sum((-2, -1)) / row_mass.sum((-2, -1))
    return float(error.max())


def _log_mass(
    mass: torch.Tensor | None, cost: torch.Tensor, *, axis: int, name: str
) -> torch.Tensor:
    """Logarithm of a mass, shaped to broadcast against the cost along `axis`."""
    n_points = cost.shape[axis]
    if mass is None:
        mass = cost.new_full((n_points,), 1.0 / n_points)
    if mass.shape[-1] != n_points:
        raise ValueError(
            f"{name} has {mass.shape[-1]} entries, the cost of shape {tuple(cost.shape)} "
            f"needs {n_points}."
        )
    if not bool((mass > 0).all()):
        raise ValueError(f"{name} holds entries that are not positive; drop those points.")
    return mass.to(cost).log().unsqueeze(-1 if axis == -2 else -2)


def _check_totals(log_row: torch.Tensor, log_column: torch.Tensor) -> None:
    row, column = (mass.detach().exp().sum((-2, -1)) for mass in (log_row, log_column))
    if not torch.allclose(row, column, rtol=1e-4):
        raise ValueError(
            f"row_mass adds up to {row.flatten()[0]:.6g}, column_mass to "
            f"{column.flatten()[0]:.6g}; divide each by its sum."
        )

"""Entropic optimal transport in the log domain, and hard labels that a plan is rounded to."""

from dataclasses import dataclass

import numpy as np
import ot
import torch
from numpy.typing import ArrayLike, NDArray

# Pairs that are drawn from a plan do not show a smaller error of its marginals.
_SAMPLING_TOL = 1e-3


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
    row = _get_mass(row_mass, cost, axis=-2, name="row_mass")
    column = _get_mass(column_mass, cost, axis=-1, name="column_mass")
    total = _get_total(row, column)
    n_rows, n_columns = cost.shape[-2:]
    row, column = row / total, column / total
    result = ot.solve_batch(
        cost.reshape(-1, n_rows, n_columns),
        reg=epsilon,
        a=row.reshape(-1, n_rows),
        b=column.reshape(-1, n_columns),
        max_iter=n_iter,
        # POT looks at the Euclidean length of the error, which is smaller than its L1 norm.
        tol=tol / n_rows**0.5,
        method="log_sinkhorn",
        grad="autodiff",
    )
    plan = result.plan.reshape(cost.shape)
    error = float((plan.detach().sum(-1) - row).abs().sum(-1).max())
    return EntropicPlan(plan * total.unsqueeze(-1), error, result.log["n_iter"] + 1, error <= tol)


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


@torch.no_grad()
def sample_pairs(
    x0: torch.Tensor,
    x1: torch.Tensor,
    generator: torch.Generator | None = None,
    *,
    epsilon: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw pairs from the entropic plan between the points of each minibatch.

    The coupling of flow matching in arXiv 2602.04901, after 2302.00482. Pairs are drawn with
    replacement: a point may be in several of them, or in none.

    Parameters
    ----------
    x0
        Source points, shape `(b, n, d)`.
    x1
        Target points, shape `(b, m, d)`.
    generator
        Source of the draws, on the device of the points.
    epsilon
        Entropic regularisation, in units of the mean squared distance of each minibatch.

    Returns
    -------
    Positions in `x0` and in `x1` of `n` pairs a minibatch, both of shape `(b, n)`.

    Raises
    ------
    ValueError
        When the shapes do not fit or `epsilon` is not positive.
    """
    if x0.ndim != 3 or x1.ndim != 3 or (len(x0), x0.shape[2]) != (len(x1), x1.shape[2]):
        raise ValueError(
            f"x0 has shape {tuple(x0.shape)} and x1 {tuple(x1.shape)}; "
            "pass (batch, n, d) and (batch, m, d)."
        )
    cost = torch.cdist(x0, x1).square()
    unit = cost.mean((1, 2), keepdim=True)
    # Points that all coincide have no distance to be measured in, and any pair is as good.
    cost = cost / torch.where(unit > 0, unit, 1.0)
    plan = entropic_plan(cost, epsilon=epsilon, tol=_SAMPLING_TOL).plan
    drawn = torch.multinomial(plan.flatten(1), x0.shape[1], replacement=True, generator=generator)
    return drawn // x1.shape[1], drawn % x1.shape[1]


def _get_mass(
    mass: torch.Tensor | None, cost: torch.Tensor, *, axis: int, name: str
) -> torch.Tensor:
    """Mass of the points along `axis`, one row a problem of the batch."""
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
    return mass.to(cost).expand(*cost.shape[:-2], n_points)


def _get_total(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """Total mass of each problem, shape `(..., 1)`."""
    totals = row.sum(-1, keepdim=True), column.sum(-1, keepdim=True)
    if not torch.allclose(*totals, rtol=1e-4):
        first, second = (float(total.flatten()[0]) for total in totals)
        raise ValueError(
            f"row_mass adds up to {first:.6g}, column_mass to {second:.6g}; "
            "divide each by its sum."
        )
    return totals[0]


def balanced_capacities(n_items: int, sizes: ArrayLike) -> NDArray[np.int64]:
    """Share items out evenly, the remainder to the largest clusters.

    Parameters
    ----------
    n_items
        Number of items to place.
    sizes
        Present sizes of the clusters, shape `(K,)`; of equal sizes the first goes first.

    Returns
    -------
    Capacities, shape `(K,)`, which add up to `n_items` and differ by at most one.

    Raises
    ------
    ValueError
        When there is no cluster or `n_items` is negative.
    """
    sizes = np.asarray(sizes)
    if sizes.ndim != 1 or not len(sizes) or n_items < 0:
        raise ValueError(
            f"Cannot place {n_items} items in clusters of shape {sizes.shape}; "
            "pass n_items >= 0 and one size a cluster."
        )
    base, remainder = divmod(n_items, len(sizes))
    capacities = np.full(len(sizes), base, dtype=np.int64)
    capacities[np.argsort(-sizes, kind="stable")[:remainder]] += 1
    return capacities


def round_to_capacities(
    plan: ArrayLike, capacities: ArrayLike, cost: ArrayLike
) -> NDArray[np.int64]:
    """Round a soft plan to one label an item, every cluster filled exactly.

    Entries of the plan are taken by falling mass, ties by rising cost, then by position;
    an entry places its item if the item is free and the cluster has room (the rounding of
    gene-relation clustering, arXiv 2602.04901).

    Parameters
    ----------
    plan
        Transported mass, shape `(G, K)`.
    capacities
        Room in each cluster, shape `(K,)`, adding up to `G`.
    cost
        Cost of each placement, shape `(G, K)`.

    Returns
    -------
    Labels from 0 to K - 1, shape `(G,)`.

    Raises
    ------
    ValueError
        When the shapes disagree, the capacities do not add up to `G`, or a value is not
        finite.
    """
    mass, costs = np.asarray(plan), np.asarray(cost)
    room = np.array(capacities, dtype=np.int64)
    _check_rounding(mass, room, costs)
    rank = _rank_entries(mass, costs)
    labels = np.full(len(mass), -1, dtype=np.int64)
    free, is_open = np.arange(len(mass)), room > 0
    while len(free):
        wish = _best_open(rank, free, is_open)
        in_turn = np.argsort(rank[free, wish])
        n_final = _n_until_full(wish[in_turn], room)
        placed = in_turn[:n_final]
        labels[free[placed]] = wish[placed]
        room -= np.bincount(wish[placed], minlength=len(room))
        is_open = room > 0
        free = np.delete(free, placed)
    return labels


def _rank_entries(mass: NDArray, cost: NDArray) -> NDArray[np.int64]:
    """Turn of every entry of the plan, shape (G, K); lexsort is stable in the position."""
    order = np.lexsort((cost.ravel(), -mass.ravel()))
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    return rank.reshape(mass.shape)


def _best_open(rank: NDArray, free: NDArray, is_open: NDArray) -> NDArray[np.intp]:
    open_clusters = np.flatnonzero(is_open)
    return open_clusters[rank[np.ix_(free, open_clusters)].argmin(1)]


def _n_until_full(wish: NDArray, room: NDArray) -> int:
    """Number of wishes, in turn, up to and with the one that fills the first cluster.

    No choice can change before that moment, so all of them are final: at most K rounds.
    """
    is_filled = np.bincount(wish, minlength=len(room)) >= room
    full = np.flatnonzero(is_filled & (room > 0))
    # The totals agree, so some cluster fills up unless the wishes fit without a rest.
    last = [np.flatnonzero(wish == k)[room[k] - 1] for k in full]
    return int(min(last, default=len(wish) - 1)) + 1


def _check_rounding(mass: NDArray, room: NDArray, cost: NDArray) -> None:
    if mass.ndim != 2 or cost.shape != mass.shape or room.shape != mass.shape[1:]:
        raise ValueError(
            f"plan has shape {mass.shape}, cost {cost.shape} and capacities {room.shape}; "
            "pass (G, K), (G, K) and (K,)."
        )
    if room.sum() != len(mass) or (room < 0).any():
        raise ValueError(
            f"capacities add up to {room.sum()} (smallest {room.min(initial=0)}) for "
            f"{len(mass)} items; use balanced_capacities({len(mass)}, sizes)."
        )
    if not (np.isfinite(mass).all() and np.isfinite(cost).all()):
        raise ValueError("plan or cost holds NaN or infinite values; pass finite ones.")

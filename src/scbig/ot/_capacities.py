"""Cluster capacities, and hard labels that fill them exactly."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


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

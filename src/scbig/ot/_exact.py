"""Exact optimal pairs of equally weighted points."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment


def exact_coupling(cost: ArrayLike) -> NDArray[np.intp]:
    """Pair rows with columns at the least total cost.

    Parameters
    ----------
    cost
        Finite costs, shape `(n, m)` or `(b, n, m)` for `b` independent problems.

    Returns
    -------
    Pairs `(row, column)`, shape `(min(n, m), 2)` or `(b, min(n, m), 2)`, in the order of
    the rows. With `n != m` the surplus of the longer side stays without a partner.

    Raises
    ------
    ValueError
        When `cost` has neither two nor three dimensions, or holds NaN or infinite values.
    """
    values = np.asarray(cost)
    if values.ndim not in (2, 3):
        raise ValueError(f"cost has shape {values.shape}; pass (n, m) or (batch, n, m).")
    if not np.isfinite(values).all():
        n_bad = int((~np.isfinite(values)).sum())
        raise ValueError(f"cost holds {n_bad} NaN or infinite values; pass finite costs.")
    if values.ndim == 2:
        return np.stack(linear_sum_assignment(values), axis=-1)
    n_pairs = min(values.shape[1:])
    pairs = np.empty((len(values), n_pairs, 2), dtype=np.intp)
    for problem, out in zip(values, pairs, strict=True):
        out[:] = np.stack(linear_sum_assignment(problem), axis=-1)
    return pairs


@torch.no_grad()
def pair_batches(x0: torch.Tensor, x1: torch.Tensor) -> torch.Tensor:
    """Pair the points of each minibatch at the least squared Euclidean distance.

    The minibatch coupling of flow matching (arXiv 2302.00482): within every batch each
    point of `x0` receives one point of `x1`, and each point of `x1` is used once.

    Parameters
    ----------
    x0
        Source points, shape `(b, n, d)`.
    x1
        Target points, shape `(b, n, d)`.

    Returns
    -------
    Integer positions, shape `(b, n)`: `x1[i, out[i, j]]` is the partner of `x0[i, j]`.

    Raises
    ------
    ValueError
        When the shapes differ or are not three-dimensional.
    """
    if x0.ndim != 3 or x0.shape != x1.shape:
        raise ValueError(
            f"x0 has shape {tuple(x0.shape)} and x1 {tuple(x1.shape)}; "
            "pass the same (batch, n, d) for both."
        )
    source, target = x0.cpu().double(), x1.cpu().double()
    # The squared norms add the same to every pairing, so the inner products decide.
    pairs = exact_coupling(-(source @ target.transpose(-2, -1)).numpy())
    return torch.from_numpy(pairs[..., 1]).to(x0.device)

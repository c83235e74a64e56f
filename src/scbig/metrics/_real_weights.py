"""Weights of genes for each real condition, from sums over cells alone."""

import numpy as np

from scbig.metrics._gene_weights import get_gene_weights
from scbig.metrics._moments import Moments
from scbig.metrics._rounding import subtract
from scbig.metrics._t_scores import CellSums, compute_welch_t

LONE_CELL = "1 real cell: weights of genes need at least 2"
NO_REST = "no other condition has real cells to compare with: weights of genes need some"


def compute_weights(moments: Moments) -> tuple[np.ndarray, list[str]]:
    """Weigh genes by how they set a condition apart from the others of its context.

    The t-scores are those of :func:`scbig.metrics.compute_t_scores`, which takes the cells
    themselves: here they may be more than fit into memory.

    Parameters
    ----------
    moments
        Sums and sums of squares of the real conditions of one context.

    Returns
    -------
    Weights, shape ``(C, G)``, 1 where there are none; and for each condition why there are none.
    """
    n_rest = moments.n_cells.sum() - moments.n_cells
    problems = [
        LONE_CELL if own < 2 else NO_REST if rest < 2 else ""
        for own, rest in zip(moments.n_cells, n_rest, strict=True)
    ]
    is_weighed = np.array([not problem for problem in problems], dtype=bool)
    weights = np.ones_like(moments.total)
    if is_weighed.any():
        weights[is_weighed] = get_gene_weights(_compute_t_scores(moments, is_weighed))
    return weights, problems


def _compute_t_scores(moments: Moments, chosen: np.ndarray) -> np.ndarray:
    total, square = moments.total, moments.square
    if square is None:
        raise RuntimeError("Weights of genes were asked for without sums of squares.")
    own = CellSums(moments.n_cells[chosen, None], total[chosen], square[chosen])
    rest = CellSums(
        moments.n_cells.sum() - own.n_cells,
        subtract(total.sum(axis=0), own.total),
        subtract(square.sum(axis=0), own.squares),
    )
    return compute_welch_t(own, rest)

"""Which control cells are transported, how deep are they to be, and which of them respond?"""

import numpy as np
from scipy.stats import rankdata

from scbig.cells._match import MIN_MATCHED

# So many cells that are wanted are matched by themselves; fewer among as many as MIN_MATCHED.
MIN_WANTED = 50
# Cells of a condition that weigh as much, for its depths, as all perturbed cells together.
DEPTH_PRIOR = 20.0


def draw_sources(n_controls: int, n_cells: int, rng: np.random.Generator) -> np.ndarray:
    """Draw control cells to be transported, all as often as each other.

    Parameters
    ----------
    n_controls
        Number of control cells.
    n_cells
        Number of cells that are wanted.
    rng
        Source of randomness.

    Returns
    -------
    Row numbers. Means are matched over the cells that are wanted if there are at least 50. Fewer
    would have their means by being alike, so that 500 are drawn, of which the first ``n_cells``
    are those that are wanted.
    """
    n_drawn = n_cells if n_cells >= MIN_WANTED else MIN_MATCHED
    rounds = [rng.permutation(n_controls) for _ in range(-(-n_drawn // n_controls))]
    return np.concatenate(rounds)[:n_drawn]


def draw_strength(n_cells: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw which cells respond, in each stretch of them as many as the share says.

    Parameters
    ----------
    n_cells
        Number of cells, in random order.
    share
        Share of the cells that respond.
    rng
        Source of randomness.

    Returns
    -------
    1 for cells that respond, else 0. Any ``n`` neighbours have ``n * share`` that do, up to one;
    each cell does with probability ``share``.
    """
    return np.diff(np.floor(rng.random() + share * np.arange(n_cells + 1)))


def map_depths(
    controls: np.ndarray,
    pooled: np.ndarray,
    own: np.ndarray | None = None,
    n_prior: float = DEPTH_PRIOR,
) -> np.ndarray:
    """Give each control cell the depth of the same rank among perturbed cells.

    Parameters
    ----------
    controls
        Depths of all control cells of the context, shape ``(n_controls,)``.
    pooled
        Depths of all perturbed training cells of the context.
    own
        Depths of the training cells of the condition; ``None`` where it was not measured.
    n_prior
        Number of cells of the condition at which its own quantiles weigh as much as the pooled.

    Returns
    -------
    A depth for each control cell, shape ``(n_controls,)``.
    """
    rank = (rankdata(controls, method="ordinal") - 0.5) / len(controls)
    depths = np.quantile(np.log(pooled), rank)
    if own is not None and len(own):
        weight = len(own) / (len(own) + n_prior)
        depths = weight * np.quantile(np.log(own), rank) + (1 - weight) * depths
    return np.exp(depths)

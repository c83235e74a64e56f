"""Which cells does the judge of the field see? As many predicted as real ones, with counts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._constants import COUNTS
from scbig.data import ScreenSchema, make_screen, thin


def add_counts(cells: AnnData, screen: AnnData) -> AnnData:
    """Put the counts of the screen beside the expression of some of its cells."""
    counts = screen[cells.obs_names].layers[COUNTS]
    return AnnData(cells.X, obs=cells.obs, var=cells.var, layers={COUNTS: counts})


def count_cells(adata: AnnData, schema: ScreenSchema) -> dict[tuple[Any, str], int]:
    """Count the perturbed cells of each condition and context."""
    screen = make_screen(adata.obs, schema)
    return {(t, screen.contexts[i]): len(rows) for t, i, rows in screen.get_groups()}


def draw_equal(
    adata: AnnData, schema: ScreenSchema, n_cells: Mapping[tuple[Any, str], int], seed: int
) -> np.ndarray:
    """Draw at most so many cells of each condition and context; controls all.

    Returns
    -------
    Their row numbers, sorted.
    """
    screen, rng = make_screen(adata.obs, schema), np.random.default_rng(seed)
    drawn = [np.flatnonzero(screen.is_control)]
    for targets, context, rows in screen.get_groups():
        drawn.append(thin(rows, rng, n_cells.get((targets, screen.contexts[context]), 0)))
    return np.sort(np.concatenate(drawn))


def draw_half(labels: pd.Series, seed: int) -> np.ndarray:
    """Draw half of the cells of each label, rounded down, as a mask."""
    rng, is_drawn = np.random.default_rng(seed), np.zeros(len(labels), dtype=bool)
    for rows in labels.reset_index(drop=True).groupby(labels.to_numpy()).indices.values():
        is_drawn[rng.choice(rows, len(rows) // 2, replace=False)] = True
    return is_drawn

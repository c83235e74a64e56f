"""The cells of a screen with their conditions, and what their counts tell."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from scbig.cells import ScreenModel, fit_screen_model
from scbig.data._expression import Expression
from scbig.data._screen import Screen, Targets

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ScreenCells:
    """The cells of a screen, as a predictor reads them.

    Attributes
    ----------
    expression
        Log1p expression of all cells, in the genes of the predictor.
    screen
        Condition and context of all cells.
    base
        Base of the logarithm; ``None`` for the natural one.
    counts
        Counts of all cells, where they are kept.
    """

    expression: Expression
    screen: Screen
    base: float | None = None
    counts: Expression | None = None

    def read_pair(self, rows: np.ndarray) -> tuple[np.ndarray, sparse.csr_matrix | None]:
        """Read values of cells by number, and their counts where these are kept."""
        counts = None if self.counts is None else sparse.csr_matrix(self.counts.rows(rows))
        return self.expression.rows(rows), counts


def check_conditions(cells: ScreenCells, validation: frozenset[Targets]) -> None:
    """Raise when no perturbation is left to train on."""
    known = {targets for targets in cells.screen.conditions if targets}
    if not known:
        raise ValueError("The screen has control cells only: there is nothing to train on.")
    if not known - validation:
        raise ValueError(
            f"All {len(known)} perturbations of the screen are held out for validation; "
            "none is left to train on."
        )


def fit_cells(
    cells: ScreenCells, groups: Sequence[tuple[Targets, int, np.ndarray]], seed: int
) -> ScreenModel:
    """Learn how counts are distributed.

    Parameters
    ----------
    cells
        Cells of a screen.
    groups
        Condition, context and row numbers of each group of training cells.
    seed
        Seed of the cells that are looked at.

    Returns
    -------
    What cells are made with, see :func:`scbig.cells.fit_screen_model`.
    """
    controls = [cells.screen.get_controls(i) for i in range(len(cells.screen.contexts))]
    rng = np.random.default_rng(seed)
    model = fit_screen_model(cells.read_pair, groups, controls, rng, cells.base)
    rest = "" if model.has_counts else ": too few to make cells of counts"
    share = 100 * model.share
    logger.info("The counts of %.1f%% of the cells looked at are known%s.", share, rest)
    return model

"""Which genes does a rank-sum test call, by the cells of some conditions?"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import false_discovery_control, norm

from scbig.cells import FALSE_DISCOVERY_RATE
from scbig.data._effects import Group
from scbig.data._expression import Expression
from scbig.data._screen import Screen

# Below, the normal approximation does not hold.
MIN_TESTED = 10
# Conditions that are tested, evenly chosen, and control cells that they are compared with.
MAX_TESTED = 50
MAX_CONTROLS = 5000


def call_by_ranks(
    expression: Expression, screen: Screen, groups: Sequence[Group], max_tested: int = MAX_TESTED
) -> np.ndarray:
    """Call genes changed against the control cells of the context, as scanpy's Wilcoxon test does.

    The test has no correction for ties, and p-values are adjusted by Benjamini and Hochberg (1995,
    doi:10.1111/j.2517-6161.1995.tb02031.x) in each condition. Where a context has more than 5,000
    control cells, these are an even choice of them.

    Parameters
    ----------
    expression, screen
        Cells of a screen.
    groups
        Targets, context and row numbers of groups of cells.
    max_tested
        Conditions to test, evenly chosen: they tell the power of the test in all others.

    Returns
    -------
    1 where a gene is called at a false discovery rate of 5% and 0 where it is not, -1 in
    conditions that were not tested, as all with fewer than 10 cells or controls;
    ``(n_groups, n_genes)``, int8.
    """
    called = np.full((len(groups), expression.n_genes), -1, dtype=np.int8)
    chosen = np.linspace(0, len(groups) - 1, min(len(groups), max_tested)).astype(int)
    for context in sorted({groups[i][1] for i in chosen}):
        rows = screen.get_controls(context)
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MAX_CONTROLS)).astype(int)]
        if len(rows) < MIN_TESTED:
            continue
        controls = np.sort(expression.rows(rows), axis=0).T.copy()
        for i in chosen:
            if groups[i][1] == context and len(groups[i][2]) >= MIN_TESTED:
                score = _compute_scores(expression.rows(groups[i][2]).T, controls)
                adjusted = false_discovery_control(2 * norm.sf(np.abs(score)))
                called[i] = adjusted < FALSE_DISCOVERY_RATE
    return called


def _compute_scores(cells: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Rank-sum statistics of genes, given their values ``(n_genes, n)``; of controls, sorted."""
    n, m = cells.shape[1], controls.shape[1]
    # Controls below each cell, and half of those that are level with it.
    wins = np.array(
        [
            (known.searchsorted(own, "left") + known.searchsorted(own, "right")).sum() / 2
            for own, known in zip(cells, controls, strict=True)
        ]
    )
    return (wins - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12)

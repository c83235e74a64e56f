"""The embedding that every screen brings along: co-expression in its control cells."""

from collections.abc import Sequence

import numpy as np

from scbig.data import Expression, Screen, thin
from scbig.priors import GeneEmbedding
from scbig.programs._coexpression import compute_coexpression


def make_coexpression_embedding(
    expression: Expression, screen: Screen, genes: Sequence[str], rng: np.random.Generator
) -> GeneEmbedding:
    """Embed the measured genes by their co-expression in control cells.

    Parameters
    ----------
    expression, screen
        Cells of a screen.
    genes
        Names of the genes.
    rng
        Chooses among more than 2,000 control cells.

    Returns
    -------
    An embedding of every gene; of those that do not vary, with zero vectors.

    Raises
    ------
    ValueError
        When there are fewer than three control cells or two varying genes.
    """
    rows = thin(np.flatnonzero(screen.is_control), rng)
    loadings = compute_coexpression(expression.rows(rows))
    return GeneEmbedding(tuple(genes), loadings, "co-expression of control cells")

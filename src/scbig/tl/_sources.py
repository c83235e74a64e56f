"""The control cells that an annotated layer started from, found again by its seed."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from anndata import AnnData

from scbig.data import Expression, Query, ScreenSchema, annotate_query, get_matrix

logger = logging.getLogger(__name__)

MAX_ROWS = 1000


def find_sources(
    adata: AnnData, layer: str, schema: ScreenSchema, contexts: Sequence[str], rows: np.ndarray
) -> np.ndarray | None:
    """Draw again what ``predict(adata)`` drew, and see whether the layer started from it.

    Parameters
    ----------
    adata
        Screen that was annotated.
    layer
        The predicted layer.
    schema
        Where labels are kept.
    contexts
        Contexts of the training data, in order.
    rows
        Rows of interest.

    Returns
    -------
    The row of the control cell that each of these rows started from; ``None`` if that cannot
    be told, as for a layer that scbig did not write.
    """
    description = adata.uns.get(layer)
    if not isinstance(description, Mapping) or "seed" not in description:
        return None
    rng = np.random.default_rng(int(description["seed"]))
    query = annotate_query(adata, schema, contexts=contexts, rng=rng)
    if _lowers_variance(query, Expression(get_matrix(adata, layer)), rows):
        return query.source_row[rows]
    logger.warning(
        "The control cells that layers[%r] started from cannot be found again: the data have "
        "changed since predict(adata). The chance of their draw stays in its scores.",
        layer,
    )
    return None


def _lowers_variance(query: Query, predicted: Expression, rows: np.ndarray) -> bool:
    """Whether the change varies less from cell to cell than the predicted cells themselves."""
    if len(rows) > MAX_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, MAX_ROWS).astype(int)]
    after = predicted.rows(rows)
    change = after - query.source.rows(query.source_row[rows])
    code = query.screen.condition[rows] * len(query.screen.contexts) + query.screen.context[rows]
    return _sum_within(change, code) < _sum_within(after, code)


def _sum_within(values: np.ndarray, code: np.ndarray) -> float:
    """Sum of squared distances to the mean of the own group."""
    total = 0.0
    for group in np.unique(code):
        own = values[code == group]
        total += float(np.square(own - own.mean(axis=0)).sum())
    return total

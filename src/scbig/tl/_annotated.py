"""What does an annotated screen predict for its test cells, and from which controls?"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from anndata import AnnData

from scbig._constants import OBS
from scbig.data import (
    Expression,
    Query,
    ScreenSchema,
    annotate_query,
    get_context_names,
    get_matrix,
    infer_schema,
)
from scbig.tl._split_screen import SplitScreen, take_cells

logger = logging.getLogger(__name__)

MAX_ROWS = 1000


def read_schema(adata: AnnData, layer: str, given: Mapping[str, Any]) -> ScreenSchema:
    """Find where an annotated screen keeps its labels.

    ``given`` goes before the note that scbig wrote into ``uns[layer]``.
    """
    if layer not in adata.layers:
        # anndata 0.13 lists X among the layers, under None.
        found = [key for key in adata.layers if key is not None]
        raise ValueError(
            f"There is no layer {layer!r} to score. Layers found: {found}. A predictor of scbig "
            "writes one: predict(adata); or put predicted expression there yourself."
        )
    note = adata.uns.get(layer)
    noted = note.get("schema") if isinstance(note, Mapping) else None
    values: dict[str, Any] = dict(given)
    if isinstance(noted, Mapping):
        # Files turn lists into arrays, and what is None is not noted.
        keys = [str(key) for key in noted.get("context_keys", ())]
        values = {"separator": "", **noted, "context_keys": keys, **given}
    schema = infer_schema(adata, **values)
    if schema.layer == layer:
        raise ValueError(f"layers[{layer!r}] holds the measured expression, not a prediction.")
    logger.info(schema.describe())
    return schema


def take_prediction(
    adata: AnnData, layer: str, schema: ScreenSchema, parts: SplitScreen
) -> AnnData:
    """Take the prediction of the test cells out of an annotated screen, into ``layers[layer]``.

    If their control cells can be found again, these are ``X``, named in ``obs["scbig_source"]``,
    as after ``predict(perturbations=[...])``; otherwise ``X`` is the prediction, too.
    """
    predicted = take_cells(adata, parts.test_rows, schema, layer=layer)
    predicted.layers[layer] = predicted.X
    contexts = sorted(set(get_context_names(parts.training.obs, schema.context_keys)))
    sources = _find_sources(adata, layer, schema, contexts, parts.test_rows)
    if sources is not None:
        predicted.X = Expression(get_matrix(adata, schema.layer)).rows(sources)
        predicted.obs[OBS.SOURCE] = np.asarray(adata.obs_names[sources].astype(str))
    return predicted


def _find_sources(
    adata: AnnData, layer: str, schema: ScreenSchema, contexts: Sequence[str], rows: np.ndarray
) -> np.ndarray | None:
    """Draw again what ``predict(adata)`` drew, and see whether the layer started from it.

    Returned is the row of the control cell that each of ``rows`` started from; ``None`` if that
    cannot be told, as for a layer that scbig did not write.
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

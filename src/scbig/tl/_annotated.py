"""What does an annotated screen predict for its test cells, and from which controls?"""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from anndata import AnnData

from scbig._constants import SOURCE_SUFFIX
from scbig.data import (
    EXPECTED,
    Expression,
    ScreenSchema,
    get_matrix,
    infer_schema,
    make_screen,
)
from scbig.tl._split_screen import SplitScreen, take_cells

logger = logging.getLogger(__name__)


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

    Of expected expression, the control cells that it starts from are ``X``, named in ``obs``;
    otherwise ``X`` is the prediction, too.
    """
    predicted = take_cells(adata, parts.test_rows, schema, layer=layer)
    predicted.layers[layer] = predicted.X
    sources = _find_sources(adata, layer, parts.test_rows)
    if sources is not None:
        predicted.X = Expression(get_matrix(adata, schema.layer)).rows(sources)
        predicted.obs[layer + SOURCE_SUFFIX] = np.asarray(adata.obs_names[sources].astype(str))
    return predicted


def is_made_by_scbig(adata: AnnData, layer: str | None) -> bool:
    """Whether ``predict`` wrote a layer."""
    note = None if layer is None else adata.uns.get(layer)
    return isinstance(note, Mapping) and "cells" in note


def take_own_controls(adata: AnnData, layer: str, schema: ScreenSchema) -> AnnData | None:
    """Take the controls that the means of cells in a layer start from; ``None`` if not known."""
    if not is_made_by_scbig(adata, layer):
        return None
    is_control = make_screen(adata.obs, schema).is_control
    return take_cells(adata, np.flatnonzero(is_control), schema)


def _find_sources(adata: AnnData, layer: str, rows: np.ndarray) -> np.ndarray | None:
    """Row of the control cell that each of ``rows`` started from, if its mean shows the draw."""
    note, key = adata.uns.get(layer), layer + SOURCE_SUFFIX
    is_expected = isinstance(note, Mapping) and note.get("cells") == EXPECTED
    if not is_expected or key not in adata.obs or not adata.obs_names.is_unique:
        return None
    sources = adata.obs_names.astype(str).get_indexer(adata.obs[key].astype(str).iloc[rows])
    if (sources >= 0).all():
        return sources
    logger.warning(
        "The control cells that layers[%r] started from are not among the cells any more: the "
        "data have changed since predict(adata). The chance of their draw stays in its scores.",
        layer,
    )
    return None

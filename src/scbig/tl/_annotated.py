"""What an annotated screen predicts for its test cells."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from anndata import AnnData

from scbig._constants import OBS
from scbig.data import Expression, ScreenSchema, get_context_names, get_matrix, infer_schema
from scbig.tl._sources import find_sources
from scbig.tl._split_screen import SplitScreen, take_cells

logger = logging.getLogger(__name__)


def read_schema(adata: AnnData, layer: str, given: Mapping[str, Any]) -> ScreenSchema:
    """Find where an annotated screen keeps its labels.

    Parameters
    ----------
    adata
        The screen.
    layer
        Its predicted layer, with the note in ``uns`` if scbig wrote it.
    given
        Arguments of :func:`scbig.data.infer_schema` that go before the note.

    Returns
    -------
    The schema.

    Raises
    ------
    ValueError
        When the layer is missing or holds the measured expression, or labels cannot be found.
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
    """Take the prediction of the test cells out of an annotated screen.

    Parameters
    ----------
    adata
        The screen.
    layer
        Its predicted layer.
    schema
        Where it keeps its labels.
    parts
        Its parts.

    Returns
    -------
    The test cells with the prediction in ``layers[layer]``. If their control cells can be found
    again, these are ``X``, named in ``obs["scbig_source"]``, as after
    ``predict(perturbations=[...])``; otherwise ``X`` is the prediction, too.
    """
    predicted = take_cells(adata, parts.test_rows, schema, layer=layer)
    predicted.layers[layer] = predicted.X
    contexts = sorted(set(get_context_names(parts.training.obs, schema.context_keys)))
    sources = find_sources(adata, layer, schema, contexts, parts.test_rows)
    if sources is not None:
        predicted.X = Expression(get_matrix(adata, schema.layer)).rows(sources)
        predicted.obs[OBS.SOURCE] = np.asarray(adata.obs_names[sources].astype(str))
    return predicted

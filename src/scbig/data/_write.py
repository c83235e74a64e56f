"""Predictions of all rows of a query, and the one place where they are written into an AnnData."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig._arguments import InvalidArgumentError, check_flag, show
from scbig._console import show_steps
from scbig._constants import (
    CONFIDENCE_SUFFIX,
    COUNTS,
    COUNTS_SUFFIX,
    RESPONDS_SUFFIX,
    SOURCE_SUFFIX,
)
from scbig.data._expression import Expression, GeneMatch, get_matrix
from scbig.data._query import Query
from scbig.labels import (
    ScreenSchema,
)

logger = logging.getLogger(__name__)

BATCH_SIZE = 2048
EXPECTED = "expected"
_OBS_SUFFIXES = (SOURCE_SUFFIX, CONFIDENCE_SUFFIX, RESPONDS_SUFFIX)
# Results that take more memory are announced before they are made.
LARGE_BYTES = 1e9


class GroupPredictor(Protocol):
    """Predict the cells of one group of a query from control cells."""

    def __call__(self, x: np.ndarray, group: int) -> np.ndarray:
        """Map control cells ``(n, n_genes)`` to predicted cells of the same shape.

        ``group`` counts the groups in the order of :meth:`Query.groups`, so that the conditions
        of all of them can be prepared at once beforehand.
        """


@dataclass(frozen=True)
class Prediction:
    """Predicted expression of all rows of a query.

    Attributes
    ----------
    expression
        Predicted log1p expression, shape ``(n_rows, n_vars)``: an array, or CSR.
    counts
        Counts that it was normalised from, CSR of int32; ``None`` where there are none.
    source_row
        Row of the query's source that each row starts from, shape ``(n_rows,)``.
    kind
        What rows are: cells with ``"counts"``, cells of ``"values"`` alone, or ``"expected"``
        expression, which is no cell.
    responds
        Whether each row responds to its perturbation, shape ``(n_rows,)``; ``None`` where all do.
    """

    expression: np.ndarray | sparse.csr_matrix
    counts: sparse.csr_matrix | None
    source_row: np.ndarray
    kind: str
    responds: np.ndarray | None = None


def predict_query(
    query: Query,
    match: GeneMatch,
    predictor: GroupPredictor,
    *,
    control_mean: np.ndarray,
) -> Prediction:
    """Predict the expected expression of all rows, a batch of one condition and context at a time.

    Parameters
    ----------
    query
        What to predict.
    match
        Where the model's genes stand among the genes of the query. Genes that the model does
        not know keep the expression of the source cell.
    predictor
        Predicts one group: one perturbation in one context.
    control_mean
        Mean control expression ``(n_genes,)`` that stands in for missing genes.

    Returns
    -------
    The prediction, negative values set to zero; rows of control cells keep their expression.
    """
    fill = control_mean.astype(np.float32)  # float64 would turn whole batches into float64
    announce_size(query, 4 * query.out.n_obs * query.out.n_vars * (1 + query.is_new))
    _warn_of_copies(query)
    values = np.empty(query.out.shape, dtype=np.float32)
    is_found = match.columns >= 0
    with show_steps("Predicting", query.out.n_obs, "cells") as advance:
        for group, rows in _batches(query):
            x = query.source.rows(query.source_row[rows])
            values[rows] = x
            advance(len(rows))
            if group is None:
                continue
            genes = np.where(is_found, x[:, match.columns], fill)
            cells = np.ix_(rows, match.columns[is_found])
            values[cells] = predictor(genes, group).clip(min=0)[:, is_found]
    return Prediction(values, None, query.source_row, EXPECTED)


def write_prediction(
    query: Query,
    key: str,
    prediction: Prediction,
    *,
    confidence: pd.Series | np.ndarray | None,
    description: dict[str, Any],
) -> AnnData:
    """Write a prediction into ``layers[key]`` and what belongs to it.

    Parameters
    ----------
    query
        What was asked, and the object to write into. If it was made for the query, its ``X`` is
        the prediction too; that of other data is never touched.
    key
        Name of the layer; also of the entry in ``uns`` and the stem of ``obs`` columns and of the
        layer with counts.
    prediction
        Predicted expression of all rows and genes.
    confidence
        Confidence of each row in [0, 1], or ``None`` when the predictor has none.
    description
        How the prediction was made; stored in ``uns[key]``.

    Returns
    -------
    The object that was written into.

    Raises
    ------
    ValueError
        When a value is not finite; nothing is written then.
    """
    adata = query.out
    _check_finite(prediction.expression, adata)
    if query.is_new:
        adata.X = prediction.expression.copy()
    adata.layers[key] = prediction.expression
    adata.obs[key + SOURCE_SUFFIX] = query.source_names[prediction.source_row]
    # What an earlier call left would describe another layer.
    if prediction.counts is not None:
        adata.layers[key + COUNTS_SUFFIX] = prediction.counts
    elif key + COUNTS_SUFFIX in adata.layers:
        del adata.layers[key + COUNTS_SUFFIX]
    if confidence is not None:
        confidence = np.asarray(confidence, dtype=np.float32)
    _put_column(adata, key + CONFIDENCE_SUFFIX, confidence)
    _put_column(adata, key + RESPONDS_SUFFIX, prediction.responds)
    adata.uns[key] = description | {"cells": prediction.kind}
    return adata


def _check_finite(expression: Any, adata: AnnData) -> None:
    """Raise where a prediction has NaN or infinite values, which every mean would then have."""
    is_sparse = sparse.issparse(expression)
    values = expression.data if is_sparse else expression
    # Both are NaN where any value is, and neither needs an array of its own.
    if not values.size or (np.isfinite(values.min()) and np.isfinite(values.max())):
        return
    is_bad = ~np.isfinite(values)
    rows = np.unique(expression.tocoo().row[is_bad] if is_sparse else is_bad.nonzero()[0])
    raise ValueError(
        f"The prediction of {len(rows)} of {adata.n_obs} cells is not finite, such as that of "
        f"{adata.obs_names[rows[0]]!r}; it is not written. The networks have diverged, or the "
        "input has such values: train again with a smaller learning rate, or without networks, "
        "train(max_steps=0)."
    )


def _put_column(adata: AnnData, name: str, values: np.ndarray | None) -> None:
    """Write a column, or take away that of an earlier call."""
    if values is not None:
        adata.obs[name] = values
    elif name in adata.obs:
        del adata.obs[name]


def check_key(
    key_added: str | None,
    adata: AnnData | None,
    schema: ScreenSchema,
    default: str,
    *,
    overwrite: bool = False,
) -> str:
    """Return the name of a layer to write; raise if it is unusable, or other data would be lost.

    Parameters
    ----------
    key_added
        Name that a user gave, or ``None``.
    adata
        Data to write into; ``None`` where they are made anew.
    schema
        Where the screen keeps its labels and measured expression, which are never overwritten.
    default
        The name where none was given, or to propose.
    overwrite
        Overwrite what else is there.

    Returns
    -------
    The name.

    Raises
    ------
    ValueError
        When it is no usable name, or ``adata`` has something there that scbig did not write.
    """
    key = default if key_added is None else key_added
    other = default if key != default else f"{default}_new"
    is_name = isinstance(key, str) and key.strip(" .") and not set(key) & {"/", "\0"}
    if not is_name or key == COUNTS:
        raise InvalidArgumentError(
            f"key_added={show(key)} cannot name a layer of predictions: it is empty, no text, has "
            "a '/', which files take for a folder, or is the name of measured counts. Choose "
            f"another: key_added={other!r}"
        )
    places = {
        "uns": [key],
        "layers": [key, key + COUNTS_SUFFIX],
        "obs": [key + suffix for suffix in _OBS_SUFFIXES],
    }
    if key == "log1p" or set(places["obs"]) & set(schema.obs_keys):
        raise ValueError(
            f"key_added={key!r} would take the place of uns['log1p'] or of the labels "
            f"{schema.obs_keys} of the screen. Choose another name: key_added={other!r}"
        )
    is_forced = check_flag("overwrite", overwrite)
    if adata is None:
        return key
    if key == schema.layer:
        raise ValueError(
            f"layers[{key!r}] holds the measured expression, which predictions start from, and "
            f"would be overwritten. Choose another name: key_added={other!r}"
        )
    note = adata.uns.get(key)
    if is_forced or (isinstance(note, Mapping) and {"class", "version"} <= set(note)):
        return key
    taken = [
        f"{at}[{k!r}]" for at, keys in places.items() for k in keys if k in getattr(adata, at)
    ]
    if taken:
        raise ValueError(
            f"{' and '.join(taken)} would be overwritten by key_added={key!r}, and uns[{key!r}] "
            f"does not say that scbig wrote it. Choose another name: key_added={other!r}, "
            f"delete it, del adata.{taken[0]}, or insist: overwrite=True"
        )
    return key


def announce_size(query: Query, n_bytes: float) -> None:
    """Say how large a result will be, if it is large, so that it can be stopped.

    Parameters
    ----------
    query
        What is to be predicted.
    n_bytes
        Memory of the layers, and of ``X`` if it is new.
    """
    if n_bytes >= LARGE_BYTES:
        logger.warning(
            "Making %d cells x %d genes, which take about %.1f GB, and twice as much for a while. "
            "Fewer: n_cells=..., or some perturbations or contexts at a time.",
            *query.out.shape,
            n_bytes / 1e9,
        )


def _warn_of_copies(query: Query) -> None:
    """Say that nothing is drawn anew where more rows are wanted than there are control cells."""
    starts = [query.source_row[rows] for *_, rows in query.groups()] if query.is_new else []
    n_copies = sum(len(rows) - len(np.unique(rows)) for rows in starts)
    if n_copies:
        logger.warning(
            "%d of %d predicted rows are copies: no more rows differ than a context has control "
            "cells, since expected expression draws nothing, and cells of no change are control "
            "cells. Tests that count them as cells find too much. Ask for fewer: n_cells=%d",
            n_copies,
            sum(map(len, starts)),
            min(len(np.unique(rows)) for rows in starts),
        )


def put_sources(predicted: AnnData, key: str, source: AnnData, layer: str | None = None) -> bool:
    """Put the control cells that expected expression starts from into ``X``, to be compared.

    Cells have the predicted mean, whatever control cells were drawn; expected expression has not.

    Parameters
    ----------
    predicted
        What ``predict(perturbations=[...])`` returned.
    key
        Name of its layer.
    source
        The data that it started from.
    layer
        Layer of these data with expression; ``None`` for ``X``.

    Returns
    -------
    Whether this was done: the layer holds expected expression of these control cells and genes.
    """
    note, column = predicted.uns.get(key), key + SOURCE_SUFFIX
    is_expected = isinstance(note, Mapping) and note.get("cells") == EXPECTED
    is_named = source.obs_names.is_unique and source.var_names.is_unique
    if not (is_expected and is_named) or column not in predicted.obs:
        return False
    rows = source.obs_names.astype(str).get_indexer(predicted.obs[column].astype(str))
    columns = source.var_names.get_indexer(predicted.var_names)
    if (rows < 0).any() or (columns < 0).any():
        return False
    predicted.X = Expression(get_matrix(source, layer), columns).rows(rows)
    return True


def _batches(query: Query) -> Iterator[tuple[int | None, np.ndarray]]:
    """Yield the group, ``None`` for controls, and at most ``BATCH_SIZE`` of its rows at a time."""
    controls = np.flatnonzero(query.screen.is_control)
    groups = [(None, controls), *enumerate(rows for *_, rows in query.groups())]
    for group, rows in groups:
        for start in range(0, len(rows), BATCH_SIZE):
            yield group, rows[start : start + BATCH_SIZE]

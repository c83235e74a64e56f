"""Predictions of all rows of a query, and the one place where they are written into an AnnData."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._constants import CONFIDENCE_SUFFIX, STD_SUFFIX
from scbig.data._expression import GeneMatch
from scbig.data._query import Query

BATCH_SIZE = 2048


class GroupPredictor(Protocol):
    """Predict the cells of one group of a query from control cells."""

    def __call__(self, x: np.ndarray, group: int, rng: np.random.Generator) -> np.ndarray:
        """Map control cells ``(n, n_genes)`` to predicted cells of the same shape.

        ``group`` counts the groups in the order of :meth:`Query.groups`, so that the conditions
        of all of them can be prepared at once beforehand.
        """


@dataclass(frozen=True)
class Prediction:
    """Predicted expression of all rows of a query.

    Attributes
    ----------
    mean
        Predicted log1p expression, shape ``(n_rows, n_vars)``; mean over samples.
    std
        Standard deviation over samples, or ``None`` for one sample.
    """

    mean: np.ndarray
    std: np.ndarray | None


def predict_query(
    query: Query,
    match: GeneMatch,
    predictor: GroupPredictor,
    *,
    control_mean: np.ndarray,
    n_samples: int,
    rng: np.random.Generator,
) -> Prediction:
    """Predict all rows of a query, a batch of one condition and context at a time.

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
    n_samples
        Number of predictions for each row.
    rng
        Source of the samples.

    Returns
    -------
    The prediction, negative values set to zero; rows of control cells keep their expression.

    Raises
    ------
    ValueError
        When ``n_samples`` is less than one.
    """
    if n_samples < 1:
        raise ValueError(f"n_samples={n_samples}; give at least 1.")
    fill = control_mean.astype(np.float32)  # float64 would turn whole batches into float64
    mean = np.empty(query.out.shape, dtype=np.float32)
    std = np.zeros_like(mean) if n_samples > 1 else None
    is_found = match.columns >= 0
    for group, rows in _batches(query):
        x = query.source.rows(query.source_row[rows])
        mean[rows] = x
        if group is None:
            continue
        genes = np.where(is_found, x[:, match.columns], fill)
        samples = [predictor(genes, group, rng).clip(min=0) for _ in range(n_samples)]
        cells = np.ix_(rows, match.columns[is_found])
        mean[cells] = np.mean(samples, axis=0)[:, is_found]
        if std is not None:
            std[cells] = np.std(samples, axis=0)[:, is_found]
    return Prediction(mean, std)


def write_prediction(
    adata: AnnData,
    key: str,
    prediction: Prediction,
    *,
    confidence: pd.Series | np.ndarray | None,
    description: dict[str, Any],
) -> AnnData:
    """Write predicted expression into ``layers[key]`` and what belongs to it.

    Parameters
    ----------
    adata
        The object to write into.
    key
        Name of the layer; also of the entry in ``uns`` and the stem of ``obs`` columns.
    prediction
        Predicted expression of all rows and genes.
    confidence
        Confidence of each row in [0, 1], or ``None`` when the predictor has none.
    description
        How the prediction was made; stored in ``uns[key]``.

    Returns
    -------
    ``adata``.
    """
    adata.layers[key] = prediction.mean
    if prediction.std is not None:
        adata.layers[key + STD_SUFFIX] = prediction.std
    elif key + STD_SUFFIX in adata.layers:
        # Left over from an earlier call, it would describe another layer.
        del adata.layers[key + STD_SUFFIX]
    if confidence is not None:
        adata.obs[key + CONFIDENCE_SUFFIX] = np.asarray(confidence, dtype=np.float32)
    elif key + CONFIDENCE_SUFFIX in adata.obs:
        del adata.obs[key + CONFIDENCE_SUFFIX]
    adata.uns[key] = description
    return adata


def _batches(query: Query) -> Iterator[tuple[int | None, np.ndarray]]:
    """Yield the group, ``None`` for controls, and at most ``BATCH_SIZE`` of its rows at a time."""
    controls = np.flatnonzero(query.screen.is_control)
    groups = [(None, controls), *enumerate(rows for *_, rows in query.groups())]
    for group, rows in groups:
        for start in range(0, len(rows), BATCH_SIZE):
            yield group, rows[start : start + BATCH_SIZE]

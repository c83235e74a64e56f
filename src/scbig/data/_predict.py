"""Run a predictor over a query: the part of `predict` that all models and baselines share."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from scbig.data._genes import GeneMatch
from scbig.data._query import Query
from scbig.data._screen import Targets

BATCH_SIZE = 2048


class GroupPredictor(Protocol):
    """Predict one perturbation in one context from control cells."""

    def __call__(
        self, x: np.ndarray, targets: Targets, context: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Map control cells ``(n, n_genes)`` to predicted cells of the same shape."""


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
        Predicts one perturbation in one context.
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
    for targets, context, rows in _batches(query):
        x = query.source.rows(query.source_row[rows])
        mean[rows] = x
        if not targets:
            continue
        genes = np.where(is_found, x[:, match.columns], fill)
        samples = [predictor(genes, targets, context, rng).clip(min=0) for _ in range(n_samples)]
        cells = np.ix_(rows, match.columns[is_found])
        mean[cells] = np.mean(samples, axis=0)[:, is_found]
        if std is not None:
            std[cells] = np.std(samples, axis=0)[:, is_found]
    return Prediction(mean, std)


def _batches(query: Query) -> Iterator[tuple[Targets, int, np.ndarray]]:
    """Yield targets, context and at most ``BATCH_SIZE`` rows at a time, controls included."""
    controls = np.flatnonzero(query.screen.is_control)
    groups = [((), -1, controls), *query.screen.get_groups()]
    for targets, context, rows in groups:
        for start in range(0, len(rows), BATCH_SIZE):
            yield targets, context, rows[start : start + BATCH_SIZE]

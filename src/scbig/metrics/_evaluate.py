"""Scores of one prediction in one call, and their means."""

from collections.abc import Sequence

import pandas as pd
from anndata import AnnData

from scbig.data import infer_schema
from scbig.metrics._evaluator import Evaluator
from scbig.metrics._reference import ReferenceLike


def evaluate(
    real: AnnData,
    predicted: AnnData,
    *,
    perturbation_key: str,
    control: str,
    context_keys: Sequence[str] = (),
    separator: str = "+",
    reference: ReferenceLike | None = None,
    metrics: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Score predicted against measured cells, whatever predicted them.

    Parameters
    ----------
    real
        Measured cells of the conditions to score, and control cells; log1p-normalised in ``X``.
    predicted
        Predicted cells of the same conditions and genes in ``X``. Its controls, if there are
        any, are not read: effects are differences to the real controls on both sides.
    perturbation_key
        Column of ``obs`` with the condition, on both sides.
    control
        Label of the controls.
    context_keys
        Columns of ``obs`` that make up a context, such as a cell line: controls are of the same
        context, and conditions are ranked within it.
    separator
        What stands between the targets of a combination; empty if no label is one.
    reference
        Training cells, or means of the training conditions; see :class:`Evaluator`.
    metrics
        Names out of :data:`METRICS`; by default all.

    Returns
    -------
    One row a condition, context and metric: ``perturbation``, ``context``, ``metric``,
    ``value``, ``status``. Nothing is dropped: where a value is NaN, the status says why.
    :func:`summarise` averages them.

    Raises
    ------
    ValueError
        When one side cannot be read, or nothing that ``real`` has is predicted.

    Examples
    --------
    >>> import scbig
    >>> adata = scbig.data.simulate_screen(n_cells=1000, n_genes=100, n_targets=8, n_doubles=0)
    >>> names = {"perturbation_key": "perturbation", "control": "control"}
    >>> scores = scbig.metrics.evaluate(adata, adata, **names, metrics=["pearson_delta"])
    >>> float(scbig.metrics.summarise(scores)["mean"].round(6).iloc[0])
    1.0
    """
    schema = infer_schema(
        real,
        perturbation_key=perturbation_key,
        control=control,
        context_keys=context_keys,
        separator=separator,
    )
    return Evaluator(real, schema, reference=reference, metrics=metrics).score(predicted)


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Average scores over conditions and contexts.

    Parameters
    ----------
    scores
        What :func:`evaluate`, an :class:`Evaluator` or :func:`scbig.tl.evaluate` returned.

    Returns
    -------
    One row a metric (and predictor, where there are some), in the order of ``scores``: ``mean``
    over the conditions that have a value, their number ``n``, and the number ``n_failed`` of
    those that have none.

    Raises
    ------
    ValueError
        When a column is missing.
    """
    if missing := {"metric", "value"} - set(scores):
        raise ValueError(f"scores lacks the columns {sorted(missing)}; found {list(scores)}.")
    keys = [key for key in ("predictor", "metric") if key in scores]
    values = scores.groupby(keys, sort=False, observed=True)["value"]
    table = values.agg(mean="mean", n="count", n_failed=lambda column: column.isna().sum())
    return table.reset_index()

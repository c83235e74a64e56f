"""How good is a prediction? Scores of all conditions by all metrics, and their means."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._annotations import checked
from scbig.data import ScreenSchema, infer_schema
from scbig.metrics._catalogue import Metric, choose_metrics
from scbig.metrics._ground_truth import Sample, make_ground_truth, sample_predicted, sample_real
from scbig.metrics._inputs import ReferenceLike
from scbig.metrics._score import (
    CEILING_MEASURED,
    OK,
    Scores,
    score_ceiling,
    score_samples,
)

if TYPE_CHECKING:
    from scbig.metrics._told_effects import EffectScorer


@checked
def evaluate(
    real: AnnData,
    predicted: AnnData,
    *,
    perturbation_key: str,
    control: str,
    context_keys: Sequence[str] = (),
    separator: str = "+",
    reference: ReferenceLike | None = None,
    metrics: str | Sequence[str] | None = None,
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
        Names out of :data:`METRICS`, or ``"realism"`` for those that tell predicted from real
        cells, ``"calibration"`` for those on effects; by default all others.

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


@checked
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


def group_reasons(statuses: pd.Series) -> pd.Series:
    """Put one text in place of statuses that differ in their numbers only.

    Parameters
    ----------
    statuses
        Why scores are missing, see :class:`Evaluator`.

    Returns
    -------
    The first status of each wording; where numbers differ, it begins with ``"such as: "``.
    """
    wording = statuses.str.replace(r"\d+(\.\d+)?(e[+-]?\d+)?", "0", regex=True)
    groups = statuses.groupby(wording)
    return groups.transform("first").where(
        groups.transform("nunique") == 1, "such as: " + groups.transform("first")
    )


class Evaluator:
    """Scores any number of predictions of the same conditions.

    What depends on the real cells alone is computed once: means, effects, principal components,
    weights of genes. Effects are differences to the *real* controls of the same context on both
    sides; controls among the predicted cells are not read. Metrics that rank a condition do so
    among the real conditions of its context.

    Parameters
    ----------
    real
        Measured cells of the conditions to score, and control cells of every context;
        log1p-normalised. May be backed.
    schema
        Where both sides keep their labels, see :func:`scbig.data.infer_schema`. Its ``layer`` is
        where ``real`` and ``reference`` have their expression.
    reference
        Training cells (with their controls, if possible); or the means of the training
        conditions, as an AnnData with a row each, a table (labels x genes) or an array
        ``(n_conditions, G)``. From training cells the 50 principal components are computed in
        which cells are compared, otherwise from ``real``. Without it the metrics that need it
        are rows that say so.
    metrics
        Names out of :data:`scbig.metrics.METRICS`, or ``"realism"`` for those that tell predicted
        from real cells, ``"calibration"`` for those on effects and their errors; by default all
        others.
    seed
        Seed of draws, halvings and principal components.
    is_log1p
        Take integer values for log1p values, as ``setup_anndata`` does.

    Raises
    ------
    ValueError
        When columns, labels, genes, controls or perturbed cells are missing, or the expression
        is not log1p.

    Examples
    --------
    >>> import scbig
    >>> adata = scbig.data.simulate_screen(n_cells=1000, n_genes=100, n_targets=8, n_doubles=0)
    >>> schema = scbig.data.infer_schema(adata)
    >>> evaluator = scbig.metrics.Evaluator(adata, schema, metrics=["pearson_delta", "mse"])
    >>> list(evaluator.score_ceiling())
    ['perturbation', 'context', 'metric', 'value', 'status']
    """

    @checked
    def __init__(
        self,
        real: AnnData,
        schema: ScreenSchema,
        *,
        reference: ReferenceLike | None = None,
        metrics: str | Sequence[str] | None = None,
        seed: int = 0,
        is_log1p: bool = False,
    ) -> None:
        self._schema = schema
        self._metrics = choose_metrics(metrics)
        self._seed = seed
        self._truth = make_ground_truth(
            real, schema, reference, self._metrics.values(), seed, is_log1p=is_log1p
        )
        self._sample = sample_real(self._truth, seed)

    @property
    def looks_at_cells(self) -> bool:
        """Whether metrics of realism are scored, which see copies among the cells."""
        return any(metric.group == "realism" for metric in self._metrics.values())

    @property
    def looks_at_effects(self) -> bool:
        """Whether effects are scored that a prediction tells with their errors."""
        return any(metric.level == "effects" for metric in self._metrics.values())

    @checked
    def score(
        self,
        predicted: AnnData,
        *,
        layer: str | None = None,
        is_paired: bool = False,
        controls: AnnData | None = None,
        effects: AnnData | None = None,
    ) -> pd.DataFrame:
        """Score one prediction.

        Parameters
        ----------
        predicted
            Predicted cells, log1p-normalised, labelled as ``real`` is. Targets may stand in any
            order (``"B+A"`` is ``"A+B"``), genes are matched by name, and what ``real`` does not
            have is ignored. For metrics on cells at most 200 of each condition and context are
            drawn, so that every prediction is compared with as many.
        layer
            Layer with the prediction; ``None`` for ``X``.
        is_paired
            ``X`` holds the control cell that each row started from. Means are then the mean of
            all real controls plus the mean change, which takes off the chance of the drawn
            controls. The cells that scbig predicts need no such thing, and are refused; its
            expected expression does, which :func:`scbig.tl.evaluate` sees to by itself.
        controls
            Control cells, in ``X``, that the effects of ``predicted`` are those to, where these
            are not the real ones: another measurement has its own, and where a split divides
            controls, a predictor knows those of training. Means are then the mean of all real
            controls plus the effect to these. Cells are compared as they are.
        effects
            Expected effects and their errors, conditions x genes, as ``predict_effects`` of a
            model returns them: ``X`` the effect, ``layers["standard_error"]``,
            ``["probability_up"]`` and ``["probability_down"]``, labelled as ``real`` is. They are
            what the metrics of ``"calibration"`` score. Without, effects are those of the means
            of the predicted cells, and scores of errors are rows that say what is missing.

        Returns
        -------
        One row a condition, context and metric: ``perturbation`` (as ``real`` writes it),
        ``context``, ``metric``, ``value``, ``status``. The status is ``"ok"`` or says why the
        value is NaN.

        Raises
        ------
        ValueError
            When the predicted cells cannot be read, nothing that ``real`` has is predicted, or
            ``effects`` is no table with a row for each condition and context.
        """
        sample = self._sample_predicted(predicted, layer, is_paired, controls)
        found = score_samples(self._of_cells, self._truth, self._sample, sample)
        told = self._scorer.score(sample, effects) if self.looks_at_effects else {}
        return self._tabulate(found | told)

    def score_ceiling(self, measured: AnnData | None = None) -> pd.DataFrame:
        """Score the real cells against themselves: what a second measurement would reach.

        Where there is one, it is scored as a prediction, with controls of its own. Otherwise the
        cells of each condition are halved at random and one half is scored against the other,
        both against all real controls, as a mean of three halvings (of one where cells are
        compared gene by gene or tests are run, which takes long). Correlations are then stepped
        up to that of all cells by the formula of Spearman and Brown, 2r / (1 + r), if they are
        positive; other metrics are left as they are, those of half the cells.

        Parameters
        ----------
        measured
            Other cells of the same conditions and their controls, such as the training cells where
            half of the cells of each condition are held out.

        Returns
        -------
        As :meth:`score`, with a status that begins with ``"ok"`` and names the rule.
        """
        if measured is not None:
            sample = self._sample_predicted(measured, None, False, measured)
            found = score_samples(self._of_cells, self._truth, self._sample, sample)
            told = self._scorer.score_second(measured) if self.looks_at_effects else {}
            scores = self._tabulate(found | told)
            return scores.assign(status=scores["status"].replace(OK, CEILING_MEASURED))
        found = score_ceiling(self._of_cells, self._truth, self._sample, self._seed)
        told = self._scorer.score_ceiling() if self.looks_at_effects else {}
        return self._tabulate(found | told)

    def get_reliability(self, effects: AnnData) -> pd.DataFrame:
        """Hold predicted probabilities and intervals against what the real cells show.

        All conditions are put together.

        Parameters
        ----------
        effects
            Expected effects with their errors, see :meth:`score`.

        Returns
        -------
        For :func:`scbig.pl.reliability`: rows of the ``kind`` ``"probability"``, see
        :func:`tabulate_probability`, and of the ``kind`` ``"coverage"``, see
        :func:`tabulate_coverage`.

        Raises
        ------
        ValueError
            When ``effects`` cannot be read, or tells no errors.
        """
        return self._scorer.tabulate(effects)

    def get_failed(self, reason: str) -> pd.DataFrame:
        """Make the rows of a predictor that has no prediction to score.

        Parameters
        ----------
        reason
            Why it has none.

        Returns
        -------
        As :meth:`score`, every value NaN and every status the reason.
        """
        n = len(self._truth.keys)
        return self._tabulate({name: (np.full(n, np.nan), [reason] * n) for name in self._metrics})

    @property
    def _of_cells(self) -> dict[str, Metric]:
        """The metrics that look at predicted cells or their means."""
        return {name: m for name, m in self._metrics.items() if m.level != "effects"}

    @cached_property
    def _scorer(self) -> "EffectScorer":
        from scbig.metrics._told_effects import EffectScorer

        metrics = {name: m for name, m in self._metrics.items() if m.level == "effects"}
        return EffectScorer(metrics, self._truth, self._sample, self._schema, self._seed)

    def _sample_predicted(
        self, predicted: AnnData, layer: str | None, is_paired: bool, controls: AnnData | None
    ) -> Sample:
        return sample_predicted(
            predicted,
            self._truth,
            self._schema,
            layer=layer,
            is_paired=is_paired,
            controls=controls,
            seed=self._seed,
        )

    def _tabulate(self, scores: dict[str, Scores]) -> pd.DataFrame:
        truth = self._truth
        tables = [
            pd.DataFrame(
                {
                    "perturbation": truth.labels,
                    "context": [context for _, context in truth.keys],
                    "metric": name,
                    "value": values,
                    "status": statuses,
                }
            )
            for name, (values, statuses) in ((name, scores[name]) for name in self._metrics)
        ]
        return pd.concat(tables, ignore_index=True)

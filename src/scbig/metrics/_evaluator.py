"""Scores of predictions against one real side, which is prepared once."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig.data import ScreenSchema
from scbig.metrics._catalogue import choose_metrics
from scbig.metrics._ceiling import score_ceiling
from scbig.metrics._predicted import sample_predicted
from scbig.metrics._real import make_real
from scbig.metrics._reference import ReferenceLike, read_reference
from scbig.metrics._score import Scores
from scbig.metrics._score_samples import score_samples
from scbig.metrics._setting import make_setting, sample_real
from scbig.metrics._sides import read_side


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
        Names out of :data:`scbig.metrics.METRICS`; by default all.
    seed
        Seed of draws, halvings and principal components.

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

    def __init__(
        self,
        real: AnnData,
        schema: ScreenSchema,
        *,
        reference: ReferenceLike | None = None,
        metrics: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        self._schema = schema
        self._metrics = choose_metrics(metrics)
        self._seed = seed
        use_squares = any("weights" in metric.takes for metric in self._metrics.values())
        side = read_side(real, schema, "real", layer=schema.layer)
        prepared = make_real(side, schema, use_squares=use_squares)
        trained = read_reference(reference, schema, prepared)
        self._setting = make_setting(prepared, trained, self._metrics, seed)
        self._sample = sample_real(self._setting, seed)

    def score(
        self, predicted: AnnData, *, layer: str | None = None, is_paired: bool = False
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
            ``X`` holds the control cell that each row started from, as after
            ``predict(perturbations=[...])`` of scbig. Means are then the mean of all real
            controls plus the mean change, which takes off the chance of the drawn controls.

        Returns
        -------
        One row a condition, context and metric: ``perturbation`` (as ``real`` writes it),
        ``context``, ``metric``, ``value``, ``status``. The status is ``"ok"`` or says why the
        value is NaN.

        Raises
        ------
        ValueError
            When the predicted cells cannot be read, or nothing that ``real`` has is predicted.
        """
        sample = sample_predicted(
            predicted,
            self._setting.real,
            self._schema,
            self._setting.projection,
            layer=layer,
            is_paired=is_paired,
            seed=self._seed,
        )
        return self._tabulate(score_samples(self._metrics, self._setting, self._sample, sample))

    def score_ceiling(self) -> pd.DataFrame:
        """Score the real cells against themselves: what a second measurement would reach.

        The cells of each condition are halved at random and one half is scored against the
        other, both against all real controls, as a mean of three halvings. Correlations are
        stepped up to that of all cells by the formula of Spearman and Brown, 2r / (1 + r), if
        they are positive; other metrics are left as they are, those of half the cells.

        Returns
        -------
        As :meth:`score`, with a status that begins with ``"ok"`` and names the rule.
        """
        return self._tabulate(
            score_ceiling(self._metrics, self._setting, self._sample, self._seed)
        )

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
        n = len(self._setting.real.keys)
        return self._tabulate({name: (np.full(n, np.nan), [reason] * n) for name in self._metrics})

    def _tabulate(self, scores: dict[str, Scores]) -> pd.DataFrame:
        real = self._setting.real
        tables = [
            pd.DataFrame(
                {
                    "perturbation": real.labels,
                    "context": [context for _, context in real.keys],
                    "metric": name,
                    "value": values,
                    "status": statuses,
                }
            )
            for name, (values, statuses) in scores.items()
        ]
        return pd.concat(tables, ignore_index=True)

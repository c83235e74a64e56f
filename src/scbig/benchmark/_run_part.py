"""One predictor on one split: trained, asked for the test conditions, and scored."""

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._constants import OBS
from scbig._protocols import Predictor
from scbig.benchmark._attempt import Attempt
from scbig.benchmark._measure import Meter
from scbig.benchmark._parts import Part, PartResult
from scbig.benchmark._predictors import PredictorSpec
from scbig.benchmark._resources import Resources
from scbig.benchmark._settings import BenchmarkSettings
from scbig.benchmark._split_cells import SplitCells, SplitLabels
from scbig.metrics import Evaluator

LAYER = "prediction"
COLUMNS = (
    "predictor", "split", "seed", "perturbation", "context", "metric", "value", "status",
    "seconds", "peak_memory_mb",
)  # fmt: skip


class SplitRunner:
    """Runs the parts of one split.

    Parameters
    ----------
    labels, cells
        The split.
    resources
        Prior knowledge.
    settings
        How to run.
    seed
        Seed of the ceiling and of the cells that are drawn for scoring.
    """

    def __init__(
        self,
        labels: SplitLabels,
        cells: SplitCells,
        resources: Resources,
        settings: BenchmarkSettings,
        seed: int,
    ) -> None:
        self._labels = labels
        self._cells = cells
        self._resources = resources
        self._settings = settings
        self._controls = cells.get_controls()
        self._evaluator = Evaluator(
            cells.real,
            cells.schema,
            reference=cells.train,
            metrics=settings.get_metrics(),
            seed=seed,
        )

    def run(self, part: Part) -> PartResult:
        """Run one part.

        Parameters
        ----------
        part
            The part.

        Returns
        -------
        Its scores, or rows that say why there are none.
        """
        start = time.perf_counter()
        meter, attempt = Meter(), Attempt(part.name)
        with attempt:
            scores = self._score(part, meter)
        if attempt.error is not None:
            scores = self._make_failed_rows(attempt.error)
        scores = scores.assign(
            predictor=part.predictor,
            split=part.split.name,
            seed=part.seed,
            seconds=meter.seconds,
            peak_memory_mb=meter.peak_memory_mb,
        )
        return PartResult(scores[list(COLUMNS)], time.perf_counter() - start, attempt.error)

    def _score(self, part: Part, meter: Meter) -> pd.DataFrame:
        if part.spec is None:
            with meter:
                return self._evaluator.score_ceiling()
        with meter:
            predicted = self._predict(part.spec, part.seed)
        # Only our own predictors promise that X is the control cell that each row starts from.
        return self._evaluator.score(predicted, layer=LAYER, is_paired=OBS.SOURCE in predicted.obs)

    def _predict(self, spec: PredictorSpec, seed: int) -> AnnData:
        schema, train = self._cells.schema, self._cells.copy_train()
        spec.predictor_class.setup_anndata(
            train,
            perturbation_key=schema.perturbation_key,
            control=schema.control,
            context_keys=schema.context_keys,
            separator=schema.separator or "",
            is_log1p=self._settings.is_log1p,
        )
        predictor = spec.make_predictor(train, self._resources, seed)
        spec.train_predictor(predictor, list(self._labels.val) or None)
        return self._ask(predictor, self._labels.test["perturbation"].unique().tolist(), seed)

    def _ask(self, predictor: Predictor, wanted: Sequence[str], seed: int) -> AnnData:
        """Predict from the control cells of the tested contexts, the same for all."""
        predicted = predictor.predict(
            self._controls.copy(),
            perturbations=wanted,
            key_added=LAYER,
            n_cells=self._settings.n_cells,
            seed=seed,
        )
        if LAYER not in predicted.layers:
            raise ValueError(
                f"predict(key_added={LAYER!r}) returned an AnnData with the layers "
                f"{[name for name in predicted.layers if name is not None]}."
            )
        return predicted

    def _make_failed_rows(self, error: str) -> pd.DataFrame:
        """Give every score that is missing a row that says why."""
        metrics = pd.DataFrame({"metric": list(self._settings.get_metrics())})
        return self._labels.test.merge(metrics, how="cross").assign(value=np.nan, status=error)

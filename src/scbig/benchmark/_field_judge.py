"""The judge of the field: what cell-eval2 says of a prediction, beside its baseline and replicate.

Its rules are its own: whole counts, tests on single cells, and a scale on which the mean response
of the conditions is 0 and another measurement of the same cells is 1. Nothing is changed here but
where cells come from.
"""

import io
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._constants import COUNTS, JUDGE
from scbig._optional import require
from scbig.benchmark._judged_cells import (
    add_counts,
    count_cells,
    draw_equal,
    draw_half,
)
from scbig.data import ScreenSchema, make_judged, make_judged_real

logger = logging.getLogger(__name__)

AVERAGE = "average"
COLUMNS = (
    "predictor", "split", "seed", "context", "metric", "value", "scaled", "baseline",
    "replicate", "status",
)  # fmt: skip
# A prediction of as many cells as the largest condition has must fit into memory.
MAX_CELLS = 1000


def describe_judge(name: str) -> str:
    """Name a judge with its version; parts that another one judged are not joined with them."""
    require("cell_eval2", "vcc")
    return f"{name}, cell-eval2 {version('cell-eval2')}"


@dataclass(frozen=True)
class JudgeScale:
    """The two ends of the judge's scale, by metric.

    Attributes
    ----------
    baseline
        What the mean response of all conditions scores; it is 0 on the scale. A metric that has
        no value there is missing.
    replicate
        What one half of the real cells scores against the other (mean of five halvings); it is 1.
        A metric that some halving has no value of is not there.
    problems
        Why a metric lacks one of them.
    """

    baseline: Mapping[str, float]
    replicate: Mapping[str, float]
    problems: Mapping[str, str]


class ContextJudge:
    """Judges predictions of one context, as cell-eval2 would judge a submission.

    Parameters
    ----------
    name
        Name of a set of rules of cell-eval2, such as ``"vcc2026"``.
    real
        Real cells of one context: counts, and the labels of the judge.
    """

    def __init__(self, name: str, real: AnnData) -> None:
        self._rules: ModuleType = require("cell_eval2", "vcc")
        self.real = real
        config = self._rules.EvalConfig.from_preset(name)
        # Another engine gives other numbers, and "auto" would depend on the machine.
        config = replace(config, device="cpu", de=replace(config.de, backend="pdex"))
        measured = set(real.var_names)
        if measured.isdisjoint(self.conditions):
            logger.info("No perturbation is named as a gene that was measured: none is left out.")
            config = replace(config, target_gene_map={"*": None})
        self._config = config
        catalogue = require("cell_eval2.catalog", "vcc")
        chosen, _ = catalogue.resolve_metrics(config.metrics)
        self._policies = {
            metric: catalogue.CATALOG[metric].scoring
            for metric in chosen
            if catalogue.CATALOG[metric].scoring.scored
        }

    @property
    def conditions(self) -> set[str]:
        """Labels of the real conditions."""
        return set(self.real.obs[JUDGE.TARGET]) - {JUDGE.CONTROL}

    @property
    def is_excluding(self) -> bool:
        """Whether targets are left out of their conditions' scores, by the names of genes."""
        return self._config.target_gene_map is None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are scored."""
        return tuple(self._policies)

    @cached_property
    def scale(self) -> JudgeScale:
        """The ends of the scale, computed when they are first asked for."""
        theirs = require("cell_eval2.baseline", "vcc")
        config = self._config
        names = {"pert_col": config.pert_col, "control": config.control}
        with _hush():
            profile = theirs.generic_response_profile(
                self.real, exclude_target_gene=self.is_excluding, **names
            )
            cells = theirs.build_baseline_prediction(profile, self.real, **names)
            # They are means, which are no whole counts: the one liberty that it takes itself.
            baseline, lost = self._measure(cells, self.real, theirs.baseline_config(config))
            replicate, problems = self._measure_replicate()
        return JudgeScale(baseline, replicate, problems | lost)

    def _measure(
        self, predicted: AnnData, real: AnnData, config: Any
    ) -> tuple[dict[str, float], dict[str, str]]:
        """Compute the scores that there are, and why others are not."""
        values, problems = {}, {}
        table = self._rules.compute_metrics(predicted, real, config=config)
        for name in self.metrics:
            try:
                found = self._rules.aggregate_metrics(table, metrics=[name])
            except ValueError as error:
                problems[name] = f"no value: {_shorten(error)}"
                continue
            mean = dict(zip(found["metric"], found["mean"], strict=True)).get(name)
            if mean is None or not np.isfinite(mean):
                problems[name] = "no value: no condition has one"
            else:
                values[name] = float(mean)
        return values, problems

    def _measure_replicate(self) -> tuple[dict[str, float], dict[str, str]]:
        """Measure all metrics at once, or one by one where that is refused for the lack of one.

        Each time is five halvings with all tests of both halves: one by one it takes up to seven
        times as long. It is once a context and split, on real cells alone.
        """
        anchor = require("cell_eval2.anchor", "vcc")
        values: dict[str, float] = {}
        problems: dict[str, str] = {}
        for names in (self.metrics, *((name,) for name in self.metrics)):
            if set(names) <= set(values):
                continue
            config = replace(self._config, metrics=list(names))
            try:
                _, frame = anchor.compute_replicate_anchor(self.real, config=config)
            except ValueError as error:
                problems |= dict.fromkeys(names, f"no replicate: {_shorten(error)}")
                continue
            found = dict(zip(frame["metric"], frame["replicate"], strict=True))
            values |= {name: float(found[name]) for name in names}
        return values, {name: text for name, text in problems.items() if name not in values}

    def score(self, predicted: AnnData, real: AnnData | None = None) -> pd.DataFrame:
        """Score predicted cells.

        Parameters
        ----------
        predicted
            Counts of predicted and control cells with the labels of the judge.
        real
            Cells to compare them with, if not those of the judge.

        Returns
        -------
        A row for each metric, and one for the average of their scaled values: ``metric``,
        ``value``, ``scaled``, ``baseline``, ``replicate`` and ``status``.
        """
        missing = sorted(self.conditions - set(predicted.obs[JUDGE.TARGET]))
        if missing:
            raise ValueError(f"{len(missing)} conditions are not predicted: {missing[:5]}.")
        real = self.real if real is None else real
        with _hush():
            values, problems = self._measure(predicted, real, self._config)
        rows = [self._scale_row(name, values.get(name), problems) for name in self.metrics]
        scaled = [row["scaled"] for row in rows]
        is_whole = bool(np.isfinite(scaled).all())
        status = "ok" if is_whole else "some scores have no scaled value"
        average = float(np.mean(scaled)) if is_whole else np.nan
        rows.append({"metric": AVERAGE, "scaled": average, "status": status})
        return pd.DataFrame(rows)

    def score_half(self, seed: int) -> pd.DataFrame:
        """Score a random half of the real cells against the other, as :meth:`score`."""
        half = draw_half(self.real.obs[JUDGE.TARGET], seed)
        return self.score(self.real[half].copy(), self.real[~half].copy())

    def get_failed(self, reason: str) -> pd.DataFrame:
        """Make the rows of what cannot be judged, as :meth:`score`."""
        return pd.DataFrame({"metric": [*self.metrics, AVERAGE], "status": reason})

    def _scale_row(
        self, metric: str, value: float | None, problems: Mapping[str, str]
    ) -> dict[str, Any]:
        """Put one score on the judge's scale, by its rules for what is beyond the ends."""
        baseline = self.scale.baseline.get(metric, np.nan)
        replicate = self.scale.replicate.get(metric, np.nan)
        row = {
            "metric": metric,
            "value": np.nan if value is None else value,
            "scaled": np.nan,
            "baseline": baseline,
            "replicate": replicate,
        }
        problem = problems.get(metric) or self.scale.problems.get(metric)
        if value is None or problem is not None:
            return row | {"status": problem}
        scoring = require("cell_eval2.scoring", "vcc")
        try:
            policy = replace(self._policies[metric], anchor=replicate)
        except ValueError as error:
            return row | {"status": _shorten(error)}
        if scoring.is_degenerate(baseline, policy):
            return row | {"status": "no scale: the replicate is not better than the baseline"}
        return row | {"scaled": scoring.score_one(value, baseline, policy), "status": "ok"}


class FieldJudge:
    """Judges predictions of the test conditions of a split, each context by itself.

    Parameters
    ----------
    name
        Name of a set of rules of cell-eval2.
    real
        Test cells and control cells of the tested contexts.
    train
        Cells that predictors learn from. Where they have as many cells of every tested condition,
        as in the seen task, these are the ceiling.
    schema
        Where both keep their labels.
    seed
        Seed of the cells that are drawn.

    Raises
    ------
    ImportError
        When cell-eval2 is not installed (extra ``vcc``).
    ValueError
        When the cells have no counts.
    """

    def __init__(
        self, name: str, real: AnnData, train: AnnData, schema: ScreenSchema, seed: int
    ) -> None:
        self.name = name
        self._real, self._train, self._schema, self._seed = real, train, schema, seed
        self._cells = make_judged_real(real, schema)
        contexts = self._cells.obs[JUDGE.CONTEXT]
        self._judges = {
            context: ContextJudge(name, self._cells[contexts == context].copy())
            for context in contexts.unique()
        }
        self._n_real = count_cells(real, schema)
        self._tell_combinations()

    @property
    def n_cells(self) -> int:
        """Cells to predict of each condition: as many as the largest has, at most 1,000."""
        return min(max(self._n_real.values()), MAX_CELLS)

    def score(self, predicted: AnnData, layer: str | None = None) -> pd.DataFrame:
        """Score a prediction.

        Parameters
        ----------
        predicted
            Predicted cells, of which as many are taken as there are real ones of the condition.
        layer
            Layer with the prediction.

        Returns
        -------
        Rows as of :class:`ContextJudge`, with their ``context``.
        """
        chosen = draw_equal(predicted, self._schema, self._n_real, self._seed)
        shown = predicted[chosen].copy()
        cells, _ = make_judged(shown, self._real, self._schema, layer, self._cells)
        return self._tabulate(
            lambda name, judge: judge.score(cells[cells.obs[JUDGE.CONTEXT] == name].copy())
        )

    def score_ceiling(self) -> pd.DataFrame:
        """Score real cells: those of training, or one half of the real cells against the other.

        Returns
        -------
        As :meth:`score`. Against half of the cells, an error is larger than against all.
        """
        trained = count_cells(self._train, self._schema)
        if all(trained.get(group, 0) >= 0.9 * n for group, n in self._n_real.items()):
            layer = COUNTS if COUNTS in self._train.layers else None
            return self.score(self._train, layer)
        return self._tabulate(lambda _, judge: judge.score_half(self._seed))

    def get_failed(self, reason: str) -> pd.DataFrame:
        """Make the rows of a predictor that has nothing to judge.

        Parameters
        ----------
        reason
            Why it has nothing.

        Returns
        -------
        As :meth:`score`, without values.
        """
        return self._tabulate(lambda _, judge: judge.get_failed(reason))

    def _tell_combinations(self) -> None:
        """Say what the judge's own warning says, which would come with every predictor."""
        judges = [judge for judge in self._judges.values() if judge.is_excluding]
        labels = {label for judge in judges for label in judge.conditions}
        several = sorted(label for label in labels if len(self._schema.parse(label)) > 1)
        if several:
            logger.warning(
                "cell-eval2 leaves the target of a condition out of some scores, by the name of "
                "its gene. %d combinations, such as %r, are no gene to it: they are scored with "
                "their targets, which is easier.",
                len(several),
                several[0],
            )

    def _tabulate(self, ask: Callable[[str, ContextJudge], pd.DataFrame]) -> pd.DataFrame:
        """Ask the judge of each context; what its rules refuse in one leaves the others.

        That is a `ValueError`, and will be refused again. Any other error may be an accident:
        it is the caller's, and no context is kept.
        """
        tables = []
        for name, judge in self._judges.items():
            try:
                rows = ask(name, judge)
            except ValueError as error:
                logger.warning("Not judged in %r: %s", name, _shorten(error))
                rows = judge.get_failed(_shorten(error))
            tables.append(rows.assign(context=name))
        columns = [name for name in COLUMNS if name not in ("predictor", "split", "seed")]
        return pd.concat(tables, ignore_index=True).reindex(columns=columns)


def make_judge(
    name: str, screen: AnnData, real: AnnData, train: AnnData, schema: ScreenSchema, seed: int
) -> FieldJudge:
    """Make the judge of a split, with the counts that the screen keeps beside its expression.

    Parameters
    ----------
    name
        Name of a set of rules.
    screen
        The whole screen, whose ``layers["counts"]`` predictors are not shown.
    real, train, schema, seed
        See :class:`FieldJudge`.

    Returns
    -------
    The judge.
    """
    if COUNTS in screen.layers and screen.obs_names.is_unique:
        real, train = (add_counts(cells, screen) for cells in (real, train))
    return FieldJudge(name, real, train, schema, seed)


def _shorten(error: Exception, n_shown: int = 200) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= n_shown else f"{text[:n_shown]} ..."


@contextmanager
def _hush() -> Iterator[None]:
    """Keep bars of the tests and repeated warnings of the judge from the terminal."""
    theirs = logging.getLogger("cell_eval2")
    level = theirs.level
    theirs.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        theirs.setLevel(level)

"""The judge of the field on one context: what cell-eval2 says, beside its baseline and replicate.

Its rules are its own: whole counts, tests on single cells, and a scale on which the mean response
of the conditions is 0 and another measurement of the same cells is 1. Nothing is changed here but
where cells come from.
"""

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._constants import JUDGE
from scbig._optional import require
from scbig.benchmark._judged_cells import draw_half

logger = logging.getLogger(__name__)

AVERAGE = "average"


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
                problems[name] = f"no value: {shorten(error)}"
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
                problems |= dict.fromkeys(names, f"no replicate: {shorten(error)}")
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
            return row | {"status": shorten(error)}
        if scoring.is_degenerate(baseline, policy):
            return row | {"status": "no scale: the replicate is not better than the baseline"}
        return row | {"scaled": scoring.score_one(value, baseline, policy), "status": "ok"}


def shorten(error: Exception, n_shown: int = 200) -> str:
    """Write what an error says in one line of so many characters."""
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

"""What does each condition score by each metric: for a prediction, and for the ceiling?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig.metrics._catalogue import Metric
from scbig.metrics._de_calls import DeCalls, call_de_genes
from scbig.metrics._distribution import PreparedCells
from scbig.metrics._ground_truth import MAX_REAL_CELLS, GroundTruth, Sample, draw_rows
from scbig.metrics._inputs import Averages, Moments, compute_moments

OK = "ok"
NO_REFERENCE = "needs reference=: the training cells, or the means of the training conditions"
NO_NUMBER = "undefined: the metric gave no finite number"
ALL_TARGETS = "this condition perturbs every gene: none is left to compare"
LONE_CELL = "1 real cell: there are no halves"
CEILING_OK = {
    "spearman_brown": "ok: Spearman-Brown of split halves",
    "half": "ok: one half against the other",
}
CEILING_MEASURED = "ok: training cells against test cells"
N_HALVINGS = 3

# What may be raised on data that cannot be scored; anything else is an error of scbig. Tests run
# in a library of others, whose errors are as they are.
_EXPECTED: Mapping[str, tuple[type[Exception], ...]] = MappingProxyType(
    {
        "means": (ValueError,),
        "cells": (ValueError,),
        "genes": (ValueError,),
        "tests": (ValueError, ImportError, LookupError, ArithmeticError, RuntimeError),
    }
)
_KEY, _CONTROL = "condition", "control"

# A value and a status for each condition.
Scores = tuple[np.ndarray, list[str]]

# The same tests on both sides: real and predicted cells with the real controls, the column of
# labels and the label of the controls.
TestInputs = tuple[AnnData, AnnData, str, str]


def score_samples(
    metrics: Mapping[str, Metric], truth: GroundTruth, real: Sample, predicted: Sample
) -> dict[str, Scores]:
    """Score every condition by every metric, among the conditions of its context."""
    pairs = list(_make_pairs(truth, real, predicted))
    return {name: _join([_score_pair(m, pair) for pair in pairs]) for name, m in metrics.items()}


def score_ceiling(
    metrics: Mapping[str, Metric], truth: GroundTruth, sample: Sample, seed: int
) -> dict[str, Scores]:
    """Score one random half of each condition's real cells against the other.

    The controls are all real controls, on both sides, as for predictions. Returned is by metric
    the mean over three halvings (one where cells are compared gene by gene or tests are run), and
    a status that names the rule.
    """
    runs: dict[str, list[Scores]] = {name: [] for name in metrics}
    for n, (one, other) in enumerate(make_halves(truth, sample, seed)):
        is_quick = {name: m.level in ("means", "cells") for name, m in metrics.items()}
        wanted = {name: m for name, m in metrics.items() if n == 0 or is_quick[name]}
        for name, scores in score_samples(wanted, truth, one, other).items():
            runs[name].append(scores)
    return {name: _average_runs(metric, runs[name]) for name, metric in metrics.items()}


@dataclass(frozen=True)
class Pair:
    """Conditions of one context, real and predicted.

    Attributes
    ----------
    real, predicted
        Mean expression, ``(C, G)``. A condition that is not predicted holds its real mean, so
        that the others can be ranked among all; ``problems`` keeps it from being scored.
    control
        Mean expression of the real controls, ``(G,)``.
    target_mask
        The genes that each condition perturbs, ``(C, G)``.
    reference
        Mean of the training conditions, ``(G,)``, or ``None``.
    weights
        Weights of the genes, ``(C, G)``, or ``None`` if no metric takes them.
    real_cells, predicted_cells
        Cells of each condition as points, ``(n, d)``; empty if no metric takes them.
    in_genes
        The cells of each condition in all genes.
    make_tests
        Makes what tests on cells take.
    problems
        By argument, why it is missing for each condition; empty text where it is there.
    """

    real: Averages
    predicted: Averages
    control: Averages
    target_mask: np.ndarray
    reference: Averages | None
    weights: np.ndarray | None
    real_cells: Sequence[PreparedCells]
    predicted_cells: Sequence[PreparedCells]
    in_genes: "CellsInGenes"
    make_tests: Callable[[], TestInputs]
    problems: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return len(self.real)

    def get_problems(self, takes: Sequence[str]) -> list[str]:
        """Say for each condition what is missing of some arguments; empty if nothing is."""
        found = [self.problems[name] for name in takes if name in self.problems]
        return [next(filter(None, texts), "") for texts in zip(*found, strict=True)] or [""] * len(
            self
        )


class CellsInGenes:
    """Real and predicted cells of the conditions of a context, read when asked for.

    What tests call is kept, as several metrics take it; cells are not, as they are many.
    """

    def __init__(
        self, truth: GroundTruth, real: Sample, predicted: Sample, context: str, block: slice
    ) -> None:
        self._truth, self._sides = truth, (real, predicted)
        self._rows = (real.compared[block], predicted.compared[block])
        self._context = context
        self._calls: dict[int, DeCalls] = {}

    @cached_property
    def control(self) -> sparse.csr_matrix:
        """The real control cells, at most 2,000, drawn once for all predictions."""
        rows = draw_rows(self._truth.cells.groups[(), self._context], MAX_REAL_CELLS, 0, 0)
        return sparse.csr_matrix(self._truth.cells.expression.rows(rows))

    def get(self, i: int, takes: Sequence[str]) -> dict[str, Any]:
        """Give the arguments of a metric for a condition."""
        if "calls" in takes:
            if i not in self._calls:
                self._calls[i] = call_de_genes(**self._read(i), control=self.control)
            return {"calls": self._calls[i]}
        found: dict[str, Any] = dict(self._read(i))
        if "control" in takes:
            found["control"] = self.control
        return found

    def _read(self, i: int) -> dict[str, np.ndarray]:
        sides = zip(("real", "predicted"), self._sides, self._rows, strict=True)
        return {
            # Rows are float32 whatever was stored; the metrics are to know what was.
            name: side.expression.rows(rows[i]).astype(side.expression.dtype, copy=False)
            for name, side, rows in sides
        }


def _make_pairs(truth: GroundTruth, real: Sample, predicted: Sample) -> Iterator[Pair]:
    """Make a pair for each context, in the order of the conditions."""
    for context, block in truth.get_blocks():
        mask = truth.target_mask[block]
        is_all = np.all(mask, axis=1)
        sides = real.problems[block], predicted.problems[block]
        yield Pair(
            real=real.mean[block],
            predicted=predicted.mean[block],
            control=truth.control[context],
            target_mask=mask & ~is_all[:, None],
            reference=truth.reference.get(context),
            weights=None if truth.weights is None else truth.weights[block],
            real_cells=real.points[block],
            predicted_cells=predicted.points[block],
            in_genes=CellsInGenes(truth, real, predicted, context, block),
            make_tests=partial(_make_tests, truth, real, predicted, context, block),
            problems={
                "real": sides[0],
                "predicted": sides[1],
                "calls": [one or other for one, other in zip(*sides, strict=True)],
                "weights": truth.weight_problems[block],
                "target_mask": [ALL_TARGETS if everything else "" for everything in is_all],
            },
        )


def _make_tests(
    truth: GroundTruth, one: Sample, other: Sample, context: str, block: slice
) -> TestInputs:
    """Make what tests on the cells of a context take.

    Both sides have the same real controls and are labelled by the number of the condition in
    the context. Conditions that one side lacks are left out of both.
    """
    problems = zip(one.problems[block], other.problems[block], strict=True)
    chosen = [i for i, texts in enumerate(problems) if not any(texts)]
    controls = truth.cells.expression.rows(truth.cells.groups[(), context])
    # Values that one side holds in 16 bits are rounded on the other, too, or ties would break.
    precision = min(one.expression.dtype, other.expression.dtype)
    sides = [
        _stack(sample, block, chosen, controls, truth.cells.genes, precision)
        for sample in (one, other)
    ]
    return sides[0], sides[1], _KEY, _CONTROL


def _stack(
    sample: Sample,
    block: slice,
    chosen: list[int],
    controls: np.ndarray,
    genes: Sequence[str],
    precision: np.dtype,
) -> AnnData:
    rows = [sample.rows[block][i] for i in chosen]
    sizes = [len(controls), *map(len, rows)]
    labels = np.repeat([_CONTROL, *map(str, chosen)], sizes)
    cells = sample.expression.rows(np.concatenate([np.empty(0, dtype=np.int64), *rows]))
    return AnnData(
        np.concatenate([controls, cells]).astype(precision).astype(np.float32),
        obs=pd.DataFrame({_KEY: labels}, index=[f"cell_{i}" for i in range(len(labels))]),
        var=pd.DataFrame(index=list(genes)),
    )


def _join(parts: list[Scores]) -> Scores:
    values = np.concatenate([values for values, _ in parts])
    return values, [status for _, statuses in parts for status in statuses]


def _score_pair(metric: Metric, pair: Pair) -> Scores:
    """Score all conditions of a pair; NaN where there is no value, and the status says why."""
    if "reference" in metric.takes and pair.reference is None:
        return np.full(len(pair), np.nan), [NO_REFERENCE] * len(pair)
    try:
        values, errors = _RUN[metric.level](metric, pair)
    except _EXPECTED[metric.level] as error:
        values, errors = np.full(len(pair), np.nan), [_describe(error)] * len(pair)
    missing = pair.get_problems(metric.takes)
    problems = [one or other for one, other in zip(missing, errors, strict=True)]
    is_scored = np.array([not problem for problem in problems], dtype=bool)
    values = np.where(is_scored & np.isfinite(values), values, np.nan)
    return values, [
        problem or (NO_NUMBER if np.isnan(value) else OK)
        for problem, value in zip(problems, values, strict=True)
    ]


def _score_means(metric: Metric, pair: Pair) -> Scores:
    values = metric.function(**{name: getattr(pair, name) for name in metric.takes})
    return values, [""] * len(pair)


def _score_cells(metric: Metric, pair: Pair) -> Scores:
    values, errors = np.full(len(pair), np.nan), [""] * len(pair)
    for i, (real, predicted) in enumerate(zip(pair.real_cells, pair.predicted_cells, strict=True)):
        if not predicted.n_cells:
            continue
        try:
            values[i] = metric.function(real, predicted)
        except ValueError as error:
            errors[i] = _describe(error)
    return values, errors


def _score_genes(metric: Metric, pair: Pair) -> Scores:
    values, errors = np.full(len(pair), np.nan), pair.get_problems(metric.takes)
    for i in np.flatnonzero([not error for error in errors]).tolist():
        try:
            values[i] = metric.function(**pair.in_genes.get(i, metric.takes))
        except ValueError as error:
            errors[i] = _describe(error)
    return values, errors


def _score_tests(metric: Metric, pair: Pair) -> Scores:
    real, predicted, key, control = pair.make_tests()
    by_label = metric.function(real, predicted, perturbation_key=key, control=control)
    values = by_label.reindex(list(map(str, range(len(pair))))).to_numpy(float)
    return values, [""] * len(pair)


_RUN: Mapping[str, Callable[[Metric, Pair], Scores]] = MappingProxyType(
    {
        "means": _score_means,
        "cells": _score_cells,
        "genes": _score_genes,
        "tests": _score_tests,
    }
)


def _describe(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def make_halves(truth: GroundTruth, sample: Sample, seed: int) -> Iterator[tuple[Sample, Sample]]:
    """Halve the real cells of each condition at random, three times."""
    total, n_cells = truth.moments.total, truth.moments.n_cells
    is_lone = n_cells < 2
    problems = [LONE_CELL if is_one else "" for is_one in is_lone]
    for n in range(N_HALVINGS):
        rng = [np.random.default_rng([seed, n, i]) for i in range(len(n_cells))]
        rows = [_halve(group, r) for group, r in zip(sample.rows, rng, strict=True)]
        # Without points, there are fewer of them than generators.
        points = [
            (_halve(p.values, r), p.rounding) for p, r in zip(sample.points, rng, strict=False)
        ]
        first = compute_moments(sample.expression, [pair[0] for pair in rows])
        second = Moments(n_cells - first.n_cells, total - first.total, first.dtype)
        # A lone cell stands on both sides, so that the others are ranked among all conditions.
        means = (sample.mean.where(is_lone, half.mean) for half in (first, second))
        one, other = (
            Sample(
                mean,
                [PreparedCells(pair[i], rounding) for pair, rounding in points],
                sample.expression,
                [pair[i] for pair in rows],
                [pair[i][:MAX_REAL_CELLS] for pair in rows],
                problems,
            )
            for i, mean in enumerate(means)
        )
        yield one, other


def _halve(items: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(len(items))
    return items[order[: len(items) // 2]], items[order[len(items) // 2 :]]


def _average_runs(metric: Metric, runs: list[Scores]) -> Scores:
    values = np.mean([values for values, _ in runs], axis=0)
    if metric.ceiling == "spearman_brown":
        # The formula is one for agreeing halves; below zero it leaves [-1, 1].
        values = np.where(values > 0, 2 * values / (1 + np.maximum(values, 0)), values)
    statuses = [
        next((status for status in texts if status != OK), CEILING_OK[metric.ceiling])
        for texts in zip(*(statuses for _, statuses in runs), strict=True)
    ]
    return values, statuses

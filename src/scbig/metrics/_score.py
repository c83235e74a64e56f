"""One metric on one pair of sides: a value and a status for each condition."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from scbig.metrics._catalogue import Metric
from scbig.metrics._pair import Pair

OK = "ok"
NO_REFERENCE = "needs reference=: the training cells, or the means of the training conditions"
NO_NUMBER = "undefined: the metric gave no finite number"

# What may be raised on data that cannot be scored; anything else is an error of scbig. Tests run
# in a library of others, whose errors are as they are.
_EXPECTED: Mapping[str, tuple[type[Exception], ...]] = MappingProxyType(
    {
        "means": (ValueError,),
        "cells": (ValueError,),
        "tests": (ValueError, ImportError, LookupError, ArithmeticError, RuntimeError),
    }
)

Scores = tuple[np.ndarray, list[str]]


def score_pair(metric: Metric, pair: Pair) -> Scores:
    """Score all conditions of a pair.

    Parameters
    ----------
    metric
        The metric.
    pair
        Both sides of one context.

    Returns
    -------
    Values, shape ``(C,)``, NaN where there is none; and for each condition ``"ok"`` or the
    reason why there is none.
    """
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


def _score_tests(metric: Metric, pair: Pair) -> Scores:
    real, predicted, key, control = pair.make_tests()
    by_label = metric.function(real, predicted, perturbation_key=key, control=control)
    values = by_label.reindex(list(map(str, range(len(pair))))).to_numpy(float)
    return values, [""] * len(pair)


_RUN: Mapping[str, Callable[[Metric, Pair], Scores]] = MappingProxyType(
    {"means": _score_means, "cells": _score_cells, "tests": _score_tests}
)


def _describe(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

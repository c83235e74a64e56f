"""Predictors on splits of a screen, scored alike, beside floors and ceiling."""

from scbig.benchmark._parts import Progress
from scbig.benchmark._run import BenchmarkResult, run
from scbig.benchmark._settings import (
    BenchmarkSettings,
    PredictorSpec,
    Resources,
    get_predictor_names,
    get_predictors,
)
from scbig.benchmark._summary import compare, find_best_floors, summarise

__all__ = [
    "BenchmarkResult",
    "BenchmarkSettings",
    "PredictorSpec",
    "Progress",
    "Resources",
    "compare",
    "find_best_floors",
    "get_predictor_names",
    "get_predictors",
    "run",
    "summarise",
]

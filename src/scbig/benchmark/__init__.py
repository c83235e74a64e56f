"""Predictors on splits of a screen, scored alike, beside floors and ceiling."""

from scbig.benchmark._compare import compare, find_best_floors
from scbig.benchmark._predictors import PredictorSpec
from scbig.benchmark._progress import Progress
from scbig.benchmark._registry import get_predictor_names, get_predictors
from scbig.benchmark._resources import Resources
from scbig.benchmark._run import BenchmarkResult, run
from scbig.benchmark._settings import BenchmarkSettings
from scbig.benchmark._summary import summarise

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

"""Predictors on splits of a screen, scored alike, beside floors and ceiling."""

from typing import TYPE_CHECKING

from scbig._optional import load_lazily

if TYPE_CHECKING:
    from scbig.benchmark._parts import Progress
    from scbig.benchmark._run import BenchmarkResult, run
    from scbig.benchmark._settings import (
        BenchmarkSettings,
        Resources,
        get_predictor_names,
        get_predictors,
    )
    from scbig.benchmark._summary import compare, find_best_floors, summarise
    from scbig.benchmark.catalogue import PredictorSpec

# The help of the command line is made of the catalogue, and does not wait for the rest.
__getattr__, __dir__ = load_lazily(
    __name__,
    {
        "BenchmarkResult": "scbig.benchmark._run",
        "BenchmarkSettings": "scbig.benchmark._settings",
        "PredictorSpec": "scbig.benchmark.catalogue",
        "Progress": "scbig.benchmark._parts",
        "Resources": "scbig.benchmark._settings",
        "compare": "scbig.benchmark._summary",
        "find_best_floors": "scbig.benchmark._summary",
        "get_predictor_names": "scbig.benchmark._settings",
        "get_predictors": "scbig.benchmark._settings",
        "run": "scbig.benchmark._run",
        "summarise": "scbig.benchmark._summary",
    },
)

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

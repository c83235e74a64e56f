"""The resolved configuration of a benchmark, written beside its results."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from scbig import __version__
from scbig.benchmark._fingerprint import make_fingerprint
from scbig.benchmark._parts import Part
from scbig.benchmark._predictors import PredictorSpec
from scbig.benchmark._settings import BenchmarkSettings
from scbig.splits import Split

LIBRARIES = ("anndata", "numpy", "scikit-learn", "scipy", "scvi-tools", "torch")


@dataclass(frozen=True)
class Config:
    """What a benchmark was run with.

    Attributes
    ----------
    fixed
        What every part depends on: parts of another value cannot be joined with these.
    splits, predictors
        Content of each split, and class of each predictor, by name.
    settings
        What does not change any part.
    versions
        Of Python and the libraries.
    """

    fixed: dict[str, Any]
    splits: dict[str, dict[str, Any]]
    predictors: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)

    def get_fingerprint(self, part: Part) -> str:
        """Hash all that the result of a part depends on."""
        predictor = self.predictors.get(part.predictor)
        return make_fingerprint([self.fixed, self.splits[part.split.name], predictor, part.seed])


def make_config(
    screen: dict[str, Any],
    resources: dict[str, Any],
    splits: Sequence[Split],
    specs: Sequence[PredictorSpec],
    settings: BenchmarkSettings,
) -> Config:
    """Put a configuration together.

    Parameters
    ----------
    screen
        See :func:`describe_screen`.
    resources
        See :meth:`Resources.describe`.
    splits, specs, settings
        What is run, and how.

    Returns
    -------
    The configuration.
    """
    return Config(
        fixed={
            "scbig": __version__,
            "screen": screen,
            "resources": resources,
            "metrics": list(settings.get_metrics()),
            "n_cells": settings.n_cells,
            "is_log1p": settings.is_log1p,
        },
        splits={split.name: _describe_split(split) for split in splits},
        predictors={spec.name: spec.describe() for spec in specs},
        settings={
            "seeds": None if settings.seeds is None else list(settings.seeds),
            "n_resamples": settings.n_resamples,
            "command": settings.command,
        },
        versions={
            "Python": platform.python_version(),
            "scbig": __version__,
            **{name: version(name) for name in LIBRARIES},
        },
    )


def _describe_split(split: Split) -> dict[str, Any]:
    """Return a split as plain values: tuples are lists in JSON."""
    return {
        name: _to_lists(value) for name, value in asdict(split).items() if value not in (None, ())
    }


def _to_lists(value: Any) -> Any:
    return [_to_lists(part) for part in value] if isinstance(value, tuple) else value

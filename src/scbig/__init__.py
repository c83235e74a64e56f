"""Predict how single cells respond to genetic perturbations, in AnnData workflows."""

from importlib import import_module
from types import ModuleType

from scbig._console import show_lines
from scbig._optional import get_version

# Before all else, so that any module below may say `from scbig import __version__`.
__version__ = get_version()
show_lines()

# The rooms of the public interface. They load on first use, so that `import scbig` and
# `scbig --help` do not wait for torch and scvi-tools.
_ROOMS = (
    "baselines",
    "benchmark",
    "data",
    "metrics",
    "model",
    "pl",
    "pp",
    "predictor",
    "priors",
    "programs",
    "regression",
    "splits",
    "tl",
)

__all__ = ["__version__", *_ROOMS]


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

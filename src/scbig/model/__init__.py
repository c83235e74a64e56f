"""Models of perturbation responses."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scbig.model._effect_regression import EffectRegression
    from scbig.model.dualstream import DualStreamConfig, DualStreamMamba
    from scbig.model.scbig import SCBIG, SCBIGConfig
    from scbig.model.strand import STRAND, STRANDConfig
    from scbig.nn import CellLatent
    from scbig.predictor import FloorComparison

# They load on first use, so that the command line can show the catalogue without torch.
_HOMES = {
    "CellLatent": "scbig.nn",
    "DualStreamConfig": "scbig.model.dualstream",
    "DualStreamMamba": "scbig.model.dualstream",
    "EffectRegression": "scbig.model._effect_regression",
    "FloorComparison": "scbig.predictor",
    "SCBIG": "scbig.model.scbig",
    "SCBIGConfig": "scbig.model.scbig",
    "STRAND": "scbig.model.strand",
    "STRANDConfig": "scbig.model.strand",
}

__all__ = [
    "SCBIG",
    "STRAND",
    "CellLatent",
    "DualStreamConfig",
    "DualStreamMamba",
    "EffectRegression",
    "FloorComparison",
    "SCBIGConfig",
    "STRANDConfig",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

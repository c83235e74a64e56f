"""Models of perturbation responses."""

from typing import TYPE_CHECKING

from scbig._optional import load_lazily

if TYPE_CHECKING:
    from scbig.model._effect_regression import EffectRegression
    from scbig.model.dualstream import DualStreamConfig, DualStreamMamba
    from scbig.model.scbig import SCBIG, SCBIGConfig
    from scbig.model.strand import STRAND, STRANDConfig
    from scbig.nn import CellLatent
    from scbig.predictor import FloorComparison

# Who wants one model does not wait for all.
__getattr__, __dir__ = load_lazily(
    __name__,
    {
        "CellLatent": "scbig.nn",
        "DualStreamConfig": "scbig.model.dualstream",
        "DualStreamMamba": "scbig.model.dualstream",
        "EffectRegression": "scbig.model._effect_regression",
        "FloorComparison": "scbig.predictor",
        "SCBIG": "scbig.model.scbig",
        "SCBIGConfig": "scbig.model.scbig",
        "STRAND": "scbig.model.strand",
        "STRANDConfig": "scbig.model.strand",
    },
)

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

"""Models of perturbation responses."""

from scbig.model._effect_regression import EffectRegression
from scbig.model.dualstream import DualStreamConfig, DualStreamMamba
from scbig.model.scbig import SCBIG, SCBIGConfig
from scbig.model.strand import STRAND, STRANDConfig
from scbig.nn import CellLatent
from scbig.predictor import FloorComparison

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

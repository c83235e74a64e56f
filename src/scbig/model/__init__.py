"""Models of perturbation responses."""

from scbig.model.base import CellLatent, FloorComparison
from scbig.model.dualstream import DualStreamConfig, DualStreamMamba
from scbig.model.scbig import SCBIG, SCBIGConfig
from scbig.model.strand import STRAND, STRANDConfig

__all__ = [
    "SCBIG",
    "STRAND",
    "CellLatent",
    "DualStreamConfig",
    "DualStreamMamba",
    "FloorComparison",
    "SCBIGConfig",
    "STRANDConfig",
]

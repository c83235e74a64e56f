"""Models of perturbation responses."""

from scbig.model.base import FloorComparison
from scbig.model.scbig import SCBIG, SCBIGConfig
from scbig.model.strand import STRAND, CellLatent, STRANDConfig

__all__ = ["SCBIG", "STRAND", "CellLatent", "FloorComparison", "SCBIGConfig", "STRANDConfig"]

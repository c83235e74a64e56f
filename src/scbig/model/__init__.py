"""Models of perturbation responses."""

from scbig.model.base import FloorComparison
from scbig.model.dualstream import DualStreamConfig, DualStreamMamba
from scbig.model.scbig import SCBIG, SCBIGConfig

__all__ = ["SCBIG", "DualStreamConfig", "DualStreamMamba", "FloorComparison", "SCBIGConfig"]

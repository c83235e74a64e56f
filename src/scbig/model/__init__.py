"""Models of perturbation responses."""

from scbig.model.scbig import SCBIG, SCBIGConfig

__all__ = ["SCBIG", "SCBIGConfig"]

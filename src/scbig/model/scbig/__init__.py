"""SCBIG: gene programs, a gene-cluster-aware encoder, and an anchored flow."""

from scbig.model.scbig._config import PRESETS, SCBIGConfig
from scbig.model.scbig._model import SCBIG

__all__ = ["PRESETS", "SCBIG", "SCBIGConfig"]

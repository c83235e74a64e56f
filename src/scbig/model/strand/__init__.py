"""STRAND: loci in the genome, their DNA, and a bridge from control to perturbed cells."""

from scbig.model.strand._config import PRESETS, STRANDConfig
from scbig.model.strand._model import STRAND

__all__ = ["PRESETS", "STRAND", "STRANDConfig"]

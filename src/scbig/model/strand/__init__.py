"""STRAND: loci in the genome, their DNA, and a bridge from control to perturbed cells."""

from scbig.model.strand._config import PRESETS, STRANDConfig
from scbig.model.strand._model import STRAND
from scbig.model.strand._setup import infer_locus_schema

__all__ = ["PRESETS", "STRAND", "STRANDConfig", "infer_locus_schema"]

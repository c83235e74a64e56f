"""STRAND: loci in the genome, their DNA, and a bridge from control to perturbed cells."""

from scbig.model.strand._config import STRANDConfig
from scbig.model.strand._model import STRAND
from scbig.model.strand._setup import infer_locus_schema

__all__ = ["STRAND", "STRANDConfig", "infer_locus_schema"]

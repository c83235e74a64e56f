"""Preprocessing: gene programs, and which conditions to train and test on."""

from scbig.pp._gene_programs import gene_programs, set_gene_programs
from scbig.pp._split import split

__all__ = ["gene_programs", "set_gene_programs", "split"]

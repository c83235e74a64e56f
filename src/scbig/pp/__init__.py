"""Preprocessing: gene programs."""

from scbig.pp._gene_programs import gene_programs, set_gene_programs

__all__ = ["gene_programs", "set_gene_programs"]

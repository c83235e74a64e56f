"""Gene programs: gene-relation clustering, its coherence and its record."""

from scbig.programs._clustering import (
    ProgramConfig,
    compute_coexpression,
    compute_gene_programs,
    make_coexpression_embedding,
)
from scbig.programs._coherence import Coherence, compute_coherence
from scbig.programs._gene_programs import (
    GenePrograms,
    average_programs,
    compute_program_means,
    get_gene_programs,
    make_gene_programs,
    make_known_programs,
)

__all__ = [
    "Coherence",
    "GenePrograms",
    "ProgramConfig",
    "average_programs",
    "compute_coexpression",
    "compute_coherence",
    "compute_gene_programs",
    "compute_program_means",
    "get_gene_programs",
    "make_coexpression_embedding",
    "make_gene_programs",
    "make_known_programs",
]

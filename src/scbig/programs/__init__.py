"""Gene programs: gene-relation clustering, its coherence and its record."""

from scbig.programs._clustering import compute_gene_programs
from scbig.programs._coexpression import compute_coexpression
from scbig.programs._coexpression_embedding import make_coexpression_embedding
from scbig.programs._coherence import Coherence, compute_coherence
from scbig.programs._config import ProgramConfig
from scbig.programs._known import make_known_programs
from scbig.programs._make import make_gene_programs
from scbig.programs._record import GenePrograms, average_programs, get_gene_programs
from scbig.programs._scores import compute_program_means

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

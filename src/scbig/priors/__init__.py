"""Prior knowledge about genes: interaction graphs, gene sets, gene embeddings and aliases.

Every table is matched to a data set by gene name with `align`, which reports how many of the
names it found.
"""

from scbig.priors._aliases import GeneAliases, load_aliases
from scbig.priors._coverage import Coverage
from scbig.priors._embedding import AlignedEmbedding, GeneEmbedding
from scbig.priors._embedding_files import load_gene_embedding
from scbig.priors._gene_sets import AlignedSets, GeneSets
from scbig.priors._gmt import load_gene_sets
from scbig.priors._graph import AlignedGraph, GeneGraph
from scbig.priors._string import load_string
from scbig.priors._unit_vectors import UnitVectors

__all__ = [
    "AlignedEmbedding",
    "AlignedGraph",
    "AlignedSets",
    "Coverage",
    "GeneAliases",
    "GeneEmbedding",
    "GeneGraph",
    "GeneSets",
    "UnitVectors",
    "load_aliases",
    "load_gene_embedding",
    "load_gene_sets",
    "load_string",
]

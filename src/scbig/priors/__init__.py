"""Prior knowledge about genes and about places in the genome.

Interaction graphs, gene sets and gene embeddings are matched to a data set by gene name with
`align`, which reports how many of the names it found. Places in the genome are found by locus id,
guide or gene, and their DNA is turned into vectors by an encoder.
"""

from scbig.priors._alias_table import load_aliases
from scbig.priors._aliases import GeneAliases
from scbig.priors._dna_encoder import DNAEncoder, LocusTokens, TableEncoder
from scbig.priors._embedding_files import load_gene_embedding
from scbig.priors._encode_loci import encode_loci
from scbig.priors._gene_embedding import (
    AlignedEmbedding,
    Coverage,
    GeneEmbedding,
    TargetEmbeddings,
    UnitVectors,
    choose_embedding as choose_embedding,
    get_width as get_width,
    index_targets as index_targets,
    mask_targets as mask_targets,
)
from scbig.priors._gene_graph import AlignedGraph, GeneGraph, load_string
from scbig.priors._gene_sets import AlignedSets, GeneSets, load_gene_sets
from scbig.priors._genome import Genome
from scbig.priors._genome_coverage import count_loci, count_positions
from scbig.priors._hugging_face import HuggingFaceEncoder
from scbig.priors._known_targets import (
    UnknownTargetError as UnknownTargetError,
    make_target_embeddings as make_target_embeddings,
    refuse_unknown as refuse_unknown,
    report_coverage as report_coverage,
)
from scbig.priors._loci import Loci, load_loci, make_loci
from scbig.priors._locus import GuideName, Locus, parse_guide, parse_locus
from scbig.priors._locus_table import LocusSource, LocusTable
from scbig.priors._nearest_names import (
    describe_nearest as describe_nearest,
    explain_missing as explain_missing,
    find_nearest as find_nearest,
    find_rewriting as find_rewriting,
    find_spellings as find_spellings,
)
from scbig.priors._start_sites import load_start_sites
from scbig.priors._windows import Windows

__all__ = [
    "AlignedEmbedding",
    "AlignedGraph",
    "AlignedSets",
    "Coverage",
    "DNAEncoder",
    "GeneAliases",
    "GeneEmbedding",
    "GeneGraph",
    "GeneSets",
    "Genome",
    "GuideName",
    "HuggingFaceEncoder",
    "Loci",
    "Locus",
    "LocusSource",
    "LocusTable",
    "LocusTokens",
    "TableEncoder",
    "TargetEmbeddings",
    "UnitVectors",
    "Windows",
    "count_loci",
    "count_positions",
    "encode_loci",
    "load_aliases",
    "load_gene_embedding",
    "load_gene_sets",
    "load_loci",
    "load_start_sites",
    "load_string",
    "make_loci",
    "parse_guide",
    "parse_locus",
]

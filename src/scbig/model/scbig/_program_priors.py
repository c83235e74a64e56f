"""Which groups of genes are the networks of SCBIG built from: programs, and pathways?

Programs are those that are given, or else made here.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
from anndata import AnnData

from scbig._arguments import refuse_ignored
from scbig._constants import UNS
from scbig.data import ScreenCells, thin
from scbig.priors import GeneAliases, GeneEmbedding, GeneGraph, GeneSets
from scbig.programs import (
    GenePrograms,
    ProgramConfig,
    average_programs,
    get_gene_programs,
    make_gene_programs,
)

logger = logging.getLogger(__name__)

N_PROGRAMS, MIN_GENES_PER_PROGRAM = 32, 4


@dataclass(frozen=True, eq=False)
class ProgramPriors:
    """Groups of genes that the networks of SCBIG are built from."""

    programs: GenePrograms
    averaging: np.ndarray  # averages the genes of each program, (K, G)
    semantics: np.ndarray  # mean gene embedding of each program, (K, d)
    pathways: np.ndarray | None  # averages the genes of each pathway, (P, G)


@dataclass(frozen=True, eq=False)
class GivenPriors:
    """What the user gives beside the screen; see :class:`~scbig.model.SCBIG`."""

    programs: GenePrograms | None
    n_programs: int | None
    gene_embedding: GeneEmbedding | None
    gene_graph: GeneGraph | None
    gene_sets: GeneSets | None
    aliases: GeneAliases | None


def make_program_priors(
    adata: AnnData,
    cells: ScreenCells,
    genes: tuple[str, ...],
    given: GivenPriors,
    coexpression: GeneEmbedding,
    seed: int,
) -> ProgramPriors:
    """Make programs, or take those that are given, and average what is known over them.

    Co-expression stands in for a gene embedding that is not given.
    """
    programs = given.programs
    if programs is None and UNS.PROGRAMS in adata.uns:
        programs = get_gene_programs(adata.uns)
    if programs is None:
        programs = _make_programs(cells, genes, given, seed)
    else:
        why = "programs are there already, as programs=... or in adata.uns."
        refuse_ignored(why, n_programs=given.n_programs, gene_graph=given.gene_graph)
        programs = _order_programs(programs, genes)
    table = given.gene_embedding or coexpression
    aligned = table.align(genes, aliases=given.aliases)
    averaging = average_programs(programs.labels)
    weights = averaging * aligned.is_found
    # Genes without an embedding do not count.
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    semantics = (weights / total) @ aligned.values
    return ProgramPriors(programs, averaging, semantics, _make_pathways(genes, given))


def _make_programs(
    cells: ScreenCells, genes: tuple[str, ...], given: GivenPriors, seed: int
) -> GenePrograms:
    wanted = N_PROGRAMS if given.n_programs is None else given.n_programs
    n_programs = min(wanted, max(len(genes) // MIN_GENES_PER_PROGRAM, 1))
    if n_programs < wanted:
        logger.info(
            "%d gene programs in place of %d: the data have %d genes.",
            n_programs,
            wanted,
            len(genes),
        )
    embedding, graph, aliases = given.gene_embedding, given.gene_graph, given.aliases

    def read_controls() -> np.ndarray:
        rows = np.flatnonzero(cells.screen.is_control)
        return cells.expression.rows(thin(rows, np.random.default_rng(seed)))

    return make_gene_programs(
        genes,
        read_controls,
        embedding=None if embedding is None else embedding.align(genes, aliases=aliases),
        graph=None if graph is None else graph.align(genes, aliases=aliases),
        config=ProgramConfig(n_programs=n_programs, seed=seed),
    )


def _order_programs(programs: GenePrograms, genes: tuple[str, ...]) -> GenePrograms:
    """Bring given programs into the order of the genes."""
    labels = programs.get_labels(genes)
    lacking = [gene for gene, label in zip(genes, labels, strict=True) if label < 0]
    if lacking:
        raise ValueError(
            f"{len(lacking)} genes are in no program: {lacking[:5]}. Make programs for these "
            "genes with scbig.pp.gene_programs(adata)."
        )
    return replace(programs, labels=labels, var_names=genes)


def _make_pathways(genes: tuple[str, ...], given: GivenPriors) -> np.ndarray | None:
    sets = given.gene_sets
    if sets is None:
        return None
    membership = sets.align(genes, aliases=given.aliases).membership.toarray()
    if not len(membership):
        raise ValueError(
            f"{sets.source}: no gene set has between 5 and 500 of the measured genes "
            f"({list(genes[:3])} ...). Give sets with the same kind of gene names."
        )
    return membership / membership.sum(axis=1, keepdims=True)

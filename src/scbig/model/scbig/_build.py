"""Building an untrained SCBIG from a screen and what is known beside it."""

import logging
from dataclasses import dataclass

import numpy as np
from anndata import AnnData

from scbig._constants import UNS
from scbig.data import (
    Expression,
    Screen,
    ScreenSchema,
    compute_group_means,
    get_gene_names,
    get_matrix,
    make_controls,
    make_screen,
    thin,
)
from scbig.model.base import TargetEmbeddings, make_target_embeddings
from scbig.model.scbig._blueprint import Blueprint, get_averaging
from scbig.model.scbig._config import SCBIGConfig
from scbig.model.scbig._state import State
from scbig.priors import GeneAliases, GeneEmbedding, GeneGraph, GeneSets
from scbig.programs import (
    GenePrograms,
    ProgramConfig,
    get_gene_programs,
    make_coexpression_embedding,
    make_gene_programs,
)

logger = logging.getLogger(__name__)

MIN_GENES_PER_PROGRAM = 4


@dataclass(frozen=True)
class Priors:
    """What is known beside the screen; see :class:`~scbig.model.SCBIG`."""

    programs: GenePrograms | None = None
    n_programs: int = 32
    gene_embedding: GeneEmbedding | None = None
    gene_graph: GeneGraph | None = None
    gene_sets: GeneSets | None = None
    perturbation_embedding: GeneEmbedding | None = None
    aliases: GeneAliases | None = None


class Builder:
    """Builds the blueprint and the module of one model.

    Parameters
    ----------
    adata
        Registered screen.
    schema
        Where it keeps its labels.
    priors
        What is known beside it.
    seed
        Seed of everything random.
    """

    def __init__(self, adata: AnnData, schema: ScreenSchema, priors: Priors, seed: int) -> None:
        self._adata = adata
        self._schema = schema
        self._priors = priors
        self._seed = seed
        self._genes = tuple(map(str, get_gene_names(adata, schema.gene_key)))
        self._expression = Expression(get_matrix(adata, schema.layer))
        self._screen: Screen = make_screen(adata.obs, schema)
        self._coexpression = make_coexpression_embedding(
            self._expression, self._screen, self._genes, np.random.default_rng(seed)
        )

    def build(self, config: SCBIGConfig) -> State:
        """Return an untrained model."""
        programs = self._make_programs()
        blueprint = Blueprint(
            config=config,
            schema=self._schema,
            genes=self._genes,
            targets=self._screen.targets,
            contexts=self._screen.contexts,
            programs=programs,
            embeddings=self._make_target_embeddings(),
            pathways=self._make_pathways(),
            controls=make_controls(
                self._expression,
                self._screen,
                self._adata.obs[[self._schema.perturbation_key, *self._schema.context_keys]],
                self._genes,
                np.random.default_rng(self._seed),
            ),
        )
        gene_mean = compute_group_means(self._expression, [np.arange(self._adata.n_obs)])[0]
        module = blueprint.make_module(self._make_semantics(programs), gene_mean)
        return State(blueprint, module, None)

    def _make_programs(self) -> GenePrograms:
        """Take the given programs, or the stored ones, or make some."""
        given = self._priors.programs
        if given is None and UNS.PROGRAMS in self._adata.uns:
            given = get_gene_programs(self._adata.uns)
        if given is not None:
            return _order_programs(given, self._genes)
        priors, aliases = self._priors, self._priors.aliases
        n_programs = min(priors.n_programs, max(len(self._genes) // MIN_GENES_PER_PROGRAM, 1))
        if n_programs < priors.n_programs:
            logger.info(
                "%d gene programs in place of %d: the data have %d genes.",
                n_programs,
                priors.n_programs,
                len(self._genes),
            )
        embedding, graph = priors.gene_embedding, priors.gene_graph
        return make_gene_programs(
            self._genes,
            self._read_controls,
            embedding=None if embedding is None else embedding.align(self._genes, aliases=aliases),
            graph=None if graph is None else graph.align(self._genes, aliases=aliases),
            config=ProgramConfig(n_programs=n_programs, seed=self._seed),
        )

    def _make_target_embeddings(self) -> TargetEmbeddings:
        priors = self._priors
        table = priors.perturbation_embedding or priors.gene_embedding
        return make_target_embeddings(
            table, self._coexpression, self._screen.targets, priors.aliases
        )

    def _make_semantics(self, programs: GenePrograms) -> np.ndarray:
        """Mean embedding of each program over the genes that have one, shape ``(K, d)``."""
        table = self._priors.gene_embedding or self._coexpression
        aligned = table.align(self._genes, aliases=self._priors.aliases)
        weights = get_averaging(programs.labels) * aligned.is_found
        total = np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
        return (weights / total) @ aligned.values

    def _make_pathways(self) -> np.ndarray | None:
        sets = self._priors.gene_sets
        if sets is None:
            return None
        membership = sets.align(self._genes, aliases=self._priors.aliases).membership.toarray()
        if not len(membership):
            raise ValueError(
                f"{sets.source}: no gene set has between 5 and 500 of the measured genes "
                f"({list(self._genes[:3])} ...). Give sets with the same kind of gene names."
            )
        return membership / membership.sum(axis=1, keepdims=True)

    def _read_controls(self) -> np.ndarray:
        rows = np.flatnonzero(self._screen.is_control)
        return self._expression.rows(thin(rows, np.random.default_rng(self._seed)))


def _order_programs(programs: GenePrograms, genes: tuple[str, ...]) -> GenePrograms:
    """Bring given programs into the order of the genes."""
    labels = programs.get_labels(genes)
    lacking = [gene for gene, label in zip(genes, labels, strict=True) if label < 0]
    if lacking:
        raise ValueError(
            f"{len(lacking)} genes are in no program: {lacking[:5]}. Make programs for these "
            "genes with scbig.pp.gene_programs(adata)."
        )
    return GenePrograms(
        labels=labels,
        var_names=genes,
        names=programs.names,
        source=programs.source,
        coherence=programs.coherence,
        settings=programs.settings,
    )

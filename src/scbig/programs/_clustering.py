"""Gene-relation clustering: balanced gene programs from an embedding and a graph."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from scbig.ot import balanced_capacities, entropic_plan, round_to_capacities
from scbig.programs._config import ProgramConfig
from scbig.programs._costs import UNASSIGNED, compute_graph_cost, compute_semantic_cost
from scbig.programs._evidence import GeneEvidence, make_evidence

logger = logging.getLogger(__name__)


def compute_gene_programs(
    names: Sequence[str],
    embedding: np.ndarray,
    *,
    is_embedded: np.ndarray | None = None,
    coexpression: np.ndarray | None = None,
    adjacency: sparse.csr_array | None = None,
    config: ProgramConfig | None = None,
) -> np.ndarray:
    """Cluster genes into programs of equal size by gene-relation clustering (arXiv 2602.04901).

    k-means on the unit rows of the embedding gives the first programs. Each of the following
    rounds prices every gene in every program by its cosine distance to the centroid and by how
    few of its interaction partners are there, spreads the genes over the programs by entropic
    optimal transport and rounds the plan to programs whose sizes differ as little as possible.

    A gene without an embedding is placed by its co-expression with the members of each program
    and by the graph; one that has none of the three fills the room that is left. The result does
    not depend on the order of the genes: they are sorted by name inside, and program 0 holds the
    first name, program 1 the first name outside program 0, and so on.

    Parameters
    ----------
    names
        Unique gene names, n_genes of them.
    embedding
        Gene embedding, shape (n_genes, d); rows of zeros count as missing. With no prior at hand
        pass :func:`compute_coexpression` of the control cells.
    is_embedded
        Which rows of ``embedding`` to use, shape (n_genes,). Default: all that are not zero.
    coexpression
        Gene loadings that stand in where the embedding is missing, shape (n_genes, d2).
    adjacency
        Interaction graph, shape (n_genes, n_genes); every stored non-zero counts as an edge.
    config
        Settings; the published ones by default.

    Returns
    -------
    Program of each gene in 0 .. n_programs - 1, int64 of shape (n_genes,), in the order of
    ``names``.

    Raises
    ------
    ValueError
        If names repeat, shapes do not fit, or there are too few genes for the programs.
    """
    config = ProgramConfig() if config is None else config
    config.check_n_genes(len(names))
    evidence = make_evidence(names, embedding, is_embedded, coexpression, adjacency)
    labels = _start_labels(evidence, config)
    for _ in range(config.n_iterations):
        labels = _reassign(evidence, labels, config)
    in_caller_order = np.empty_like(labels)
    in_caller_order[evidence.order] = _number_by_first_gene(labels)
    return in_caller_order


def compute_assignment_cost(
    evidence: GeneEvidence, labels: np.ndarray, config: ProgramConfig
) -> np.ndarray:
    """Cost of each gene in each program, from the present members of the programs.

    Parameters
    ----------
    evidence
        What is known of the genes.
    labels
        Current program of each gene, -1 where it has none, shape (n_genes,).
    config
        Settings.

    Returns
    -------
    Cost of shape (n_genes, n_programs).
    """
    n_programs = config.n_programs
    semantic = compute_semantic_cost(evidence.embedding, evidence.is_embedded, labels, n_programs)
    is_replaced = ~evidence.is_embedded & evidence.is_coexpressed
    if is_replaced.any():
        semantic[is_replaced] = compute_semantic_cost(
            evidence.coexpression, evidence.is_coexpressed, labels, n_programs
        )[is_replaced]
    cost = config.semantic_weight * semantic
    if evidence.adjacency is not None:
        cost += config.graph_weight * compute_graph_cost(evidence.adjacency, labels, n_programs)
    return cost


def _start_labels(evidence: GeneEvidence, config: ProgramConfig) -> np.ndarray:
    known = np.flatnonzero(evidence.is_embedded)
    if known.size < config.n_programs:
        raise ValueError(
            f"Only {known.size} of {evidence.is_embedded.size} genes have an embedding, fewer "
            f"than n_programs={config.n_programs}. Pass fewer programs, check that the embedding "
            "uses the same gene names, or leave it out to cluster by co-expression."
        )
    kmeans = KMeans(config.n_programs, n_init=config.n_starts, random_state=config.seed)
    # With several threads k-means adds up centroids in a changing order: other bits each time.
    with threadpool_limits(limits=1, user_api="openmp"):
        found = kmeans.fit_predict(evidence.embedding[known])
    labels = np.full(evidence.is_embedded.size, UNASSIGNED, dtype=np.int64)
    labels[known] = found
    return labels


def _reassign(evidence: GeneEvidence, labels: np.ndarray, config: ProgramConfig) -> np.ndarray:
    n_genes = labels.size
    sizes = np.bincount(labels[labels != UNASSIGNED], minlength=config.n_programs)
    capacities = balanced_capacities(n_genes, sizes)
    cost = compute_assignment_cost(evidence, labels, config)
    transport = entropic_plan(
        torch.from_numpy(cost),
        epsilon=config.epsilon,
        column_mass=torch.from_numpy(capacities / n_genes),
    )
    logger.debug(
        "Transport after %d iterations: marginal error %.1e.",
        transport.n_iter,
        transport.marginal_error,
    )
    return round_to_capacities(transport.plan.numpy(), capacities, cost)


def _number_by_first_gene(labels: np.ndarray) -> np.ndarray:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]

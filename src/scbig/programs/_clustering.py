"""Gene-relation clustering: balanced gene programs from an embedding and a graph.

Co-expression serves where nothing else is known.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from scbig._annotations import check_fields
from scbig._arguments import MAX_SEED
from scbig.data import Expression, Screen, thin
from scbig.ot import balanced_capacities, entropic_plan, round_to_capacities
from scbig.priors import GeneEmbedding

Matrix: TypeAlias = np.ndarray | sparse.csr_array | sparse.csr_matrix

logger = logging.getLogger(__name__)

UNASSIGNED = -1


@dataclass(frozen=True)
class ProgramConfig:
    """Settings of gene-relation clustering (arXiv 2602.04901), by default the published ones.

    Parameters
    ----------
    n_programs
        Number of programs K.
    semantic_weight
        Weight of the distance to the program centroids in embedding space.
    graph_weight
        Weight of the interaction term; without a graph it has no effect.
    epsilon
        Entropic regularisation of the transport plan, in units of the cost.
    n_iterations
        Rounds of centroids, cost, transport and rounding after k-means.
    n_starts
        Starts of k-means, of which the best is kept.
    seed
        Seed of k-means.

    Raises
    ------
    ValueError
        If a setting is out of range.
    """

    n_programs: int = 32
    semantic_weight: float = 1.0
    graph_weight: float = 1.0
    epsilon: float = 0.1
    n_iterations: int = 3
    n_starts: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self, least={"seed": 0}, most={"seed": MAX_SEED})
        if self.epsilon <= 0:
            raise ValueError(f"epsilon must be positive, found {self.epsilon}.")


@dataclass(frozen=True)
class GeneEvidence:
    """Unit rows and graph of the genes in canonical order: ``order`` sorts them by name.

    Rows of the co-expression stand in for those that the embedding lacks.
    """

    order: np.ndarray  # (n_genes,)
    embedding: np.ndarray  # (n_genes, d)
    is_embedded: np.ndarray  # (n_genes,)
    coexpression: np.ndarray  # (n_genes, d2)
    is_coexpressed: np.ndarray  # (n_genes,)
    adjacency: sparse.csr_array | None  # 0/1, (n_genes, n_genes)


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
    check_n_programs(config, len(names))
    evidence = make_evidence(names, embedding, is_embedded, coexpression, adjacency)
    labels = _start_labels(evidence, config)
    for _ in range(config.n_iterations):
        labels = _reassign(evidence, labels, config)
    in_caller_order = np.empty_like(labels)
    in_caller_order[evidence.order] = _number_by_first_gene(labels)
    return in_caller_order


def check_n_programs(config: ProgramConfig, n_genes: int) -> None:
    """Raise if there are too many programs for so many genes."""
    if config.n_programs > n_genes // 2:
        raise ValueError(
            f"n_programs={config.n_programs} is too many for {n_genes} genes: each program "
            f"needs two. Pass n_programs={max(n_genes // 2, 1)} or fewer."
        )


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
    error = transport.marginal_error
    logger.debug("Transport after %d iterations: marginal error %.1e.", transport.n_iter, error)
    return round_to_capacities(transport.plan.numpy(), capacities, cost)


def _number_by_first_gene(labels: np.ndarray) -> np.ndarray:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def compute_assignment_cost(
    evidence: GeneEvidence, labels: np.ndarray, config: ProgramConfig
) -> np.ndarray:
    """Cost (n_genes, n_programs) of each gene in each program, from their present members."""
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


def compute_semantic_cost(
    rows: np.ndarray, is_known: np.ndarray, labels: np.ndarray, n_programs: int
) -> np.ndarray:
    """Cosine distance of unit rows (n_genes, d) to program centroids, divided by its maximum.

    Labels are -1 where a gene has no program; a gene whose row is not known costs zero.
    """
    membership = make_membership(np.where(is_known, labels, UNASSIGNED), n_programs)
    centroids = normalize_rows(membership.T @ rows)
    distance = np.clip(1.0 - rows @ centroids.T, 0.0, None) * is_known[:, None]
    largest = distance.max(initial=0.0)
    return distance / largest if largest > 0 else distance


def compute_graph_cost(
    adjacency: sparse.csr_array, labels: np.ndarray, n_programs: int
) -> np.ndarray:
    """One minus the neighbours that a gene has in a program over the program's size, in [0, 1]."""
    membership = make_membership(labels, n_programs)
    n_neighbours = (adjacency @ membership).toarray()
    sizes = np.maximum(membership.sum(axis=0), 1.0)
    return np.clip(1.0 - n_neighbours / sizes, 0.0, 1.0)


def make_membership(labels: np.ndarray, n_programs: int) -> sparse.csr_array:
    """One-hot matrix (n_genes, n_programs) of the labels; unassigned genes have empty rows."""
    rows = np.flatnonzero(labels != UNASSIGNED)
    shape = (len(labels), n_programs)
    return sparse.csr_array((np.ones(rows.size), (rows, labels[rows])), shape=shape)


def normalize_rows(x: np.ndarray) -> np.ndarray:
    """Scale rows to unit length in float64; rows of zeros stay zeros."""
    x = np.asarray(x, dtype=np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)


def make_evidence(
    names: Sequence[str],
    embedding: np.ndarray,
    is_embedded: np.ndarray | None,
    coexpression: np.ndarray | None,
    adjacency: sparse.csr_array | None,
) -> GeneEvidence:
    """Check shapes, scale rows and sort the genes by name."""
    order = _sort_names(names)
    if coexpression is None:
        coexpression = np.zeros((len(order), 1))
    _check_length("embedding", embedding, len(order))
    _check_length("coexpression", coexpression, len(order))
    rows = normalize_rows(embedding)[order]
    other_rows = normalize_rows(coexpression)[order]
    has_row = rows.any(axis=1)
    if is_embedded is not None:
        _check_length("is_embedded", is_embedded, len(order))
        has_row &= np.asarray(is_embedded, dtype=bool)[order]
    return GeneEvidence(
        order=order,
        embedding=rows,
        is_embedded=has_row,
        coexpression=other_rows,
        is_coexpressed=other_rows.any(axis=1),
        adjacency=None if adjacency is None else _sort_graph(adjacency, order),
    )


def _sort_names(names: Sequence[str]) -> np.ndarray:
    values = np.asarray(names, dtype=str)
    unique, counts = np.unique(values, return_counts=True)
    if unique.size < values.size:
        repeated = ", ".join(unique[counts > 1][:3])
        raise ValueError(
            f"Gene names must be unique, found repeated: {repeated}. "
            "Call adata.var_names_make_unique() first."
        )
    return np.argsort(values, kind="stable")


def _check_length(label: str, values: np.ndarray, n_genes: int) -> None:
    if len(values) != n_genes:
        raise ValueError(f"{label} has {len(values)} rows for {n_genes} gene names.")


def _sort_graph(adjacency: sparse.csr_array, order: np.ndarray) -> sparse.csr_array:
    if adjacency.shape != (order.size, order.size):
        raise ValueError(
            f"adjacency has shape {adjacency.shape} for {order.size} gene names; "
            "align the graph first: graph.align(names).adjacency."
        )
    graph = sparse.csr_array(adjacency)[order][:, order].astype(bool).astype(np.float64)
    graph.setdiag(0)
    graph.eliminate_zeros()
    return graph


def compute_coexpression(
    x: Matrix,
    n_components: int = 50,
    seed: int = 0,
) -> np.ndarray:
    """Loadings of the genes on the principal components of standardised expression.

    Each entry is the correlation between a gene and a component over the cells, so a row's
    squared length is the share of the gene's variance that the components hold, and the cosine
    between two rows is the co-expression of two genes. Sparse input stays sparse: centring is
    implicit. The sign of a component is set so that its largest loading is positive.

    Parameters
    ----------
    x
        Log1p-normalised expression of control cells, shape (n_cells, n_genes), dense or sparse.
    n_components
        Number of components; fewer are returned when there are fewer cells or varying genes.
    seed
        Seed of the start vector of the Lanczos iteration.

    Returns
    -------
    float32 array of shape (n_genes, n_found_components). Genes without variance have zero rows.

    Raises
    ------
    ValueError
        If fewer than three cells or fewer than two varying genes are given.
    """
    n_cells, n_genes = x.shape
    if n_cells < 3:
        raise ValueError(
            f"Co-expression needs at least 3 control cells, found {n_cells}. Pass more cells, or "
            "an embedding that covers every gene."
        )
    varies = _find_varying(x)
    if varies.size < 2:
        raise ValueError(
            f"Only {varies.size} of {n_genes} genes vary over the {n_cells} control cells; "
            "co-expression needs at least two. Check that the layer holds expression values."
        )
    # ARPACK finds fewer components than the smaller side of the matrix.
    n_found = min(n_components, n_cells - 1, varies.size - 1)
    standardised = StandardScaler(with_mean=False).fit_transform(x[:, varies])
    pca = PCA(n_found, svd_solver="arpack", random_state=seed).fit(standardised)
    # PCA divides by n - 1, the scaler by n: the factor makes the entries correlations.
    scale = np.sqrt(pca.explained_variance_ * (n_cells - 1) / n_cells)
    loadings = np.zeros((n_genes, n_found), dtype=np.float32)
    loadings[varies] = (_with_fixed_signs(pca.components_) * scale[:, None]).T
    return loadings


def make_coexpression_embedding(
    expression: Expression, screen: Screen, genes: Sequence[str], rng: np.random.Generator
) -> GeneEmbedding:
    """Embed the measured genes by their co-expression in control cells.

    Parameters
    ----------
    expression, screen
        Cells of a screen.
    genes
        Names of the genes.
    rng
        Chooses among more than 2,000 control cells.

    Returns
    -------
    An embedding of every gene; of those that do not vary, with zero vectors.

    Raises
    ------
    ValueError
        When there are fewer than three control cells or two varying genes.
    """
    rows = thin(np.flatnonzero(screen.is_control), rng)
    loadings = compute_coexpression(expression.rows(rows))
    return GeneEmbedding(tuple(genes), loadings, "co-expression of control cells")


def _find_varying(x: Matrix) -> np.ndarray:
    # Not by the variance: rounding leaves a constant gene with a tiny one.
    high, low = x.max(axis=0), x.min(axis=0)
    if sparse.issparse(x):
        high, low = high.toarray().ravel(), low.toarray().ravel()
    return np.flatnonzero(high > low)


def _with_fixed_signs(components: np.ndarray) -> np.ndarray:
    largest = np.argmax(np.abs(components), axis=1)[:, None]
    return components * np.sign(np.take_along_axis(components, largest, axis=1))

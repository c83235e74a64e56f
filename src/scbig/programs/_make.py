"""Gene programs from whatever is at hand: an embedding, a graph, the data."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
from scipy import sparse

from scbig.priors import AlignedEmbedding, AlignedGraph, Coverage
from scbig.programs._clustering import compute_gene_programs
from scbig.programs._coexpression import Matrix, compute_coexpression
from scbig.programs._coherence import compute_coherence
from scbig.programs._config import ProgramConfig
from scbig.programs._record import GenePrograms, make_program_names


def make_gene_programs(
    var_names: Sequence[str],
    get_controls: Callable[[], Matrix],
    *,
    embedding: AlignedEmbedding | None = None,
    graph: AlignedGraph | None = None,
    config: ProgramConfig | None = None,
) -> GenePrograms:
    """Cluster genes with the priors at hand; co-expression speaks where they are silent.

    Parameters
    ----------
    var_names
        Unique gene names.
    get_controls
        Returns log1p expression of control cells, shape (n_cells, n_genes). Called only if some
        gene has no embedding.
    embedding
        Gene embedding aligned with ``var_names``; without one, genes are clustered by
        co-expression.
    graph
        Interaction graph aligned with ``var_names``; without one, its term is left out.
    config
        Settings; the published ones by default.

    Returns
    -------
    The programs, with their coherence if a graph is given.

    Raises
    ------
    ValueError
        As :func:`compute_gene_programs`, :func:`compute_coexpression` and
        :func:`compute_coherence`.
    """
    config = ProgramConfig() if config is None else config
    config.check_n_genes(len(var_names))
    rows, stand_in = _get_rows(var_names, get_controls, embedding, config.seed)
    adjacency = None if graph is None else graph.adjacency
    labels = compute_gene_programs(
        var_names, rows, coexpression=stand_in, adjacency=adjacency, config=config
    )
    reports = [describe_coverage(prior.coverage) for prior in (embedding, graph) if prior]
    if embedding is None or stand_in is not None:
        reports.append("co-expression of the control cells")
    return GenePrograms(
        labels=labels,
        var_names=tuple(var_names),
        names=make_program_names(config.n_programs),
        source="; ".join(reports),
        coherence=None if adjacency is None else compute_coherence(labels, adjacency),
        settings=asdict(config),
    )


def describe_coverage(coverage: Coverage) -> str:
    """Say what a prior knows, without the list of missing genes that is logged already.

    Parameters
    ----------
    coverage
        The coverage.

    Returns
    -------
    A short phrase.
    """
    return f"{coverage.source}: {coverage.n_found} of {coverage.n_total} genes"


def _get_rows(
    var_names: Sequence[str],
    get_controls: Callable[[], Matrix],
    embedding: AlignedEmbedding | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows to cluster, and what stands in for those that are missing."""
    if embedding is not None and embedding.is_found.all():
        return embedding.values, None
    coexpression = _compute_in_name_order(get_controls(), var_names, seed)
    return (coexpression, None) if embedding is None else (embedding.values, coexpression)


def _compute_in_name_order(x: Matrix, var_names: Sequence[str], seed: int) -> np.ndarray:
    """Loadings in the order of ``var_names`` that do not depend on it, to the last bit."""
    order = np.argsort(np.asarray(var_names, dtype=str), kind="stable")
    # Sums run along the storage, so it too must not remember the former order.
    if sparse.issparse(x):
        in_order = sparse.csr_array(x)[:, order]
        in_order.sort_indices()
    else:
        in_order = np.ascontiguousarray(np.asarray(x)[:, order])
    loadings = compute_coexpression(in_order, seed=seed)
    result = np.empty_like(loadings)
    result[order] = loadings
    return result

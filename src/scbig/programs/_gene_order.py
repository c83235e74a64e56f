"""Gene orders: lines on which genes that belong together stand next to each other."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh
from sklearn.neighbors import kneighbors_graph

from scbig._arguments import refuse_ignored
from scbig.priors import GeneAliases, GeneEmbedding, GeneGraph

_N_NEIGHBOURS = 15
# Below this the dense solver is as fast, and the sparse one refuses very small matrices.
_N_DENSE = 200


def choose_gene_order(
    genes: Sequence[str],
    var: pd.DataFrame,
    coexpression: GeneEmbedding,
    names: Sequence[str] | None = None,
    position_keys: tuple[str, str] | None = None,
    graph: GeneGraph | None = None,
    aliases: GeneAliases | None = None,
) -> tuple[np.ndarray, str]:
    """Order the genes by names, positions, a graph, or else co-expression, and say by which.

    Positions stand in two columns of ``var``, of chromosome and position.
    """
    if names is not None:
        why = "gene_order=[...] has the order. Leave one of them out."
        refuse_ignored(why, position_keys=position_keys, gene_graph=graph)
    elif position_keys is not None:
        refuse_ignored("position_keys have the order. Leave one out.", gene_graph=graph)
    if names is not None:
        return read_order(names, genes), "as given"
    if position_keys is not None:
        if missing := [key for key in position_keys if key not in var]:
            raise ValueError(
                f"position_keys: {missing} are not columns of var. Columns found: {list(var)}. "
                "Name those of chromosome and position, or leave position_keys out."
            )
        chromosome, position = position_keys
        order = compute_position_order(var[chromosome], var[position])
        return order, f"chromosome positions in var[{chromosome!r}] and var[{position!r}]"
    if graph is not None:
        links = graph.align(genes, aliases=aliases).adjacency
        return compute_spectral_order(links), f"spectral order of {graph.source}"
    links = make_neighbour_graph(coexpression.vectors)
    return compute_spectral_order(links), f"spectral order of {coexpression.source}"


def compute_spectral_order(adjacency: sparse.csr_array) -> np.ndarray:
    """Put linked genes next to each other.

    Genes are sorted by the second eigenvector of the normalised graph Laplacian, which is the
    best one-dimensional layout in the sense of Belkin and Niyogi (2003,
    doi:10.1162/089976603321780317). Components come one after the other, the largest first, and
    genes without links at the end, as they stood.

    Parameters
    ----------
    adjacency
        Symmetric non-negative matrix, shape ``(G, G)``.

    Returns
    -------
    Gene numbers in their order, shape ``(G,)``.
    """
    _, label = connected_components(adjacency, directed=False)
    members = [np.flatnonzero(label == i) for i in range(label.max(initial=-1) + 1)]
    members.sort(key=lambda rows: (-len(rows), rows[0]))
    parts = [rows[_sort_component(adjacency[rows][:, rows])] for rows in members]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def make_neighbour_graph(vectors: np.ndarray) -> sparse.csr_array:
    """Link each gene with those of the most similar vectors.

    Parameters
    ----------
    vectors
        One vector a gene, shape ``(G, d)``; genes with a zero vector stay alone.

    Returns
    -------
    Symmetric matrix of cosine similarities, shape ``(G, G)``.
    """
    length = np.linalg.norm(vectors, axis=1)
    rows = np.flatnonzero(length > 0)
    unit = vectors[rows] / length[rows, None]
    n_genes, n_neighbours = len(vectors), min(_N_NEIGHBOURS, len(rows) - 1)
    if n_neighbours < 1:
        return sparse.csr_array((n_genes, n_genes))
    near = kneighbors_graph(unit, n_neighbours, mode="distance").tocoo()
    # Squared distance of unit vectors is twice one minus their cosine.
    cosine = np.maximum(1 - near.data**2 / 2, 1e-6)
    links = (rows[near.row], rows[near.col])
    graph = sparse.csr_array((cosine, links), shape=(n_genes, n_genes))
    return sparse.csr_array(graph.maximum(graph.T))


def compute_position_order(chromosome: pd.Series, position: pd.Series) -> np.ndarray:
    """Order genes along the chromosomes.

    Parameters
    ----------
    chromosome
        Chromosome of each gene; ``chr2`` comes before ``chr10``, and both before ``chrX``.
    position
        Position of each gene on it, in bases.

    Returns
    -------
    Gene numbers in their order, shape ``(G,)``; genes without chromosome or position come last.
    """
    place = pd.to_numeric(position, errors="coerce").to_numpy(dtype=np.float64)
    name = chromosome.astype(object).where(chromosome.notna().to_numpy(), "").astype(str)
    lacks = (name.to_numpy() == "") | np.isnan(place)
    keys = [
        (bool(missing), *_split_name(label), 0.0 if missing else where, row)
        for row, (missing, label, where) in enumerate(zip(lacks, name, place, strict=True))
    ]
    return np.array([key[-1] for key in sorted(keys)], dtype=np.int64)


def read_order(order: Sequence[str], genes: Sequence[str]) -> np.ndarray:
    """Turn an order given by names into gene numbers.

    Parameters
    ----------
    order
        All genes, each once.
    genes
        Genes of the screen.

    Returns
    -------
    Gene numbers in their order, shape ``(G,)``.

    Raises
    ------
    ValueError
        When the names are not those of the genes.
    """
    number = {gene: i for i, gene in enumerate(genes)}
    missing = sorted(set(genes) - set(order))
    unknown = sorted(set(order) - set(genes))
    if missing or unknown or len(order) != len(genes):
        raise ValueError(
            f"gene_order has {len(order)} names for {len(genes)} genes: {len(missing)} genes are "
            f"missing {missing[:3]}, {len(unknown)} names are unknown {unknown[:3]}. Name each "
            "gene of the screen once, or leave gene_order out."
        )
    return np.array([number[gene] for gene in order], dtype=np.int64)


def _sort_component(adjacency: sparse.csr_array) -> np.ndarray:
    """Sort the genes of one connected component."""
    n_genes = adjacency.shape[0]
    if n_genes < 3:
        return np.arange(n_genes)
    root = np.sqrt(adjacency.sum(axis=1))
    scale = sparse.diags_array(1 / root)
    normal = scale @ adjacency @ scale
    if n_genes <= _N_DENSE:
        second = np.linalg.eigh(normal.toarray())[1][:, -2]
    else:
        # From a fixed start, so that the order is the same each time.
        vectors = eigsh(normal, k=2, which="LA", v0=np.linspace(1, 2, n_genes))[1]
        second = vectors[:, 0]
    layout = second / root
    # An eigenvector has no sign of its own.
    layout = layout * np.sign(layout[np.argmax(np.abs(layout))])
    return np.argsort(layout, kind="stable")


def _split_name(chromosome: str) -> tuple[float, str]:
    """Number and name of a chromosome, for sorting; those without a number come later."""
    bare = re.sub(r"^chr", "", chromosome, flags=re.IGNORECASE)
    return (float(bare), "") if bare.isdecimal() else (np.inf, bare)

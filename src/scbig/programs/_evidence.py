"""What is known of each gene, checked once and put in one order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from scbig.programs._costs import normalize_rows


@dataclass(frozen=True)
class GeneEvidence:
    """Unit rows and graph of the genes in canonical order (sorted by name).

    Attributes
    ----------
    order
        Index of the canonical genes in the caller's order, shape (n_genes,).
    embedding, is_embedded
        Unit rows (n_genes, d) and which of them are present (n_genes,).
    coexpression, is_coexpressed
        Unit rows (n_genes, d2) and for which genes they stand in for a missing embedding.
    adjacency
        0/1 matrix (n_genes, n_genes), or None.
    """

    order: np.ndarray
    embedding: np.ndarray
    is_embedded: np.ndarray
    coexpression: np.ndarray
    is_coexpressed: np.ndarray
    adjacency: sparse.csr_array | None


def make_evidence(
    names: Sequence[str],
    embedding: np.ndarray,
    is_embedded: np.ndarray | None,
    coexpression: np.ndarray | None,
    adjacency: sparse.csr_array | None,
) -> GeneEvidence:
    """Check shapes, scale rows and sort the genes by name.

    Parameters
    ----------
    names, embedding, is_embedded, coexpression, adjacency
        As in :func:`scbig.programs.compute_gene_programs`.

    Returns
    -------
    The evidence, in canonical order.

    Raises
    ------
    ValueError
        If names repeat, or a shape does not fit their number.
    """
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

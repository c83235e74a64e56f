import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scbig.programs import (
    compute_position_order,
    compute_spectral_order,
    make_neighbour_graph,
    read_order,
)


def _make_path(names: np.ndarray, n_genes: int) -> sparse.csr_array:
    links = np.zeros((n_genes, n_genes))
    links[names[:-1], names[1:]] = 1
    return sparse.csr_array(links + links.T)


@pytest.mark.parametrize("n_genes", [9, 260])  # by the dense and by the sparse solver
def test_the_spectral_order_of_a_path_is_the_path(n_genes: int) -> None:
    names = np.random.default_rng(0).permutation(n_genes)
    order = compute_spectral_order(_make_path(names, n_genes))
    assert order.tolist() in (names.tolist(), names[::-1].tolist())
    again = compute_spectral_order(_make_path(names, n_genes))
    np.testing.assert_array_equal(order, again)


def test_components_come_one_after_the_other_and_lonely_genes_last() -> None:
    graph = _make_path(np.array([7, 2, 5]), 9) + _make_path(np.array([1, 8, 3, 4]), 9)
    order = compute_spectral_order(sparse.csr_array(graph)).tolist()
    assert order[:4] in ([1, 8, 3, 4], [4, 3, 8, 1])
    assert order[4:7] in ([7, 2, 5], [5, 2, 7])
    assert order[7:] == [0, 6]


def test_a_graph_without_links_keeps_the_order() -> None:
    assert compute_spectral_order(sparse.csr_array((4, 4))).tolist() == [0, 1, 2, 3]


def test_neighbours_are_those_of_largest_cosine() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 5))
    vectors[7] = 0
    graph = make_neighbour_graph(vectors).toarray()
    np.testing.assert_array_equal(graph, graph.T)
    assert not graph[7].any()
    rest = np.delete(np.arange(40), 7)
    unit = vectors[rest] / np.linalg.norm(vectors[rest], axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    is_near = cosine >= np.sort(cosine, axis=1)[:, [-15]]
    is_near |= is_near.T
    np.testing.assert_allclose(
        graph[np.ix_(rest, rest)], np.where(is_near, np.maximum(cosine, 1e-6), 0), atol=1e-6
    )


def test_one_gene_has_no_neighbours() -> None:
    assert make_neighbour_graph(np.array([[1.0, 0], [0, 0]])).nnz == 0


def test_genes_along_the_chromosomes() -> None:
    chromosome = pd.Series(["chr10", "chr2", "X", None, "chr2", "MT", "chr2"])
    position = pd.Series([5, 9, 1, 3, 2, 1, None])
    assert compute_position_order(chromosome, position).tolist() == [4, 1, 0, 5, 2, 6, 3]


def test_an_order_by_names() -> None:
    assert read_order(["c", "a", "b"], ["a", "b", "c"]).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (["a", "b"], r"2 names for 3 genes: 1 genes are missing \['c'\]"),
        (["a", "b", "x"], r"1 names are unknown \['x'\]"),
        (["a", "b", "c", "c"], "4 names for 3 genes"),
    ],
)
def test_an_order_that_does_not_fit_is_refused(order: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_order(order, ["a", "b", "c"])

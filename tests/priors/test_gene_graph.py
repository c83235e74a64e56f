import numpy as np
import pytest
from scipy import sparse

from scbig.priors import GeneAliases, GeneGraph


@pytest.fixture
def graph() -> GeneGraph:
    rng = np.random.default_rng(0)
    upper = np.triu(rng.random((6, 6)) < 0.5, k=1).astype(np.float32)
    return GeneGraph(tuple("ABCDEF"), sparse.csr_array(upper + upper.T), source="graph")


def test_align_against_dense_indexing(graph: GeneGraph) -> None:
    names = ["F", "X", "B", "A", "Y", "C"]
    aligned = graph.align(names)
    dense = graph.adjacency.toarray()
    expected = np.zeros((6, 6))
    for i, left in enumerate(names):
        for j, right in enumerate(names):
            if left in "ABCDEF" and right in "ABCDEF":
                expected[i, j] = dense["ABCDEF".index(left), "ABCDEF".index(right)]
    np.testing.assert_array_equal(aligned.adjacency.toarray(), expected)
    assert isinstance(aligned.adjacency, sparse.csr_array)
    np.testing.assert_array_equal(aligned.is_found, [True, False, True, True, False, True])
    assert aligned.coverage.missing == ("X", "Y")
    assert graph.get_coverage(names) == aligned.coverage


def test_aliases(graph: GeneGraph) -> None:
    aligned = graph.align(["NEW", "B"], aliases=GeneAliases({"NEW": ("A",)}))
    assert aligned.adjacency[0, 1] == graph.adjacency[0, 1]
    assert aligned.coverage.n_found == 2


@pytest.mark.parametrize(
    ("matrix", "match"),
    [
        (np.zeros((2, 2)), r"shape \(2, 2\); expected \(3, 3\)"),
        (np.eye(3), r"self loops.*setdiag"),
        (np.diag([1.0, 1.0], k=1), r"not symmetric.*maximum"),
        (np.array([[0, np.nan, 0], [np.nan, 0, 0], [0, 0, 0]]), "non-finite"),
    ],
)
def test_refused(matrix: np.ndarray, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        GeneGraph(("A", "B", "C"), sparse.csr_array(matrix), source="graph")

import numpy as np
import pytest
from scipy import sparse

from scbig.programs import Coherence, compute_coherence


def _count_density(labels: np.ndarray, adjacency: np.ndarray) -> float:
    densities = []
    for k in sorted(set(labels)):
        members = [i for i, label in enumerate(labels) if label == k]
        pairs = [(i, j) for i in members for j in members if i < j]
        if pairs:
            densities.append(sum(adjacency[i, j] != 0 for i, j in pairs) / len(pairs))
    return sum(densities) / len(densities)


@pytest.fixture
def graph() -> np.ndarray:
    upper = np.triu(np.random.default_rng(0).random((24, 24)) < 0.3, k=1)
    return (upper | upper.T) * 0.7


def test_report_against_counting_pairs(graph: np.ndarray) -> None:
    labels = np.repeat([0, 1, 2, 3], [10, 8, 5, 1])  # a program of one has no pairs
    found = compute_coherence(
        labels, sparse.csr_array(graph), n_permutations=50, rng=np.random.default_rng(1)
    )
    rng = np.random.default_rng(1)
    permuted = np.array([_count_density(rng.permutation(labels), graph) for _ in range(50)])
    observed = _count_density(labels, graph)
    assert found.density == pytest.approx(observed)
    assert found.permuted_mean == pytest.approx(permuted.mean())
    assert found.permuted_std == pytest.approx(permuted.std())
    assert found.z_score == pytest.approx((observed - permuted.mean()) / permuted.std())
    assert found.fold == pytest.approx(observed / permuted.mean())
    assert found.p_value == (1 + np.sum(permuted >= observed - 1e-12)) / 51


def test_planted_programs_are_coherent() -> None:
    labels = np.repeat(np.arange(5), 8)
    adjacency = sparse.csr_array((labels[:, None] == labels).astype(float) - np.eye(40))
    found = compute_coherence(labels, adjacency)
    assert found.density == pytest.approx(1.0)
    assert found.z_score > 10
    assert found.p_value == 1 / 201
    assert "times that of permuted labels" in str(found)


def test_complete_graph_is_no_evidence() -> None:
    found = compute_coherence(
        np.repeat([0, 1], 5), sparse.csr_array(np.ones((10, 10)) - np.eye(10)), 20
    )
    assert found.p_value == 1.0
    assert found.fold == pytest.approx(1.0)
    assert abs(found.z_score) < 2


def test_no_spread_and_no_permuted_edges() -> None:
    report = Coherence(0.5, 0.0, 0.0, 0.1, 10)
    assert report.z_score == 0.0
    assert report.fold == float("inf")


def test_bad_inputs_are_refused(graph: np.ndarray) -> None:
    labels = np.repeat([0, 1], 12)
    with pytest.raises(ValueError, match=r"adjacency has shape \(24, 24\) for 3 labels"):
        compute_coherence(labels[:3], sparse.csr_array(graph))
    with pytest.raises(ValueError, match=r"no edge between these genes.*Ensembl"):
        compute_coherence(labels, sparse.csr_array((24, 24)))
    with pytest.raises(ValueError, match="No program has two genes"):
        compute_coherence(np.arange(24), sparse.csr_array(graph))
    with pytest.raises(ValueError, match="n_permutations must be at least 1, found 0"):
        compute_coherence(labels, sparse.csr_array(graph), n_permutations=0)

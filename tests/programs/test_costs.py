import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cosine

from scbig.programs._costs import (
    compute_graph_cost,
    compute_semantic_cost,
    make_membership,
    normalize_rows,
)

LABELS = np.array([0, 0, 1, 1, 2, -1, 2, 0])


def test_rows_of_zeros_stay_zeros() -> None:
    np.testing.assert_allclose(normalize_rows(np.array([[3, 4], [0, 0]])), [[0.6, 0.8], [0, 0]])


def test_membership_leaves_out_unassigned_genes() -> None:
    membership = make_membership(LABELS, 4).toarray()
    np.testing.assert_array_equal(membership.sum(axis=0), [3, 2, 2, 0])
    np.testing.assert_array_equal(membership[5], 0)


def test_semantic_cost_against_scipy_one_pair_at_a_time() -> None:
    rows = normalize_rows(np.random.default_rng(1).normal(size=(8, 5)))
    is_known = np.array([True] * 7 + [False])
    distance = np.zeros((8, 3))
    for k in range(3):
        centroid = rows[is_known & (k == LABELS)].mean(axis=0)
        for i in np.flatnonzero(is_known):
            distance[i, k] = cosine(rows[i], centroid)
    found = compute_semantic_cost(rows, is_known, LABELS, 3)
    np.testing.assert_allclose(found, distance / distance.max(), atol=1e-12)


def test_semantic_cost_of_identical_rows_is_zero() -> None:
    rows = np.tile([[1.0, 0.0]], (8, 1))
    cost = compute_semantic_cost(rows, np.ones(8, bool), np.zeros(8, int), 1)
    np.testing.assert_array_equal(cost, np.zeros((8, 1)))


def test_graph_cost_against_counting() -> None:
    upper = np.triu(np.random.default_rng(2).random((8, 8)) < 0.5, k=1)
    adjacency = (upper | upper.T).astype(float)
    expected = np.ones((8, 4))
    for i in range(8):
        for k in range(3):
            members = [j for j in range(8) if LABELS[j] == k]
            expected[i, k] = 1 - sum(adjacency[i, j] for j in members) / len(members)
    found = compute_graph_cost(sparse.csr_array(adjacency), LABELS, 4)
    np.testing.assert_allclose(found, expected)
    assert found[:, 3] == pytest.approx(1.0)  # a program without members attracts nobody

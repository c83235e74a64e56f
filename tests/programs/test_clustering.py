import numpy as np
import ot
import pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse
from scipy.spatial.distance import cosine
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from scbig.programs import ProgramConfig, compute_gene_programs
from scbig.programs._clustering import (
    compute_graph_cost,
    compute_semantic_cost,
    make_membership,
    normalize_rows,
)


def _make_names(n: int) -> list[str]:
    return [f"G{i:04d}" for i in range(n)]


def _make_graph(rng: np.random.Generator, n: int, density: float) -> sparse.csr_array:
    upper = np.triu(rng.random((n, n)) < density, k=1)
    return sparse.csr_array((upper | upper.T).astype(float))


def _make_planted(
    rng: np.random.Generator, n_programs: int, size: int, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    truth = np.repeat(np.arange(n_programs), size)
    centres = np.eye(n_programs, 16)
    return truth, centres[truth] + noise * rng.normal(size=(truth.size, 16))


def _link_cliques(truth: np.ndarray) -> sparse.csr_array:
    adjacency = (truth[:, None] == truth).astype(float)
    np.fill_diagonal(adjacency, 0)
    return sparse.csr_array(adjacency)


def _naive_iteration(
    rows: np.ndarray, adjacency: np.ndarray, labels: np.ndarray, n_programs: int
) -> np.ndarray:
    """One round of the method, entry by entry, with POT for the plan."""
    n = len(rows)
    semantic, graph = np.zeros((n, n_programs)), np.zeros((n, n_programs))
    for k in range(n_programs):
        members = [i for i in range(n) if labels[i] == k]
        centroid = sum(rows[i] for i in members)
        centroid = centroid / np.sqrt(sum(centroid**2))
        for i in range(n):
            semantic[i, k] = 1 - sum(rows[i] * centroid)
            graph[i, k] = 1 - sum(adjacency[i, j] for j in members) / len(members)
    cost = semantic / semantic.max() + graph.clip(0, 1)
    room = [n // n_programs] * n_programs
    by_size = sorted(range(n_programs), key=lambda k: (-sum(labels == k), k))
    for k in by_size[: n % n_programs]:
        room[k] += 1
    plan = ot.sinkhorn(
        np.full(n, 1 / n), np.array(room) / n, cost, 0.1, method="sinkhorn_log", stopThr=1e-12
    )
    entries = sorted((-plan[i, k], cost[i, k], i, k) for i in range(n) for k in range(n_programs))
    result = np.full(n, -1)
    for _, _, i, k in entries:
        if result[i] < 0 and room[k] > 0:
            result[i] = k
            room[k] -= 1
    return result


@pytest.mark.parametrize("n_iterations", [1, 3])
@pytest.mark.parametrize("n_genes", [30, 37])
def test_iterations_against_plain_loops(n_genes: int, n_iterations: int) -> None:
    rng = np.random.default_rng(n_genes)
    embedding = rng.normal(size=(n_genes, 6))
    adjacency = _make_graph(rng, n_genes, 0.3)
    rows = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    expected = KMeans(5, n_init=10, random_state=3).fit_predict(rows)
    for _ in range(n_iterations):
        expected = _naive_iteration(rows, adjacency.toarray(), expected, 5)
    found = compute_gene_programs(
        _make_names(n_genes),
        embedding,
        adjacency=adjacency,
        config=ProgramConfig(n_programs=5, n_iterations=n_iterations, seed=3),
    )
    # The same programs; only their numbers may differ.
    np.testing.assert_array_equal(found[:, None] == found, expected[:, None] == expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(0, 40), st.integers(0, 100))
def test_programs_differ_by_one_gene_at_most(n_programs: int, n_extra: int, seed: int) -> None:
    n_genes = 2 * n_programs + n_extra
    rng = np.random.default_rng(seed)
    labels = compute_gene_programs(
        _make_names(n_genes),
        rng.normal(size=(n_genes, 4)),
        adjacency=_make_graph(rng, n_genes, 0.2),
        config=ProgramConfig(n_programs=n_programs, n_starts=1, seed=seed),
    )
    base, remainder = divmod(n_genes, n_programs)
    expected = [base] * (n_programs - remainder) + [base + 1] * remainder
    assert sorted(np.bincount(labels, minlength=n_programs)) == expected


def test_order_of_genes_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    n_genes = 203
    embedding, coexpression = rng.normal(size=(n_genes, 8)), rng.normal(size=(n_genes, 3))
    is_embedded = rng.random(n_genes) < 0.7
    adjacency = _make_graph(rng, n_genes, 0.05)
    names = np.array(_make_names(n_genes))
    config = ProgramConfig(n_programs=7)
    labels = compute_gene_programs(
        names,
        embedding,
        is_embedded=is_embedded,
        coexpression=coexpression,
        adjacency=adjacency,
        config=config,
    )
    shuffle = rng.permutation(n_genes)
    shuffled = compute_gene_programs(
        names[shuffle],
        embedding[shuffle],
        is_embedded=is_embedded[shuffle],
        coexpression=coexpression[shuffle],
        adjacency=adjacency[shuffle][:, shuffle],
        config=config,
    )
    np.testing.assert_array_equal(shuffled, labels[shuffle])


def test_programs_are_numbered_by_their_first_gene() -> None:
    rng = np.random.default_rng(6)
    labels = compute_gene_programs(
        _make_names(60), rng.normal(size=(60, 4)), config=ProgramConfig(n_programs=6)
    )
    _, first = np.unique(labels, return_index=True)
    assert labels[0] == 0
    assert (np.diff(first) > 0).all()


@pytest.mark.parametrize("use_graph", [True, False])
def test_planted_programs_are_recovered(use_graph: bool) -> None:
    truth, embedding = _make_planted(np.random.default_rng(7), 8, 25, noise=0.15)
    labels = compute_gene_programs(
        _make_names(truth.size),
        embedding,
        adjacency=_link_cliques(truth) if use_graph else None,
        config=ProgramConfig(n_programs=8),
    )
    assert adjusted_rand_score(truth, labels) == 1.0


def test_genes_without_embedding_follow_their_neighbours() -> None:
    truth, embedding = _make_planted(np.random.default_rng(8), 5, 20, noise=0.15)
    is_embedded = np.arange(truth.size) % 4 != 0
    labels = compute_gene_programs(
        _make_names(truth.size),
        embedding,
        is_embedded=is_embedded,
        adjacency=_link_cliques(truth),
        config=ProgramConfig(n_programs=5),
    )
    assert adjusted_rand_score(truth, labels) == 1.0


def test_genes_without_embedding_follow_their_co_expression() -> None:
    rng = np.random.default_rng(9)
    truth, embedding = _make_planted(rng, 5, 20, noise=0.15)
    _, coexpression = _make_planted(rng, 5, 20, noise=0.1)
    embedding[::4] = 0.0  # zero rows count as missing
    labels = compute_gene_programs(
        _make_names(truth.size),
        embedding,
        coexpression=coexpression[:, ::-1],  # a space of its own, unlike the embedding's
        config=ProgramConfig(n_programs=5),
    )
    assert adjusted_rand_score(truth, labels) == 1.0


def test_genes_without_any_evidence_fill_the_room_that_is_left() -> None:
    truth, embedding = _make_planted(np.random.default_rng(10), 4, 10, noise=0.1)
    is_embedded = np.ones(40, bool)
    # Program 0 lacks four genes, program 3 one: only there is room.
    is_embedded[[0, 1, 2, 3, 39]] = False
    labels = compute_gene_programs(
        _make_names(40), embedding, is_embedded=is_embedded, config=ProgramConfig(n_programs=4)
    )
    assert adjusted_rand_score(truth[is_embedded], labels[is_embedded]) == 1.0
    np.testing.assert_array_equal(np.bincount(labels), [10] * 4)


def test_weights_choose_the_evidence() -> None:
    truth, embedding = _make_planted(np.random.default_rng(11), 4, 12, noise=0.1)
    other = np.tile(np.arange(4), 12)
    arguments = {"names": _make_names(48), "embedding": embedding}
    with_graph = compute_gene_programs(
        **arguments, adjacency=_link_cliques(other), config=ProgramConfig(4, graph_weight=0.0)
    )
    assert adjusted_rand_score(truth, with_graph) == 1.0
    by_graph = compute_gene_programs(
        **arguments,
        adjacency=_link_cliques(other) + _link_cliques(truth) * 0.1,
        config=ProgramConfig(4, semantic_weight=0.0),
    )
    assert adjusted_rand_score(truth, by_graph) > 0.9  # any non-zero entry is an edge


def test_bad_inputs_are_refused() -> None:
    embedding = np.random.default_rng(0).normal(size=(10, 3))
    config = ProgramConfig(n_programs=3)
    with pytest.raises(ValueError, match=r"n_programs=6 is too many for 10 genes.*n_programs=5"):
        compute_gene_programs(_make_names(10), embedding, config=ProgramConfig(n_programs=6))
    with pytest.raises(ValueError, match=r"found repeated: A\. .*var_names_make_unique"):
        compute_gene_programs(["A"] * 10, embedding, config=config)
    with pytest.raises(ValueError, match="embedding has 9 rows for 10 gene names"):
        compute_gene_programs(_make_names(10), embedding[:9], config=config)
    with pytest.raises(ValueError, match="is_embedded has 3 rows"):
        compute_gene_programs(
            _make_names(10), embedding, is_embedded=np.ones(3, bool), config=config
        )
    with pytest.raises(ValueError, match="coexpression has 2 rows"):
        compute_gene_programs(
            _make_names(10), embedding, coexpression=embedding[:2], config=config
        )
    with pytest.raises(ValueError, match=r"adjacency has shape \(4, 4\).*align the graph"):
        compute_gene_programs(
            _make_names(10), embedding, adjacency=sparse.csr_array((4, 4)), config=config
        )
    with pytest.raises(ValueError, match="Only 2 of 10 genes have an embedding"):
        compute_gene_programs(
            _make_names(10), embedding, is_embedded=np.arange(10) < 2, config=config
        )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_programs": 0}, "n_programs=0.*whole number from 1"),
        ({"n_iterations": 0}, "n_iterations=0.*from 1"),
        ({"n_starts": -1}, "n_starts=-1.*from 1"),
        ({"graph_weight": -1.0}, "graph_weight=-1.0.*from 0"),
        ({"epsilon": 0.0}, r"epsilon must be positive, found 0\.0"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProgramConfig(**setting)


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

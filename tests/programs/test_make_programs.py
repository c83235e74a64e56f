import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from scbig.priors import GeneEmbedding, GeneGraph
from scbig.programs import ProgramConfig, make_gene_programs

TRUTH = np.repeat(np.arange(4), 10)
NAMES = tuple(f"G{i:02d}" for i in range(40))
CONFIG = ProgramConfig(n_programs=4)


@pytest.fixture
def controls() -> np.ndarray:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(300, 4))[:, TRUTH]
    return np.log1p(np.exp(2 * factors + 0.3 * rng.normal(size=(300, 40))))


@pytest.fixture
def embedding() -> GeneEmbedding:
    vectors = np.eye(4)[TRUTH] + 0.1 * np.random.default_rng(1).normal(size=(40, 4))
    return GeneEmbedding(NAMES, vectors, "toy")


def _refuse() -> np.ndarray:
    pytest.fail("no control cells are needed when every gene has an embedding")


def test_data_alone(controls: np.ndarray) -> None:
    programs = make_gene_programs(NAMES, lambda: controls, config=CONFIG)
    assert adjusted_rand_score(TRUTH, programs.labels) == 1.0
    assert programs.source == "co-expression of the control cells"
    assert programs.coherence is None
    assert programs.settings["n_programs"] == 4


def test_full_embedding_needs_no_cells(embedding: GeneEmbedding) -> None:
    graph = GeneGraph(NAMES, (TRUTH[:, None] == TRUTH) - np.eye(40), "cliques")
    programs = make_gene_programs(
        NAMES,
        _refuse,
        embedding=embedding.align(NAMES),
        graph=graph.align(NAMES),
        config=CONFIG,
    )
    assert adjusted_rand_score(TRUTH, programs.labels) == 1.0
    assert programs.coherence is not None
    assert programs.coherence.density == pytest.approx(1.0)
    assert programs.source == "toy: 40 of 40 genes; cliques: 40 of 40 genes"


def test_cells_stand_in_for_missing_vectors(
    embedding: GeneEmbedding, controls: np.ndarray
) -> None:
    known = GeneEmbedding(NAMES[::2], embedding.vectors[::2], "half")
    programs = make_gene_programs(
        NAMES, lambda: controls, embedding=known.align(NAMES), config=CONFIG
    )
    assert adjusted_rand_score(TRUTH, programs.labels) == 1.0
    assert programs.source == "half: 20 of 40 genes; co-expression of the control cells"


def test_shuffled_genes_give_the_same_programs(controls: np.ndarray) -> None:
    noisy = controls + 3 * np.random.default_rng(2).random(controls.shape)
    order = np.random.default_rng(3).permutation(40)
    names = [NAMES[i] for i in order]
    first = make_gene_programs(NAMES, lambda: noisy, config=CONFIG)
    second = make_gene_programs(names, lambda: noisy[:, order], config=CONFIG)
    assert first.members == {key: tuple(sorted(genes)) for key, genes in second.members.items()}


def test_too_many_programs_are_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match="n_programs=21 is too many for 40 genes"):
        make_gene_programs(NAMES, _refuse, config=ProgramConfig(n_programs=21))

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from scbig.priors import GeneEmbedding, GeneGraph
from scbig.programs import (
    Coherence,
    GenePrograms,
    ProgramConfig,
    get_gene_programs,
    make_gene_programs,
    make_known_programs,
)
from scbig.programs._gene_programs import make_program_names

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


def test_mapping_is_taken_as_it_is() -> None:
    programs = make_known_programs(["A", "B", "C"], {"C": "ribosome", "A": "cycle", "B": "cycle"})
    assert programs.names == ("cycle", "ribosome")
    assert programs.labels.tolist() == [0, 0, 1]
    assert programs.source == "groups: 3 of 3 genes grouped"


def test_genes_left_out_form_a_program() -> None:
    groups = pd.Series({"A": "x", "B": None, "Z": "y"})
    programs = make_known_programs(["A", "B", "C"], groups)
    assert programs.members == {"x": ("A",), "unassigned": ("B", "C")}
    assert programs.source == "groups: 1 of 3 genes grouped"


def test_categories_keep_their_order() -> None:
    column = pd.Categorical(["low", "high", "low"], categories=["low", "none", "high"])
    programs = make_known_programs(["A", "B", "C"], pd.Series(column, index=["A", "B", "C"]))
    assert programs.names == ("low", "high")
    assert programs.labels.tolist() == [0, 1, 0]


def test_numbers_become_names() -> None:
    programs = make_known_programs(["A", "B", "C"], pd.Series([10, 9, 10], index=["A", "B", "C"]))
    assert programs.names == ("9", "10")
    assert programs.labels.tolist() == [1, 0, 1]


def test_coherence_is_reported() -> None:
    names = ("A", "B", "C", "D")
    adjacency = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    graph = GeneGraph(names, adjacency, "toy").align(names)
    programs = make_known_programs(names, dict(zip(names, "xxyy", strict=True)), graph=graph)
    assert programs.coherence is not None
    assert programs.coherence.density == pytest.approx(0.5)  # 1 of 1 pair, and 0 of 1
    assert programs.source.endswith("toy: 4 of 4 genes")


def test_bad_groupings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"more than once: \['A'\]"):
        make_known_programs(["A"], pd.Series(["x", "y"], index=["A", "A"]))
    with pytest.raises(ValueError, match=r"None of the 1 genes.*\['A'\].*\['Z'\]"):
        make_known_programs(["A"], {"Z": "x"})


@pytest.fixture
def programs() -> GenePrograms:
    return GenePrograms(
        labels=np.array([1, 0, 1, 1]),
        var_names=("A", "B", "C", "D"),
        names=("P00", "P01"),
        source="test",
        coherence=Coherence(0.2, 0.1, 0.05, 0.01, 100),
        settings={"n_programs": 2, "epsilon": 0.1},
    )


def test_sizes_and_members(programs: GenePrograms) -> None:
    assert programs.n_programs == 2
    assert programs.sizes.tolist() == [1, 3]
    assert programs.members == {"P00": ("B",), "P01": ("A", "C", "D")}


def test_labels_of_other_genes(programs: GenePrograms) -> None:
    assert programs.get_labels(["C", "X", "B"]).tolist() == [1, -1, 0]


def test_dictionary_round_trip(programs: GenePrograms) -> None:
    again = GenePrograms.from_dict(programs.to_dict())
    np.testing.assert_array_equal(again.labels, programs.labels)
    assert again.coherence == programs.coherence
    assert (again.var_names, again.names) == (programs.var_names, programs.names)
    assert (again.source, again.settings) == (programs.source, programs.settings)


def test_record_without_coherence(programs: GenePrograms) -> None:
    entry = programs.to_dict()
    del entry["coherence"]
    assert GenePrograms.from_dict(entry).coherence is None


def test_reading_from_uns(programs: GenePrograms) -> None:
    assert get_gene_programs({"scbig_programs": programs.to_dict()}).n_programs == 2
    with pytest.raises(ValueError, match=r"no 'scbig_programs'; found \['other'\].*gene_programs"):
        get_gene_programs({"other": 1})


def test_names_sort_like_numbers() -> None:
    assert make_program_names(3) == ("P00", "P01", "P02")
    many = make_program_names(120)
    assert many[7] == "P007"
    assert list(many) == sorted(many)


def test_bad_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="Found 2 labels for 1 genes"):
        GenePrograms(np.array([0, 1]), ("A",), ("P0", "P1"), "test")
    with pytest.raises(ValueError, match=r"each of 0 \.\. 1.*found \[0, 2\]"):
        GenePrograms(np.array([0, 2]), ("A", "B"), ("P0", "P1"), "test")

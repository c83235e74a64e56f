import numpy as np
import pytest

from scbig.programs import Coherence, GenePrograms, get_gene_programs
from scbig.programs._record import make_program_names


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

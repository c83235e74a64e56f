import numpy as np
import pandas as pd
import pytest

from scbig.priors import GeneGraph
from scbig.programs import make_known_programs


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

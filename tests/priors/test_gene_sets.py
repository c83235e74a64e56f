import logging

import numpy as np
import pytest
from scipy import sparse

from scbig.priors import GeneAliases, GeneSets


@pytest.fixture
def gene_sets() -> GeneSets:
    sets = {"small": ("A",), "middle": ("A", "B", "C"), "large": tuple("ABCDEF")}
    return GeneSets(sets, source="sets")


def test_membership_against_a_loop(gene_sets: GeneSets) -> None:
    names = ["E", "X", "C", "A", "B"]
    aligned = gene_sets.align(names, min_size=1)
    expected = [[name in genes for name in names] for genes in gene_sets.sets.values()]
    np.testing.assert_array_equal(aligned.membership.toarray(), expected)
    assert aligned.membership.dtype == np.float32
    assert isinstance(aligned.membership, sparse.csr_array)
    assert aligned.names == ("small", "middle", "large")
    assert aligned.coverage.missing == ("X",)
    assert gene_sets.get_coverage(names) == aligned.coverage


@pytest.mark.parametrize(
    ("min_size", "max_size", "kept"),
    [(1, 1, ("small",)), (2, 500, ("middle", "large")), (3, 3, ("middle",)), (5, 9, ())],
)
def test_size_counts_only_the_given_names(
    gene_sets: GeneSets, min_size: int, max_size: int, kept: tuple[str, ...]
) -> None:
    aligned = gene_sets.align(["A", "B", "C", "D"], min_size=min_size, max_size=max_size)
    assert aligned.names == kept
    assert aligned.membership.shape == (len(kept), 4)


def test_aliases_and_log(gene_sets: GeneSets, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="scbig.priors"):
        aligned = gene_sets.align(["NEW"], min_size=1, aliases=GeneAliases({"NEW": ("F",)}))
    assert aligned.names == ("large",)
    assert "sets: 1 of 3 sets kept" in caplog.text
    assert "sets: 1 of 1 names matched" in caplog.text


@pytest.mark.parametrize(("min_size", "max_size"), [(0, 5), (6, 5)])
def test_impossible_sizes(gene_sets: GeneSets, min_size: int, max_size: int) -> None:
    with pytest.raises(ValueError, match="1 <= min_size <= max_size"):
        gene_sets.align(["A"], min_size=min_size, max_size=max_size)


@pytest.mark.parametrize(
    ("sets", "match"),
    [
        ({}, "names of sets: no genes found"),
        ({"s": ()}, "set 's': no genes found"),
        ({"s": ("A", "A")}, "set 's': the name 'A' occurs twice"),
    ],
)
def test_refused(sets: dict[str, tuple[str, ...]], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        GeneSets(sets, source="sets")

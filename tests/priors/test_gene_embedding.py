import logging

import numpy as np
import pytest

from scbig.priors import GeneAliases, GeneEmbedding


@pytest.fixture
def embedding() -> GeneEmbedding:
    vectors = np.arange(12, dtype=np.float64).reshape(4, 3) + 1
    vectors[2] = 0
    return GeneEmbedding(("A", "B", "ZERO", "D"), vectors, source="table")


def test_rows_follow_the_names(embedding: GeneEmbedding) -> None:
    aligned = embedding.align(["D", "X", "A", "D"])
    expected = [[10, 11, 12], [0, 0, 0], [1, 2, 3], [10, 11, 12]]
    np.testing.assert_array_equal(aligned.values, expected)
    assert aligned.values.dtype == np.float32
    np.testing.assert_array_equal(aligned.is_found, [True, False, True, True])
    assert aligned.coverage.missing == ("X",)
    assert embedding.dim == 3


def test_zero_vector_is_missing(embedding: GeneEmbedding) -> None:
    aligned = embedding.align(["ZERO", "A"])
    assert not aligned.is_found[0]
    assert aligned.coverage.missing == ("ZERO",)
    assert embedding.get_coverage(["ZERO", "A"]) == aligned.coverage


def test_aliases(embedding: GeneEmbedding) -> None:
    aliases = GeneAliases({"NEW": ("D",), "ZERO": ("B",)})
    aligned = embedding.align(["NEW", "ZERO"], aliases=aliases)
    # ZERO has no vector of its own, so the one under another name of the same gene is taken.
    np.testing.assert_array_equal(aligned.values, embedding.vectors[[3, 1]])
    assert aligned.coverage.n_found == 2


def test_coverage_is_logged(embedding: GeneEmbedding, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="scbig.priors"):
        embedding.align(["A", "X"])
    assert "table: 1 of 2 names matched (50%); missing: X" in caplog.text


@pytest.mark.parametrize(
    ("names", "vectors", "match"),
    [
        (("A", "A"), np.ones((2, 2)), "'A' occurs twice"),
        (("A", " "), np.ones((2, 2)), "name 1 is empty"),
        (("A", 5), np.ones((2, 2)), r"name 1 is 5 \(int\)"),
        ((), np.ones((0, 2)), "no genes found"),
        (("A",), np.ones((2, 2)), r"shape \(2, 2\); expected one row for each of the 1 names"),
        (("A", "B"), np.ones(2), r"shape \(2,\)"),
        (("A",), np.ones((1, 0)), "at least one column"),
        (("A", "B"), np.array([[1.0], [np.nan]]), r"1 genes have non-finite.*'B'"),
        (("A", "B"), np.array([[1e300], [1.0]]), r"non-finite values as float32.*'A'"),
    ],
)
def test_refused(names: tuple[str, ...], vectors: np.ndarray, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        GeneEmbedding(names, vectors, source="table")

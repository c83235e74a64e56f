import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scbig.priors._token_bins import measure_tokens, summarize_tokens


@given(st.lists(st.text("ACGTN", min_size=1, max_size=6), min_size=1, max_size=12))
def test_tokens_are_measured_by_their_letters(words: list[str]):
    sequence = "".join(words)
    tokens, is_special = ["<cls>", *words, "<eos>"], np.array([True, *[False] * len(words), True])
    spans = measure_tokens([token.lower() for token in tokens], is_special, sequence)
    assert [sequence[a:b] for a, b in spans] == ["", *words, ""]


def test_tokens_that_do_not_spell_the_sequence_are_refused():
    with pytest.raises(ValueError, match=r"do not spell the sequence.*use a fast tokenizer"):
        measure_tokens(["AC", "<unk>"], np.zeros(2, dtype=bool), "ACN")


def test_parts_are_averaged_and_targets_count_alone(rng: np.random.Generator):
    # Windows of 12 bases in 3 parts; tokens of 2, 2, 3, 1, 2 and 2 bases and one special.
    spans = np.array([[0, 0], [0, 2], [2, 4], [4, 7], [7, 8], [8, 10], [10, 12]])
    vectors = rng.normal(size=(7, 5)).astype(np.float32)
    is_target = np.zeros(12, dtype=bool)
    is_target[5] = True
    values, is_token = summarize_tokens(vectors, spans, is_target, 3)
    expected = [vectors[1:3].mean(0), vectors[3], vectors[5:7].mean(0)]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert is_token.all()


def test_a_part_without_tokens_is_absent():
    spans, vectors = np.array([[0, 2], [2, 4]]), np.ones((2, 1), dtype=np.float32)
    values, is_token = summarize_tokens(vectors, spans, np.ones(8, dtype=bool), 2)
    assert is_token.tolist() == [True, False]
    assert values.tolist() == [[1.0], [0.0]]

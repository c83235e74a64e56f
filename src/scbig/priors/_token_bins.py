"""Tokens of uneven length, summarised so that every window has the same number."""

from collections.abc import Sequence

import numpy as np


def measure_tokens(tokens: Sequence[str], is_special: np.ndarray, sequence: str) -> np.ndarray:
    """Which bases each token stands for, from the letters of the tokens.

    Parameters
    ----------
    tokens
        Tokens in order.
    is_special
        Whether a token stands for no bases, shape (n_tokens,).
    sequence
        What was cut into tokens.

    Returns
    -------
    First base and one past the last of each token, shape (n_tokens, 2).

    Raises
    ------
    ValueError
        When the letters of the tokens are not those of the sequence.
    """
    texts = ["" if special else t for t, special in zip(tokens, is_special, strict=True)]
    if "".join(texts).upper() != sequence.upper():
        raise ValueError(
            "the tokenizer's tokens do not spell the sequence, so what they stand for is not "
            f"known: {list(tokens)[:6]}... for {sequence[:30]}...; use a fast tokenizer"
        )
    ends = np.cumsum([len(text) for text in texts])
    return np.stack([ends - [len(text) for text in texts], ends], axis=1)


def summarize_tokens(
    vectors: np.ndarray, spans: np.ndarray, is_target: np.ndarray, n_bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Average the tokens of each part of a window.

    In a part with perturbed bases only the tokens that meet these count, as far as there are any.

    Parameters
    ----------
    vectors
        Vector of each token, shape (n_tokens, dim).
    spans
        First base and one past the last of each token, shape (n_tokens, 2); tokens without
        bases are left out.
    is_target
        Whether a base is perturbed, shape (width,).
    n_bins
        Number of parts of equal length, which divides the width; a token belongs to that of its
        middle.

    Returns
    -------
    Means, shape (n_bins, dim), and whether each is of any token, shape (n_bins,).
    """
    has_bases = spans[:, 1] > spans[:, 0]
    vectors, (starts, ends) = vectors[has_bases], spans[has_bases].T
    n_before = np.concatenate([[0], np.cumsum(is_target)])
    meets_target = n_before[ends] > n_before[starts]
    part = (starts + ends) // 2 * n_bins // len(is_target)
    weights = np.zeros((n_bins, len(vectors)), dtype=np.float32)
    weights[part, np.arange(len(vectors))] = 1.0
    of_target = weights * meets_target
    weights = np.where(of_target.any(axis=1, keepdims=True), of_target, weights)
    n_tokens = weights.sum(axis=1)
    return weights @ vectors / np.maximum(n_tokens, 1.0)[:, None], n_tokens > 0

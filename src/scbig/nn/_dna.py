"""A trainable encoder of DNA."""

import torch
import torch.nn.functional as F
from torch import nn

from scbig.nn._dynamics import MLP
from scbig.nn._tokens import Attention

# A token stands for as many bases as in the large pretrained models.
BP_PER_TOKEN = 32

_N_BASES = 4
_WORD = 6
_N_WORDS = _N_BASES**_WORD
_WORD_STD = 0.02


class DNATower(nn.Module):
    """Words, convolutions and attention over DNA, alike for both strands.

    Each word of six bases has a vector. A token is the sum of the vectors of the words that
    begin in its 32 bases, and goes through convolutions over neighbouring tokens and through
    blocks of attention to all tokens, each added to its input. Both strands are read by the
    same weights and averaged: the tokens of the reverse complement are those of the sequence in
    reverse order, and what is pooled from them does not depend on the strand.

    Words stand in for a first convolution: some hundred loci do not suffice to find motifs by
    gradient descent on filters, and do suffice to find which words matter.

    Parameters
    ----------
    dim
        Width of a token.
    n_word_features
        Length of the vector of a word.
    n_convolutions
        Number of convolutions; each sees two tokens to either side.
    n_blocks
        Number of blocks of attention.
    n_heads
        Number of attention heads; divides `dim`.
    dropout
        Probability of dropping a feature of a token, or a hidden unit.
    """

    def __init__(
        self,
        dim: int = 128,
        *,
        n_word_features: int = 64,
        n_convolutions: int = 2,
        n_blocks: int = 2,
        n_heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.words = nn.EmbeddingBag(
            _N_WORDS + 1, n_word_features, mode="sum", padding_idx=_N_WORDS
        )
        # Small, so that words without a part in it add little noise beside those with one.
        nn.init.normal_(self.words.weight[:_N_WORDS], std=_WORD_STD)
        self.project = nn.Linear(n_word_features + 1, dim)
        self.convolutions = nn.ModuleList(
            _Convolution(dim, dropout) for _ in range(n_convolutions)
        )
        self.blocks = nn.ModuleList(
            _AttentionBlock(dim, n_heads, dropout) for _ in range(n_blocks)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, codes: torch.Tensor, is_target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode.

        Parameters
        ----------
        codes
            Bases as 0 to 3 for A, C, G and T, 4 for unknown ones, of any integer type, shape
            `(B, W)`; W is a multiple of 32.
        is_target
            Whether a base is perturbed, shape `(B, W)`.

        Returns
        -------
        Tokens, shape `(B, W / 32, dim)`, and whether each has a perturbed base, shape
        `(B, W / 32)`.

        Raises
        ------
        ValueError
            When W is not a multiple of 32.
        """
        width = codes.shape[1]
        if not width or width % BP_PER_TOKEN:
            raise ValueError(
                f"windows of {width} bases cannot be cut into tokens of {BP_PER_TOKEN}; choose "
                f"a multiple, such as {max(-(-width // BP_PER_TOKEN), 1) * BP_PER_TOKEN}"
            )
        codes = codes.long()
        both = torch.cat([codes, complement(codes).flip(1)])
        share = is_target.float().unflatten(1, (-1, BP_PER_TOKEN)).mean(-1)
        forward, reverse = self._read(both, torch.cat([share, share.flip(1)])).chunk(2)
        return (forward + reverse.flip(1)) / 2, share > 0

    def _read(self, codes: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        """Turn codes (B, W) and the perturbed share of tokens (B, W / 32) into tokens."""
        bags = number_words(codes).reshape(-1, BP_PER_TOKEN)
        # A sum keeps the number of copies of a motif; the root keeps its spread near one word's.
        features = self.words(bags).unflatten(0, share.shape) / BP_PER_TOKEN**0.5
        tokens = self.project(torch.cat([self.dropout(features), share.unsqueeze(-1)], dim=-1))
        for layer in (*self.convolutions, *self.blocks):
            tokens = layer(tokens)
        return tokens


def complement(codes: torch.Tensor) -> torch.Tensor:
    """Pair each base with that of the other strand.

    Parameters
    ----------
    codes
        0 to 3 for A, C, G and T, 4 for unknown bases.

    Returns
    -------
    Codes of the same shape; unknown bases stay unknown.
    """
    return torch.where(codes < _N_BASES, _N_BASES - 1 - codes, codes)


def number_words(codes: torch.Tensor) -> torch.Tensor:
    """Number the word of six bases that begins at each base.

    Parameters
    ----------
    codes
        0 to 3 for A, C, G and T, 4 for unknown bases, shape `(B, W)`, int64.

    Returns
    -------
    0 to 4095, and 4096 for a word with an unknown base or beyond the end, shape `(B, W)`.
    """
    padded = F.pad(codes, (0, _WORD - 1), value=_N_BASES)
    letters = [padded[:, i : i + codes.shape[1]] for i in range(_WORD)]
    number = torch.zeros_like(codes)
    is_known = torch.ones_like(codes, dtype=torch.bool)
    for letter in letters:
        number = number * _N_BASES + letter
        is_known &= letter < _N_BASES
    return number.where(is_known, torch.full_like(number, _N_WORDS))


class _Convolution(nn.Module):
    """Convolution over normalised tokens (B, T, dim), added to them."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.convolution = nn.Conv1d(dim, dim, kernel_size=5, padding="same")
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        change = self.convolution(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return x + self.dropout(F.gelu(change))


class _AttentionBlock(nn.Module):
    """Attention between tokens and a feed-forward layer, each added to its normalised input."""

    def __init__(self, dim: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_tokens, self.norm_mixed = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, n_heads)
        self.feed_forward = MLP((dim, 4 * dim, dim), activation=nn.GELU, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.norm_tokens(x)
        x = x + self.dropout(self.attention(tokens, tokens))
        return x + self.dropout(self.feed_forward(self.norm_mixed(x)))

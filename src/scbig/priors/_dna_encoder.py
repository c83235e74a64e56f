"""What a DNA encoder gives and what is asked of it, and the one that looks vectors up."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Protocol, Self, runtime_checkable

import numpy as np

from scbig.priors._gene_embedding import GeneEmbedding
from scbig.priors._windows import Windows

_N_SHOWN = 10


@dataclass(frozen=True, eq=False)
class LocusTokens:
    """Vectors along the DNA around each of some places.

    Parameters
    ----------
    values
        Shape (n_loci, n_tokens, dim), converted to float32.
    is_target
        Whether a token stands for perturbed bases, shape (n_loci, n_tokens).
    is_token
        Whether there is a token; the others are padding and zero, shape (n_loci, n_tokens).

    Raises
    ------
    ValueError
        When shapes do not agree or values are not finite.
    """

    values: np.ndarray
    is_target: np.ndarray
    is_token: np.ndarray

    def __post_init__(self) -> None:
        shapes = self.values.shape, self.is_target.shape, self.is_token.shape
        if self.values.ndim != 3 or shapes[0][:2] != shapes[1] or shapes[1] != shapes[2]:
            raise ValueError(
                f"values, is_target and is_token have the shapes {shapes}; they must be "
                "(n_loci, n_tokens, dim) and twice (n_loci, n_tokens)"
            )
        values = np.where(self.is_token[:, :, None], self.values, 0).astype(np.float32)
        if not np.isfinite(values).all():
            rows = np.flatnonzero(~np.isfinite(values).all(axis=(1, 2)))
            raise ValueError(f"the vectors of {rows.size} loci are not finite (first: {rows[0]})")
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.values.shape[2]

    def pool(self) -> np.ndarray:
        """Mean over the tokens of the perturbed bases; over all tokens where there are none.

        Returns
        -------
        One vector per locus, zero where it has no token, shape (n_loci, dim), float32.
        """
        is_used = self.is_target & self.is_token
        is_used = np.where(is_used.any(axis=1, keepdims=True), is_used, self.is_token)
        weights = is_used / np.maximum(is_used.sum(axis=1, keepdims=True), 1)
        return np.einsum("ntd,nt->nd", self.values, weights.astype(np.float32))

    def take(self, rows: np.ndarray) -> "LocusTokens":
        """Those of some places.

        Parameters
        ----------
        rows
            Their numbers, shape (n_rows,).

        Returns
        -------
        Their tokens.
        """
        return LocusTokens(self.values[rows], self.is_target[rows], self.is_token[rows])

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> "LocusTokens":
        """Tokens of several groups of places as one, in order.

        Parameters
        ----------
        parts
            One or more, with equal numbers and lengths of tokens.

        Returns
        -------
        The tokens of all places.
        """
        names = ("values", "is_target", "is_token")
        return LocusTokens(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


@runtime_checkable
class DNAEncoder(Protocol):
    """Turns the DNA around places into vectors, and does not learn.

    Attributes
    ----------
    dim
        Length of a vector.
    width
        Number of bases that it reads around a place; 0 if it knows places by their ids.
    fingerprint
        Differs between encoders that give different vectors; the cache goes by it.
    """

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    @property
    def width(self) -> int:
        """Number of bases that it reads around a place."""
        ...

    @property
    def fingerprint(self) -> str:
        """Name of the encoder with all that its vectors depend on."""
        ...

    def encode(self, windows: Windows) -> LocusTokens:
        """Encode windows of the encoder's width.

        Parameters
        ----------
        windows
            The DNA around some places.

        Returns
        -------
        The same number of tokens for each.
        """
        ...


class TableEncoder:
    """Looks vectors up by locus id; needs no DNA.

    Parameters
    ----------
    table
        One vector per locus id, as :func:`load_gene_embedding` reads them from a file. A row of
        zeros is a vector like any other here.
    """

    def __init__(self, table: GeneEmbedding) -> None:
        self.table = table
        self._rows = {name: row for row, name in enumerate(table.names)}

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.table.dim

    @property
    def width(self) -> int:
        """0: it reads no DNA."""
        return 0

    @cached_property
    def fingerprint(self) -> str:
        """Changes with ids and vectors."""
        digest = blake2b("\n".join(self.table.names).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(self.table.vectors).data)
        return f"table-{digest.hexdigest()}"

    def encode(self, windows: Windows) -> LocusTokens:
        """Look vectors up.

        Parameters
        ----------
        windows
            Windows of any width; only their ids are read.

        Returns
        -------
        One token per locus.

        Raises
        ------
        ValueError
            When a locus has no vector; the message lists them.
        """
        missing = [id for id in windows.ids if id not in self._rows]
        if missing:
            more = f" and {len(missing) - _N_SHOWN} more" if len(missing) > _N_SHOWN else ""
            raise ValueError(
                f"{self.table.source} has no vector for {len(missing)} of {len(windows)} loci: "
                f"{', '.join(missing[:_N_SHOWN])}{more}. Its names must be locus ids, such as "
                f"{self.table.names[0]!r}."
            )
        rows = [self._rows[id] for id in windows.ids]
        is_there = np.ones((len(rows), 1), dtype=bool)
        return LocusTokens(self.table.vectors[rows][:, None], is_there, is_there)

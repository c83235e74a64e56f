"""Vectors of genes: their rows in the order of a data set, and their directions by name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scbig.priors._gene_names import (
    Coverage,
    GeneAliases,
    check_names,
    log_coverage,
    make_coverage,
    match_names,
)


@dataclass(frozen=True, eq=False)
class AlignedEmbedding:
    """Gene vectors in the order of the names that were asked for.

    Parameters
    ----------
    values
        One row per name, zero where there is none, shape (n_names, dim), float32.
    is_found
        Whether each name has a vector, shape (n_names,).
    coverage
        The same in words.
    """

    values: np.ndarray
    is_found: np.ndarray
    coverage: Coverage


@dataclass(frozen=True, eq=False)
class GeneEmbedding:
    """One vector per gene.

    Parameters
    ----------
    names
        Gene names, each once.
    vectors
        Vectors, shape (n_genes, dim), converted to float32. A row of zeros says nothing about
        its gene, so `align` reports such a gene as missing.
    source
        Where the vectors come from, for messages.

    Raises
    ------
    ValueError
        When shapes do not agree, names are empty or doubled, or values are not finite.
    """

    names: tuple[str, ...]
    vectors: np.ndarray
    source: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", check_names(self.names, self.source))
        with np.errstate(over="ignore"):  # what overflows is refused below, by name
            vectors = np.asarray(self.vectors, dtype=np.float32)
        object.__setattr__(self, "vectors", vectors)
        if vectors.ndim != 2 or len(vectors) != len(self.names) or not vectors.shape[1]:
            raise ValueError(
                f"{self.source}: vectors have shape {vectors.shape}; expected one row for each "
                f"of the {len(self.names)} names and at least one column"
            )
        is_bad = ~np.isfinite(vectors).all(axis=1)
        if is_bad.any():
            first = self.names[int(np.argmax(is_bad))]
            raise ValueError(
                f"{self.source}: {is_bad.sum()} genes have non-finite values as float32 (first: "
                f"{first!r}); drop these rows"
            )

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.vectors.shape[1]

    @cached_property
    def _positions(self) -> dict[str, int]:
        rows = np.flatnonzero(self.vectors.any(axis=1))
        return {self.names[row]: int(row) for row in rows}

    def get_coverage(
        self, names: Sequence[str], *, aliases: GeneAliases | None = None
    ) -> Coverage:
        """Count the names that have a vector.

        Parameters
        ----------
        names
            The names to look for.
        aliases
            Other names of the same genes, see :func:`load_aliases`.

        Returns
        -------
        The record of what was found and what is missing.
        """
        is_found = match_names(names, self._positions, aliases) >= 0
        return make_coverage(self.source, names, is_found)

    def align(
        self, names: Sequence[str], *, aliases: GeneAliases | None = None
    ) -> AlignedEmbedding:
        """Vectors in the order of the given names; the coverage is logged.

        Parameters
        ----------
        names
            Gene names, for example ``adata.var_names``.
        aliases
            Other names of the same genes, see :func:`load_aliases`.

        Returns
        -------
        Vectors with zero rows for names that are unknown or whose vector is zero.
        """
        positions = match_names(names, self._positions, aliases)
        is_found = positions >= 0
        values = np.zeros((len(names), self.dim), dtype=np.float32)
        values[is_found] = self.vectors[positions[is_found]]
        coverage = make_coverage(self.source, names, is_found)
        log_coverage(coverage)
        return AlignedEmbedding(values, is_found, coverage)


class UnitVectors(Mapping[str, np.ndarray]):
    """A table of embeddings as a mapping from names, or their aliases, to unit vectors.

    Parameters
    ----------
    table
        Gene embeddings; genes with a zero vector have none.
    aliases
        Other names of the genes.
    """

    def __init__(self, table: GeneEmbedding, aliases: GeneAliases | None = None) -> None:
        length = np.linalg.norm(table.vectors, axis=1, keepdims=True)
        self._vectors = table.vectors / np.where(length > 0, length, 1)
        self._rows = {name: row for row, name in enumerate(table.names) if length[row, 0] > 0}
        self._aliases = aliases
        self.dim = table.dim

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._rows or self._aliases is None:
            return self._vectors[self._rows[name]]
        found = self._aliases.resolve(name, self._rows.keys())
        if found is None:
            raise KeyError(name)
        return self._vectors[self._rows[found]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

"""Vectors of genes, and which genes of a data set a prior has, under whatever name."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from scbig._arguments import check_array, check_instance, list_values
from scbig.priors._aliases import GeneAliases

logger = logging.getLogger(__name__)

_N_SHOWN = 10


@dataclass(frozen=True)
class Coverage:
    """How many of the wanted names a prior knows.

    Parameters
    ----------
    source
        What was searched, for example ``"STRING"`` or a file name.
    n_found
        Number of names that were found.
    n_total
        Number of names that were looked for.
    missing
        The names that were not found, in the order in which they were asked for.
    """

    source: str
    n_found: int
    n_total: int
    missing: tuple[str, ...]

    @property
    def fraction(self) -> float:
        """Share of the names that were found, in [0, 1]; 0 when none were asked for."""
        return self.n_found / self.n_total if self.n_total else 0.0

    def __str__(self) -> str:
        line = (
            f"{self.source}: {self.n_found} of {self.n_total} names matched ({self.fraction:.0%})"
        )
        if not self.missing:
            return line
        n_more = len(self.missing) - _N_SHOWN
        rest = f", ... and {n_more} more" if n_more > 0 else ""
        return f"{line}; missing: {', '.join(self.missing[:_N_SHOWN])}{rest}"


def make_coverage(source: str, names: Sequence[str], is_found: Iterable[bool]) -> Coverage:
    """Count the names that were found; of the others, their order is kept."""
    missing = tuple(name for name, found in zip(names, is_found, strict=True) if not found)
    return Coverage(source, len(names) - len(missing), len(names), missing)


def log_coverage(coverage: Coverage) -> None:
    """Log a coverage; as a warning when names were asked for and none was found."""
    if coverage.n_total and not coverage.n_found:
        logger.warning(
            "%s. Are both sides symbols, or both Ensembl ids? If not, use aliases=load_aliases()",
            coverage,
        )
    else:
        logger.info("%s", coverage)


def match_names(
    names: Sequence[str], positions: Mapping[str, int], aliases: GeneAliases | None
) -> np.ndarray:
    """Positions of names, or of what else they are called, among known ones; -1 where unknown."""
    known = positions.keys()
    found = names if aliases is None else [aliases.resolve(name, known) for name in names]
    return np.array([positions.get(name, -1) if name else -1 for name in found], dtype=np.int64)


def make_selection(positions: np.ndarray, n_known: int) -> sparse.csr_array:
    """Matrix that picks rows of a table, and gives a zero row where a position is -1."""
    rows = np.flatnonzero(positions >= 0)
    ones = np.ones(rows.size, dtype=np.float32)
    shape = (positions.size, n_known)
    return sparse.csr_array((ones, (rows, positions[rows])), shape=shape)


def check_names(names: Iterable[object], where: str) -> tuple[str, ...]:
    """Check that gene names are unique, non-empty strings, and return them."""
    checked: dict[str, None] = {}
    for number, name in enumerate(names):
        if not isinstance(name, str):
            raise ValueError(
                f"{where}: name {number} is {name!r} ({type(name).__name__}); "
                "gene names must be strings"
            )
        if not name.strip():
            raise ValueError(f"{where}: name {number} is empty; every row needs a gene name")
        if name in checked:
            raise ValueError(f"{where}: the name {name!r} occurs twice; keep one row per gene")
        checked[str(name)] = None
    if not checked:
        raise ValueError(f"{where}: no genes found; give at least one named row")
    return tuple(checked)


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
        check_instance("source", self.source, str, "text that says where it is from")
        names = list_values("names", self.names, "names of genes, such as ('KLF1', 'CEBPA')")
        object.__setattr__(self, "names", check_names(names, self.source))
        with np.errstate(over="ignore"):  # what overflows is refused below, by name
            vectors = check_array("vectors", self.vectors).astype(np.float32)
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
        if is_found.all():
            logger.debug("%s", coverage)
        else:
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


@dataclass(frozen=True, eq=False)
class TargetEmbeddings:
    """Embeddings of perturbation targets from several tables, each used for what it has.

    Attributes
    ----------
    tables
        Gene embeddings.
    aliases
        Other names of the genes.
    """

    tables: tuple[GeneEmbedding, ...] = ()
    aliases: GeneAliases | None = None

    @cached_property
    def mappings(self) -> tuple[UnitVectors, ...]:
        """Lookup tables from target to unit vector."""
        return tuple(UnitVectors(table, self.aliases) for table in self.tables)

    @property
    def dim(self) -> int:
        """Length of the joint vector of a target."""
        return sum(mapping.dim for mapping in self.mappings)

    def __contains__(self, target: str) -> bool:
        return any(target in mapping for mapping in self.mappings)

    def get_vector(self, target: str) -> np.ndarray:
        """Return the unit vectors of all tables side by side; zeros where a table lacks it.

        Parameters
        ----------
        target
            Name of the target.
        """
        parts = [mapping.get(target, np.zeros(mapping.dim)) for mapping in self.mappings]
        return np.concatenate([np.empty(0), *parts]).astype(np.float32)

    def get_vectors(self, targets: Sequence[tuple[str, ...]]) -> np.ndarray:
        """Vectors of B target sets, zeros where nothing is known and at padding, ``(B, T, D)``.

        Parameters
        ----------
        targets
            B sets of at most T targets.
        """
        vectors = np.zeros((len(targets), get_width(targets), self.dim), dtype=np.float32)
        for rows, group in zip(vectors, targets, strict=True):
            for row, target in zip(rows, group, strict=False):
                row[:] = self.get_vector(target)
        return vectors

    def describe(self) -> str:
        """Name the tables and how many genes each has, for messages."""
        sizes = [len(mapping) for mapping in self.mappings]
        return ", ".join(
            f"{table.source} ({n} genes)" for table, n in zip(self.tables, sizes, strict=True)
        )


def choose_embedding(*tables: GeneEmbedding | None) -> GeneEmbedding | None:
    """Choose the first table that is given, or raise where something else is given."""
    for table in tables:
        if table is not None and not isinstance(table, GeneEmbedding):
            raise ValueError(
                f"A {type(table).__name__} was given as embedding of genes, which is a "
                "GeneEmbedding. Read one: scbig.priors.load_gene_embedding(path), or make one: "
                "scbig.priors.GeneEmbedding(names, vectors, source)."
            )
    return next((table for table in tables if table is not None), None)


def get_width(targets: Sequence[tuple[str, ...]]) -> int:
    """Return the largest number of targets of a condition, at least 1."""
    return max((len(group) for group in targets), default=1) or 1


def index_targets(targets: Sequence[tuple[str, ...]], names: Sequence[str]) -> np.ndarray:
    """Positions of B target sets in unique names, ``(B, T)``; -1 where absent and at padding."""
    position = {name: i for i, name in enumerate(names)}
    index = np.full((len(targets), get_width(targets)), -1, dtype=np.int64)
    for row, group in zip(index, targets, strict=True):
        row[: len(group)] = [position.get(target, -1) for target in group]
    return index


def mask_targets(targets: Sequence[tuple[str, ...]]) -> np.ndarray:
    """True at targets, False at padding, shape ``(B, T)``."""
    sizes = np.array([len(group) for group in targets], dtype=np.int64)
    return np.arange(get_width(targets)) < sizes[:, None]

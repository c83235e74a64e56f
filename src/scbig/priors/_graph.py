"""Which genes interact, and the same among the genes of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from scbig.priors._aliases import GeneAliases
from scbig.priors._coverage import Coverage, log_coverage, make_coverage
from scbig.priors._matching import check_names, make_selection, match_names


@dataclass(frozen=True, eq=False)
class AlignedGraph:
    """Interactions among the names that were asked for.

    Parameters
    ----------
    adjacency
        Symmetric matrix without self loops, shape (n_names, n_names).
    is_found
        Whether the graph knows each name, shape (n_names,). A known gene may still have no
        neighbour here.
    coverage
        The same in words.
    """

    adjacency: sparse.csr_array
    is_found: np.ndarray
    coverage: Coverage


@dataclass(frozen=True, eq=False)
class GeneGraph:
    """Undirected graph of genes.

    Parameters
    ----------
    names
        Gene names, each once.
    adjacency
        Symmetric matrix without self loops, shape (n_genes, n_genes).
    source
        Where the interactions come from, for messages.

    Raises
    ------
    ValueError
        When names are empty or doubled, or the matrix has another shape, is not finite, is not
        symmetric or has self loops.
    """

    names: tuple[str, ...]
    adjacency: sparse.csr_array
    source: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", check_names(self.names, self.source))
        object.__setattr__(self, "adjacency", sparse.csr_array(self.adjacency))
        shape = (len(self.names), len(self.names))
        if self.adjacency.shape != shape:
            raise ValueError(
                f"{self.source}: adjacency has shape {self.adjacency.shape}; expected {shape}"
            )
        if not np.isfinite(self.adjacency.data).all():
            raise ValueError(f"{self.source}: adjacency has non-finite values; remove these edges")
        if self.adjacency.diagonal().any():
            raise ValueError(f"{self.source}: adjacency has self loops; use adjacency.setdiag(0)")
        if (self.adjacency != self.adjacency.T).nnz:
            raise ValueError(
                f"{self.source}: adjacency is not symmetric; use adjacency.maximum(adjacency.T)"
            )

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.names)}

    def get_coverage(
        self, names: Sequence[str], *, aliases: GeneAliases | None = None
    ) -> Coverage:
        """Count the names that the graph knows.

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

    def align(self, names: Sequence[str], *, aliases: GeneAliases | None = None) -> AlignedGraph:
        """Interactions among the given names, in their order; the coverage is logged.

        Parameters
        ----------
        names
            Gene names, for example ``adata.var_names``.
        aliases
            Other names of the same genes, see :func:`load_aliases`.

        Returns
        -------
        The graph among these names, with empty rows and columns for unknown ones.
        """
        positions = match_names(names, self._positions, aliases)
        selection = make_selection(positions, len(self.names))
        is_found = positions >= 0
        coverage = make_coverage(self.source, names, is_found)
        log_coverage(coverage)
        return AlignedGraph((selection @ self.adjacency @ selection.T).tocsr(), is_found, coverage)

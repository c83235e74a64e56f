"""Which genes interact: graphs of genes, and the graph that STRING's files hold."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from scipy import sparse

from scbig._annotations import checked
from scbig._reading import check_sparse
from scbig.priors._aliases import GeneAliases
from scbig.priors._gene_embedding import (
    Coverage,
    check_names,
    log_coverage,
    make_coverage,
    make_selection,
    match_names,
)
from scbig.priors._tables import (
    check_columns,
    iter_lines,
    make_convert_options,
    open_bytes,
    read_header,
    read_table,
)

logger = logging.getLogger(__name__)

_LINK_TYPES = {"protein1": str, "protein2": str, "combined_score": int}
_INFO_TYPES = {"#string_protein_id": str, "preferred_name": str}
_MAX_SCORE = 1000
_BLOCK_BYTES = 8 << 20


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
        check_sparse(self.adjacency, f"{self.source}: adjacency")
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


@checked
def load_string(
    links: str | PathLike[str],
    info: str | PathLike[str],
    *,
    min_score: int = 700,
    var_names: Sequence[str] | None = None,
) -> GeneGraph:
    """Read a protein interaction graph from STRING's own files.

    The links are streamed and filtered by score before names are looked up, so that the full
    human file (13.7 million rows) is read in seconds and in little memory.

    Parameters
    ----------
    links
        ``<taxon>.protein.links.*.txt``, plain or ``.gz``: columns ``protein1``, ``protein2``
        and ``combined_score``, separated by a space.
    info
        ``<taxon>.protein.info.*.txt``, plain or ``.gz``: columns ``#string_protein_id`` and
        ``preferred_name``, separated by a tab.
    min_score
        Least combined score of an interaction, 0 to 1000 (700 is STRING's "high confidence").
    var_names
        Gene names of a data set; if given, the log says how many of them STRING knows.

    Returns
    -------
    Graph of the preferred names of all proteins in `info`, in their order, with ones in its
    symmetric adjacency. Proteins with the same name are one gene.

    Raises
    ------
    ValueError
        When a file is empty, lacks a column, has a bad line (with its number) or lists a
        protein twice, when no protein of `links` is in `info`, or when the score is impossible.

    Notes
    -----
    The files are at https://string-db.org/cgi/download (CC BY 4.0).
    """
    _check_score(min_score)
    proteins, genes, gene_of_protein = _read_info(Path(info))
    pairs = _read_pairs(Path(links), proteins, min_score)
    adjacency = _make_adjacency(gene_of_protein[pairs], len(genes))
    logger.info(
        "STRING: %d genes, %d interactions of score %d or more",
        len(genes),
        adjacency.nnz // 2,
        min_score,
    )
    graph = GeneGraph(genes, adjacency, source="STRING")
    if var_names is not None:
        log_coverage(graph.get_coverage(var_names))
    return graph


def _check_score(min_score: int) -> None:
    # A confidence such as 0.7 would keep every row.
    if not 0 <= min_score <= _MAX_SCORE or min_score % 1:
        raise ValueError(
            f"min_score={min_score}; STRING writes scores as whole numbers from 0 to 1000: "
            "use min_score=700 for a confidence of 0.7"
        )


def _read_info(path: Path) -> tuple[pa.Array, tuple[str, ...], np.ndarray]:
    check_columns(path, read_header(path, "\t"), tuple(_INFO_TYPES))
    table = read_table(path, "\t", _INFO_TYPES)
    proteins, names = (table[column].combine_chunks() for column in _INFO_TYPES)
    if len(pc.unique(proteins)) < len(proteins):
        counts = pc.value_counts(proteins).to_pylist()
        doubled = next(row["values"] for row in counts if row["counts"] > 1)
        raise ValueError(f"{path}: the protein {doubled!r} occurs twice; keep one line for each")
    gene_of_protein, genes = pd.factorize(np.asarray(names.to_pylist(), dtype=object))
    return proteins, tuple(genes), gene_of_protein


def _read_pairs(path: Path, proteins: pa.Array, min_score: int) -> np.ndarray:
    """Positions of the proteins of each interaction that scores enough, shape (2, n_pairs)."""
    blocks = [np.empty((2, 0), dtype=np.int32)]
    n_rows = n_strong = 0
    for batch in _iter_links(path):
        scores = pc.min_max(batch["combined_score"]).as_py()
        if len(batch) and not (scores["min"] >= 0 and scores["max"] <= _MAX_SCORE):
            raise ValueError(
                f"{path}: combined_score reaches from {scores['min']} to {scores['max']}; those "
                f"of STRING are 0 to {_MAX_SCORE}. The file is another one, or was changed."
            )
        is_enough = pc.greater_equal(batch["combined_score"], min_score)
        strong = batch.filter(is_enough)
        # Filtered first: of the human file's rows, 3% have a score of 700 or more.
        ends = [pc.index_in(strong[column], proteins) for column in ("protein1", "protein2")]
        block = np.stack([end.fill_null(-1).to_numpy() for end in ends])
        blocks.append(block[:, (block >= 0).all(axis=0)])
        n_rows += len(batch)
        n_strong += len(strong)
    pairs = np.concatenate(blocks, axis=1)
    if n_strong and not pairs.size:
        raise ValueError(
            f"{path}: none of the proteins is in the info file; take both files from the same "
            "species and version of STRING"
        )
    logger.info(
        "%s: %d rows, %d of them of score %d or more, of these %d between known proteins",
        path.name,
        n_rows,
        n_strong,
        min_score,
        pairs.shape[1],
    )
    return pairs


def _iter_links(path: Path) -> Iterator[pa.RecordBatch]:
    header = read_header(path, " ")
    check_columns(path, header, tuple(_LINK_TYPES))
    try:
        with open_bytes(path) as stream:
            yield from csv.open_csv(
                stream,
                read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
                parse_options=csv.ParseOptions(delimiter=" ", quote_char=False),
                convert_options=make_convert_options(_LINK_TYPES),
            )
    except (pa.ArrowException, OSError) as error:
        place = _find_bad_line(path, header) or str(error)
        raise ValueError(f"{path} cannot be read as STRING links: {place}") from error


def _find_bad_line(path: Path, header: list[str]) -> str | None:
    # The streaming reader does not count lines, so they are counted after it has failed.
    column = header.index("combined_score")
    for number, line in enumerate(iter_lines(path), start=1):
        fields = line.split(" ")
        if number == 1 or not line:
            continue
        if len(fields) != len(header) or not fields[column].isdigit():
            return f"line {number}: expected {' '.join(header)}, found {line[:80]!r}"
    return None


def _make_adjacency(pairs: np.ndarray, n_genes: int) -> sparse.csr_array:
    # STRING lists each pair in both directions; a file may also list it once, or more often.
    left, right = pairs[:, pairs[0] != pairs[1]]
    ones = np.ones(left.size, dtype=np.float32)
    directed = sparse.csr_array((ones, (left, right)), shape=(n_genes, n_genes))
    adjacency = (directed + directed.T).tocsr()
    adjacency.sort_indices()
    adjacency.data[:] = 1.0
    return adjacency

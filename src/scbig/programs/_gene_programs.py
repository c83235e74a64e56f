"""The record of gene programs, and making it from whatever is at hand.

Programs are clustered from an embedding, a graph or the data, or taken from a grouping.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from scbig._arguments import show
from scbig._constants import UNS
from scbig.priors import AlignedEmbedding, AlignedGraph, Coverage
from scbig.programs._clustering import (
    UNASSIGNED,
    Matrix,
    ProgramConfig,
    check_n_programs,
    compute_coexpression,
    compute_gene_programs,
    make_membership,
)
from scbig.programs._coherence import Coherence, compute_coherence

UNASSIGNED_NAME = "unassigned"


@dataclass(frozen=True)
class GenePrograms:
    """Which program each gene belongs to, and where that comes from.

    Attributes
    ----------
    labels
        Program of each gene in 0 .. n_programs - 1, shape (n_genes,).
    var_names
        The genes, in the order of ``labels``.
    names
        Name of each program.
    source
        What the programs were made from, in words.
    coherence
        Edge density against permutations, if there was a graph.
    settings
        Settings of the clustering; empty for a known grouping.
    """

    labels: np.ndarray
    var_names: tuple[str, ...]
    names: tuple[str, ...]
    source: str
    coherence: Coherence | None = None
    settings: Mapping[str, int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.var_names):
            raise ValueError(f"Found {len(self.labels)} labels for {len(self.var_names)} genes.")
        found = np.unique(self.labels)
        if not np.array_equal(found, np.arange(len(self.names))):
            raise ValueError(
                f"Labels must use each of 0 .. {len(self.names) - 1}, one per program name; "
                f"found {found.tolist()[:10]}."
            )

    @property
    def n_programs(self) -> int:
        """Number of programs."""
        return len(self.names)

    @property
    def sizes(self) -> np.ndarray:
        """Number of genes of each program, shape (n_programs,)."""
        return np.bincount(self.labels, minlength=self.n_programs)

    @property
    def members(self) -> dict[str, tuple[str, ...]]:
        """Genes of each program by its name, in the order of ``var_names``."""
        genes = np.asarray(self.var_names, dtype=object)
        return {name: tuple(genes[self.labels == k]) for k, name in enumerate(self.names)}

    def get_labels(self, var_names: Sequence[str]) -> np.ndarray:
        """Look up other genes, or the same ones in another order.

        Parameters
        ----------
        var_names
            Gene names.

        Returns
        -------
        Their programs, -1 for genes that were not clustered.
        """
        known = dict(zip(self.var_names, self.labels.tolist(), strict=True))
        return np.array([known.get(name, UNASSIGNED) for name in var_names], dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Give the record a form that h5ad files can hold."""
        entry: dict[str, Any] = {
            "labels": np.asarray(self.labels, dtype=np.int64),
            "var_names": np.array(self.var_names, dtype=object),
            "names": np.array(self.names, dtype=object),
            "source": self.source,
            "settings": dict(self.settings),
        }
        if self.coherence is not None:
            entry["coherence"] = asdict(self.coherence)
        return entry

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "GenePrograms":
        """Rebuild the record, also after a round trip through a file.

        Parameters
        ----------
        entry
            What :meth:`to_dict` returned.

        Returns
        -------
        The record.
        """
        coherence = entry.get("coherence")
        return cls(
            labels=np.asarray(entry["labels"], dtype=np.int64),
            var_names=tuple(map(str, entry["var_names"])),
            names=tuple(map(str, entry["names"])),
            source=str(entry["source"]),
            coherence=None if coherence is None else _read_coherence(coherence),
            settings={key: _to_number(value) for key, value in entry["settings"].items()},
        )


def make_gene_programs(
    var_names: Sequence[str],
    get_controls: Callable[[], Matrix],
    *,
    embedding: AlignedEmbedding | None = None,
    graph: AlignedGraph | None = None,
    config: ProgramConfig | None = None,
) -> GenePrograms:
    """Cluster genes with the priors at hand; co-expression speaks where they are silent.

    Parameters
    ----------
    var_names
        Unique gene names.
    get_controls
        Returns log1p expression of control cells, shape (n_cells, n_genes). Called only if some
        gene has no embedding.
    embedding
        Gene embedding aligned with ``var_names``; without one, genes are clustered by
        co-expression.
    graph
        Interaction graph aligned with ``var_names``; without one, its term is left out.
    config
        Settings; the published ones by default.

    Returns
    -------
    The programs, with their coherence if a graph is given.

    Raises
    ------
    ValueError
        As :func:`compute_gene_programs`, :func:`compute_coexpression` and
        :func:`compute_coherence`.
    """
    config = ProgramConfig() if config is None else config
    check_n_programs(config, len(var_names))
    rows, stand_in = _get_rows(var_names, get_controls, embedding, config.seed)
    adjacency = None if graph is None else graph.adjacency
    labels = compute_gene_programs(
        var_names, rows, coexpression=stand_in, adjacency=adjacency, config=config
    )
    reports = [_describe_coverage(prior.coverage) for prior in (embedding, graph) if prior]
    if embedding is None or stand_in is not None:
        reports.append("co-expression of the control cells")
    return GenePrograms(
        labels=labels,
        var_names=tuple(var_names),
        names=make_program_names(config.n_programs),
        source="; ".join(reports),
        coherence=None if adjacency is None else compute_coherence(labels, adjacency),
        settings=asdict(config),
    )


def make_known_programs(
    var_names: Sequence[str],
    groups: Mapping[str, str] | pd.Series,
    *,
    graph: AlignedGraph | None = None,
    source: str = "groups",
) -> GenePrograms:
    """Take a grouping as it is; genes that it leaves out form the program "unassigned".

    Parameters
    ----------
    var_names
        Unique gene names.
    groups
        Program name of each gene, by gene name; missing values count as left out.
    graph
        Interaction graph aligned with ``var_names``, for the coherence report.
    source
        What the grouping is called in the record.

    Returns
    -------
    The programs, named and sorted as in the grouping (a categorical keeps its order).

    Raises
    ------
    ValueError
        If gene names repeat in the grouping, or none of them is in ``var_names``.
    """
    series = groups if isinstance(groups, pd.Series) else pd.Series(dict(groups), dtype=object)
    if not series.index.is_unique:
        repeated = series.index[series.index.duplicated()].unique()[:3].tolist()
        raise ValueError(f"The grouping names genes more than once: {repeated}. Keep one each.")
    found = series.reindex(pd.Index(var_names))
    if found.isna().all():
        raise ValueError(
            f"None of the {len(series)} genes of the grouping is in var_names, which start with "
            f"{list(var_names[:3])}; the grouping starts with {series.index[:3].tolist()}."
        )
    names = _sort_program_names(found)
    codes = {name: code for code, name in enumerate(names)}
    filled = found.astype(object).where(found.notna(), UNASSIGNED_NAME).astype(str)
    labels = filled.map(codes).to_numpy(dtype=np.int64)
    n_found = int(found.notna().sum())
    report = f"{source}: {n_found} of {len(found)} genes grouped"
    return GenePrograms(
        labels=labels,
        var_names=tuple(var_names),
        names=names,
        source=report if graph is None else f"{report}; {_describe_coverage(graph.coverage)}",
        coherence=None if graph is None else compute_coherence(labels, graph.adjacency),
    )


def get_gene_programs(uns: Mapping[str, Any]) -> GenePrograms:
    """Read the programs that :func:`scbig.pp.gene_programs` stored.

    Parameters
    ----------
    uns
        ``adata.uns``.

    Returns
    -------
    The record.

    Raises
    ------
    ValueError
        If there is none.
    """
    if UNS.PROGRAMS not in uns:
        raise ValueError(
            f"uns has no {UNS.PROGRAMS!r}; found {sorted(uns)}. "
            "Run scbig.pp.gene_programs(adata) first."
        )
    try:
        return GenePrograms.from_dict(uns[UNS.PROGRAMS])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"uns[{UNS.PROGRAMS!r}] is no record of gene programs: {show(uns[UNS.PROGRAMS])} "
            f"({error}). Make it again: scbig.pp.gene_programs(adata)"
        ) from error


def make_program_names(n_programs: int) -> tuple[str, ...]:
    """Names "P00", "P01", ... that sort like their numbers."""
    width = max(2, len(str(n_programs - 1)))
    return tuple(f"P{k:0{width}d}" for k in range(n_programs))


def _describe_coverage(coverage: Coverage) -> str:
    """Say what a prior knows, without the list of missing genes that is logged already."""
    return f"{coverage.source}: {coverage.n_found} of {coverage.n_total} genes"


def _get_rows(
    var_names: Sequence[str],
    get_controls: Callable[[], Matrix],
    embedding: AlignedEmbedding | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows to cluster, and what stands in for those that are missing."""
    if embedding is None:
        return _compute_in_name_order(get_controls(), var_names, seed), None
    rows = embedding.values  # noqa: PD011 - a gene embedding, not a data frame
    is_complete = embedding.is_found.all()
    return rows, None if is_complete else _compute_in_name_order(get_controls(), var_names, seed)


def _compute_in_name_order(x: Matrix, var_names: Sequence[str], seed: int) -> np.ndarray:
    """Loadings in the order of ``var_names`` that do not depend on it, to the last bit."""
    order = np.argsort(np.asarray(var_names, dtype=str), kind="stable")
    # Sums run along the storage, so it too must not remember the former order.
    if sparse.issparse(x):
        in_order = sparse.csr_array(x)[:, order]
        in_order.sort_indices()
    else:
        in_order = np.ascontiguousarray(np.asarray(x)[:, order])
    loadings = compute_coexpression(in_order, seed=seed)
    result = np.empty_like(loadings)
    result[order] = loadings
    return result


def _sort_program_names(found: pd.Series) -> tuple[str, ...]:
    kinds = found.astype("category").cat.remove_unused_categories().cat.categories
    names = tuple(map(str, kinds))
    if found.isna().any() and UNASSIGNED_NAME not in names:
        return (*names, UNASSIGNED_NAME)
    return names


def _read_coherence(values: Mapping[str, Any]) -> Coherence:
    # h5ad files give NumPy scalars back.
    return Coherence(
        density=float(values["density"]),
        permuted_mean=float(values["permuted_mean"]),
        permuted_std=float(values["permuted_std"]),
        p_value=float(values["p_value"]),
        n_permutations=int(values["n_permutations"]),
    )


def _to_number(value: Any) -> int | float:
    return value.item() if isinstance(value, np.generic) else value


def compute_program_means(x: Matrix, labels: np.ndarray, n_programs: int) -> np.ndarray:
    """Average the genes of each program.

    Parameters
    ----------
    x
        Expression, shape (n_cells, n_genes), dense or sparse.
    labels
        Program of each gene, -1 for genes to leave out, shape (n_genes,).
    n_programs
        Number of programs.

    Returns
    -------
    float64 array of shape (n_cells, n_programs); zero for a program without genes.

    Raises
    ------
    ValueError
        If the number of labels is not the number of genes.
    """
    if x.shape[1] != len(labels):
        raise ValueError(f"Found {len(labels)} labels for {x.shape[1]} genes.")
    membership = make_membership(np.asarray(labels), n_programs)
    if sparse.issparse(x):
        totals = (sparse.csr_array(x) @ membership).toarray()
    else:
        totals = np.asarray(x @ membership)
    return totals / np.maximum(membership.sum(axis=0), 1.0)


def average_programs(labels: np.ndarray) -> np.ndarray:
    """Return the matrix that averages the genes of each program.

    Parameters
    ----------
    labels
        Program of each gene, shape ``(G,)``.

    Returns
    -------
    Rows that sum to one, shape ``(K, G)``.
    """
    one_hot = np.eye(labels.max() + 1, dtype=np.float32)[:, labels]
    return one_hot / one_hot.sum(axis=1, keepdims=True)

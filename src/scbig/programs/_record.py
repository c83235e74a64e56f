"""The record of gene programs and its form in ``uns``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from scbig._constants import UNS
from scbig.programs._coherence import Coherence
from scbig.programs._costs import UNASSIGNED


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
    return GenePrograms.from_dict(uns[UNS.PROGRAMS])


def make_program_names(n_programs: int) -> tuple[str, ...]:
    """Names "P00", "P01", ... that sort like their numbers.

    Parameters
    ----------
    n_programs
        Number of programs.

    Returns
    -------
    One name per program.
    """
    width = max(2, len(str(n_programs - 1)))
    return tuple(f"P{k:0{width}d}" for k in range(n_programs))


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

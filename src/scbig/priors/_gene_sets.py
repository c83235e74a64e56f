"""Named sets of genes: as a matrix over the genes of a data set, and from GMT files."""

import logging
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import TextIOWrapper
from itertools import chain
from os import PathLike
from pathlib import Path

import numpy as np
from scipy import sparse

from scbig._annotations import checked
from scbig._arguments import check_instance, list_values
from scbig._reading import read_lines
from scbig.priors._aliases import GeneAliases
from scbig.priors._gene_embedding import (
    Coverage,
    check_names,
    log_coverage,
    make_coverage,
    make_selection,
    match_names,
)
from scbig.priors._safe_loading import DAMAGED_ZIP
from scbig.priors._tables import iter_lines

logger = logging.getLogger(__name__)

_SUFFIXES = (".gmt", ".gmt.gz", ".gmt.zip", ".txt", ".txt.gz", ".zip")


@dataclass(frozen=True, eq=False)
class AlignedSets:
    """Gene sets as a matrix over the names that were asked for.

    Parameters
    ----------
    names
        Names of the sets that were kept.
    membership
        1 where a gene belongs to a set, shape (n_sets, n_names), float32.
    coverage
        Which of the names are in at least one set of the source, whatever its size.
    """

    names: tuple[str, ...]
    membership: sparse.csr_array
    coverage: Coverage


@dataclass(frozen=True, eq=False)
class GeneSets:
    """Named sets of genes.

    Parameters
    ----------
    sets
        Genes of each set, each gene once in a set.
    source
        Where the sets come from, for messages.

    Raises
    ------
    ValueError
        When there is no set, a set is empty, or a gene is there twice in a set.
    """

    sets: Mapping[str, tuple[str, ...]]
    source: str

    def __post_init__(self) -> None:
        check_instance("source", self.source, str, "text that says where they are from")
        check_instance("sets", self.sets, Mapping, "a dict of names of genes, by set")  # type: ignore[type-abstract]
        check_names(self.sets, f"{self.source}, names of sets")
        for name, genes in self.sets.items():
            list_values(f"sets[{name!r}]", genes, "names of genes")
            check_names(genes, f"{self.source}, set {name!r}")

    @cached_property
    def _positions(self) -> dict[str, int]:
        genes = dict.fromkeys(chain.from_iterable(self.sets.values()))
        return {gene: column for column, gene in enumerate(genes)}

    @cached_property
    def _membership(self) -> sparse.csr_array:
        # Shape (n_sets, n_known_genes).
        sizes = [len(genes) for genes in self.sets.values()]
        columns = [self._positions[gene] for gene in chain.from_iterable(self.sets.values())]
        rows = np.repeat(np.arange(len(sizes)), sizes)
        ones = np.ones(len(columns), dtype=np.float32)
        shape = (len(sizes), len(self._positions))
        return sparse.csr_array((ones, (rows, columns)), shape=shape)

    def get_coverage(
        self, names: Sequence[str], *, aliases: GeneAliases | None = None
    ) -> Coverage:
        """Count the names that are in at least one set.

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
        self,
        names: Sequence[str],
        *,
        min_size: int = 5,
        max_size: int = 500,
        aliases: GeneAliases | None = None,
    ) -> AlignedSets:
        """Membership of the given names; coverage and number of sets kept are logged.

        Parameters
        ----------
        names
            Gene names, for example ``adata.var_names``.
        min_size, max_size
            Least and greatest number of the given names that a set may hold to be kept.
        aliases
            Other names of the same genes, see :func:`load_aliases`.

        Returns
        -------
        The sets that were kept, which may be none.

        Raises
        ------
        ValueError
            When no size is allowed.
        """
        if not 1 <= min_size <= max_size:
            raise ValueError(
                f"min_size={min_size}, max_size={max_size} allow no set; "
                "use 1 <= min_size <= max_size"
            )
        positions = match_names(names, self._positions, aliases)
        selection = make_selection(positions, len(self._positions))
        membership = (self._membership @ selection.T).tocsr()
        sizes = np.diff(membership.indptr)
        is_kept = (sizes >= min_size) & (sizes <= max_size)
        kept = tuple(name for name, keep in zip(self.sets, is_kept, strict=True) if keep)
        coverage = make_coverage(self.source, names, positions >= 0)
        log_coverage(coverage)
        logger.info("%s: %d of %d sets kept", self.source, len(kept), len(self.sets))
        return AlignedSets(kept, membership[is_kept], coverage)


@checked
def load_gene_sets(
    path: str | PathLike[str], *, var_names: Sequence[str] | None = None
) -> GeneSets:
    """Read gene sets from a GMT file.

    Each line holds the name of a set, a description and its genes, separated by tabs.

    Parameters
    ----------
    path
        GMT text, plain, ``.gz``, or the only file of a ``.zip``.
    var_names
        Gene names of a data set; if given, the log says how many of them are in a set.

    Returns
    -------
    The sets, in the order of the file. Genes listed twice in a set are kept once.

    Raises
    ------
    ValueError
        When the suffix is unknown, the file is empty, a line has no gene (with its number), or
        the name of a set occurs twice.
    """
    path = Path(path)
    if not path.name.lower().endswith(_SUFFIXES):
        raise ValueError(f"{path} has an unknown suffix; known are {', '.join(_SUFFIXES)}")
    is_zip = path.suffix.lower() == ".zip"
    sets = _parse_gmt(path, _iter_zipped_lines(path) if is_zip else iter_lines(path))
    if not sets:
        raise ValueError(f"{path} is empty: expected a line for each gene set")
    gene_sets = GeneSets(sets, source=path.name)
    logger.info("%s: %d gene sets", path.name, len(sets))
    if var_names is not None:
        log_coverage(gene_sets.get_coverage(var_names))
    return gene_sets


def _parse_gmt(path: Path, lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        genes = tuple(dict.fromkeys(gene for gene in rest[1:] if gene))
        if not name or not genes:
            raise ValueError(
                f"{path}, line {number}: expected name, description and at least one gene, "
                f"separated by tabs; found {line[:60]!r}"
            )
        if name in sets:
            raise ValueError(f"{path}, line {number}: the set {name!r} occurs twice; rename one")
        sets[name] = genes
    return sets


def _iter_zipped_lines(path: Path) -> Iterator[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
            if len(names) != 1:
                raise ValueError(f"{path} must hold one file; it holds {names}")
            with archive.open(names[0]) as member:
                yield from read_lines(path, TextIOWrapper(member, encoding="utf-8"))
    except DAMAGED_ZIP as error:
        raise ValueError(f"{path} cannot be read as zipped text: {error}") from error

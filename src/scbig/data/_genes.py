"""Genes are matched by name, so that order, extra genes and a few missing ones do no harm."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig.data._checks import check_names

logger = logging.getLogger(__name__)

MAX_MISSING_SHARE = 0.2
Resolver = Callable[[str, set[str]], str | None]


@dataclass(frozen=True)
class GeneMatch:
    """Where the genes of a model stand in an AnnData.

    Attributes
    ----------
    columns
        Column of each model gene, ``-1`` where missing, shape ``(n_genes,)``.
    missing
        Model genes that the data lacks.
    n_extra
        Number of genes of the data that the model does not know.
    """

    columns: np.ndarray
    missing: tuple[str, ...]
    n_extra: int

    @property
    def is_identity(self) -> bool:
        """Whether the genes agree in name and order."""
        in_order = np.array_equal(self.columns, np.arange(len(self.columns)))
        return self.n_extra == 0 and in_order


def get_gene_names(adata: AnnData, gene_key: str | None) -> pd.Index:
    """Return gene names, checked to be usable.

    Parameters
    ----------
    adata
        Annotated data.
    gene_key
        Column of ``var`` with the names; ``None``, or a column that is not there (as in the
        control cells that travel with a model), stands for ``var_names``.

    Returns
    -------
    The names as text, in the order of the columns.

    Raises
    ------
    ValueError
        When names are empty or occur twice.
    """
    if gene_key is None or gene_key not in adata.var:
        check_names(adata.var_names)
        return adata.var_names
    names = pd.Index(adata.var[gene_key].astype(object))
    check_names(names, f"var[{gene_key!r}]")
    return names.astype(str)


def match_genes(
    names: pd.Index,
    genes: Sequence[str],
    *,
    resolve: Resolver | None = None,
    max_missing: float = MAX_MISSING_SHARE,
) -> GeneMatch:
    """Find the genes of a model among the genes of a dataset.

    Parameters
    ----------
    names
        Gene names of the dataset.
    genes
        Gene names of the model.
    resolve
        Looks up a name under its aliases, given the known names.
    max_missing
        Largest share of model genes that may be missing.

    Returns
    -------
    The match, which is also logged when it is not exact.

    Raises
    ------
    ValueError
        When more than ``max_missing`` of the genes are missing.
    """
    columns = names.get_indexer(pd.Index(genes))
    if resolve is not None:
        _resolve_missing(columns, names, genes, resolve)
    missing = tuple(genes[i] for i in np.flatnonzero(columns < 0).tolist())
    match = GeneMatch(columns, missing, len(names) - len(set(columns[columns >= 0])))
    if len(missing) > max_missing * len(genes):
        raise ValueError(
            f"{len(missing)} of the model's {len(genes)} genes are missing in the data, more "
            f"than the {max_missing:.0%} allowed: {list(missing[:5])} against {list(names[:5])}. "
            "Are these other identifiers? Put the model's into var_names: "
            "adata.var_names = adata.var['...']"
        )
    if missing or match.n_extra:
        logger.info(
            "Genes matched by name: %d of %d found, %d missing (filled with the control mean): "
            "%s; %d extra genes left as they are.",
            len(genes) - len(missing),
            len(genes),
            len(missing),
            ", ".join(missing[:10]) or "none",
            match.n_extra,
        )
    return match


def _resolve_missing(
    columns: np.ndarray, names: pd.Index, genes: Sequence[str], resolve: Resolver
) -> None:
    """Look for missing genes under their aliases."""
    known = set(names)
    taken = set(columns.tolist())
    for i in np.flatnonzero(columns < 0).tolist():
        found = resolve(genes[i], known)
        column = -1 if found is None else names.get_loc(found)
        # A model may know a gene under two names; one column does not stand for both.
        if column not in taken:
            columns[i] = column
            taken.add(column)

"""How expression is read in the genes of a model: dense rows in a fixed order, from any storage.

Genes are matched by name, so that order, extra genes and a few missing ones do no harm.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.abc import CSCDataset
from mudata import MuData
from scipy import sparse

from scbig._annotations import checked
from scbig._reading import check_sparse

logger = logging.getLogger(__name__)

CHUNK_SIZE = 4096
MAX_MISSING_SHARE = 0.2
Resolver = Callable[[str, set[str]], str | None]


class Expression:
    """Rows of a log1p expression matrix, read in batches.

    Works alike for dense, CSR, CSC and backed matrices. Backed files are read in sorted
    pieces and never loaded whole, except those stored by columns (CSC): cells cannot be read
    from them one by one, so that they are loaded once, with a warning.

    Parameters
    ----------
    matrix
        Matrix of shape ``(n_cells, n_columns)``.
    columns
        For each gene of the model its column in ``matrix``, ``-1`` where it is missing. By
        default all columns in their order.
    fill
        Value for each gene, used where it is missing; zero by default.
    target_sum
        The matrix holds raw counts: normalise each cell to this sum, over all columns, and take
        log1p. By default values are read as they are.
    """

    def __init__(
        self,
        matrix: Any,
        columns: np.ndarray | None = None,
        fill: np.ndarray | None = None,
        *,
        target_sum: float | None = None,
    ) -> None:
        self._matrix = _by_rows(matrix)
        self._columns = columns
        self._fill = fill
        self._target_sum = target_sum

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self._matrix.shape[0]

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return self._matrix.shape[1] if self._columns is None else len(self._columns)

    @property
    def dtype(self) -> np.dtype:
        """The precision of what is read: float32, or float16 where values are stored so."""
        stored = np.dtype(self._matrix.dtype)
        is_read_so = stored == np.float16 and self._target_sum is None
        return stored if is_read_so else np.dtype(np.float32)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Read cells by number.

        Parameters
        ----------
        indices
            Row numbers, in any order and with repeats.

        Returns
        -------
        A new float32 array of shape ``(len(indices), n_genes)``.
        """
        # Files are read in increasing order without repeats; h5py refuses anything else.
        unique, inverse = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        return self._select(self._read(self._matrix[unique]))[inverse]

    def chunks(self, size: int = CHUNK_SIZE) -> Iterator[tuple[slice, np.ndarray]]:
        """Read all cells in order.

        Parameters
        ----------
        size
            Number of cells to read at once.

        Yields
        ------
        The slice of the cells, and a float32 array of shape ``(at most size, n_genes)``, which
        may be part of the matrix itself: read it, do not write into it.
        """
        for start in range(0, self.n_cells, size):
            rows = slice(start, min(start + size, self.n_cells))
            yield rows, self._select(self._read(self._matrix[rows]))

    def _read(self, rows: Any) -> np.ndarray:
        values = _to_dense(rows, is_checked=sparse.issparse(self._matrix))
        if self._target_sum is None:
            return values
        depth = values.sum(axis=1, dtype=np.float64, keepdims=True)
        # Empty cells stay empty, as scanpy has it.
        scale = np.divide(self._target_sum, depth, out=np.zeros_like(depth), where=depth > 0)
        return np.log1p(values * scale).astype(np.float32)

    def _select(self, values: np.ndarray) -> np.ndarray:
        if self._columns is None:
            return values
        chosen = values[:, self._columns]
        is_missing = self._columns < 0
        chosen[:, is_missing] = 0 if self._fill is None else self._fill[is_missing]
        return chosen


def get_matrix(adata: AnnData, layer: str | None) -> Any:
    """Return ``X`` or a layer as stored.

    Parameters
    ----------
    adata
        Annotated data.
    layer
        Name of a layer; ``None`` for ``X``.

    Returns
    -------
    The matrix itself, dense, sparse or backed; nothing is copied.

    Raises
    ------
    ValueError
        When it is sparse and in memory, and its indices point outside of it.
    """
    matrix = adata.X if layer is None else adata.layers[layer]
    check_sparse(matrix, "X" if layer is None else f"layers[{layer!r}]")
    return matrix


def get_log_base(adata: AnnData) -> float | None:
    """Return the base of the logarithm that scanpy noted; ``None`` for the natural one.

    Parameters
    ----------
    adata
        Annotated data.
    """
    base = adata.uns.get("log1p", {}).get("base")
    return None if base is None else float(base)


def take_log_base(adata: AnnData) -> dict[str, Any]:
    """Return what ``uns`` says of the logarithm, to go with some of the cells.

    Parameters
    ----------
    adata
        Annotated data.
    """
    return {"log1p": dict(adata.uns["log1p"])} if "log1p" in adata.uns else {}


def is_csc(matrix: Any) -> bool:
    """Whether a matrix is stored by columns, in memory or in a file."""
    return isinstance(matrix, CSCDataset) or (sparse.issparse(matrix) and matrix.format == "csc")


@checked
def from_mudata(mdata: MuData, modality: str = "rna") -> AnnData:
    """Take one modality of a MuData, with the annotation that all modalities share.

    Perturbation labels often stand in the ``obs`` of the whole object, or in that of the guides,
    and not beside the expression.

    Parameters
    ----------
    mdata
        Multi-modal screen. Nothing is written into it.
    modality
        Name of the modality with the expression.

    Returns
    -------
    A copy of the modality, in memory, whose ``obs`` has the columns of ``mdata.obs`` that it
    lacked; columns of another modality keep that modality's name in front, as in
    ``"gdo:guide_id"``.

    Raises
    ------
    ValueError
        When there is no such modality; the message lists those that there are.

    Examples
    --------
    >>> import anndata, mudata, numpy, pandas
    >>> rna = anndata.AnnData(numpy.ones((2, 3)), obs=pandas.DataFrame(index=["c1", "c2"]))
    >>> mdata = mudata.MuData({"rna": rna})
    >>> mdata.obs["perturbation"] = ["control", "STAT1"]
    >>> from_mudata(mdata).obs["perturbation"].tolist()
    ['control', 'STAT1']
    """
    if modality not in mdata.mod:
        raise ValueError(
            f"There is no modality {modality!r}. Modalities found: {list(mdata.mod)}. "
            f"Name it: modality={next(iter(mdata.mod), '...')!r}"
        )
    cells = mdata.mod[modality]
    adata = cells.to_memory() if cells.isbacked else cells.copy()
    for key, column in _get_shared(mdata, modality).loc[adata.obs_names].items():
        if key not in adata.obs:
            is_categorical = isinstance(column.dtype, pd.CategoricalDtype)
            # Labels of cells that only other modalities have would be categories without cells.
            adata.obs[key] = column.cat.remove_unused_categories() if is_categorical else column
    return adata


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


def check_names(names: pd.Index, where: str = "var_names") -> None:
    """Raise when gene names are empty or occur twice."""
    is_empty = names.isna() | (names.astype(str).str.strip() == "")
    if is_empty.any():
        raise ValueError(
            f"{where} has {int(is_empty.sum())} empty gene name(s), the first at position "
            f"{int(np.argmax(is_empty))}. Drop them: "
            f"adata = adata[:, adata.{where}.str.strip().fillna('') != ''].copy()"
        )
    repeated = names[names.duplicated()].unique()
    if len(repeated):
        remedy = (
            "Make them unique: adata.var_names_make_unique()"
            if where == "var_names"
            else f"Keep the first of each: adata = adata[:, ~adata.{where}.duplicated()].copy()"
        )
        raise ValueError(
            f"{where} has {len(repeated)} duplicate gene name(s): {list(repeated[:5])}. {remedy}"
        )


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


def _by_rows(matrix: Any) -> Any:
    """Return a matrix whose rows can be sliced cheaply, which those of CSC cannot."""
    if isinstance(matrix, CSCDataset):
        logger.warning(
            "The file stores expression by columns (CSC) and is read whole. To read it in pieces, "
            "store it by rows: adata = adata.to_memory(); adata.X = adata.X.tocsr()"
        )
        matrix = matrix.to_memory()
        check_sparse(matrix, "The matrix of the file")
    return matrix.tocsr() if is_csc(matrix) else matrix


def _to_dense(rows: Any, *, is_checked: bool = False) -> np.ndarray:
    if not is_checked:
        check_sparse(rows, "What was read of the file")
    dense = rows.toarray() if sparse.issparse(rows) else np.asarray(rows)
    return dense.astype(np.float32, copy=False)


def _get_shared(mdata: MuData, modality: str) -> pd.DataFrame:
    """Return the annotation of all cells, without copies of the modality's own columns."""
    is_copy = mdata.obs.columns.str.startswith(f"{modality}:")
    return mdata.obs.loc[:, ~is_copy]

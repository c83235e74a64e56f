"""Gene embeddings from files with one row per gene."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from scbig.priors._embedding import GeneEmbedding
from scbig.priors._tables import read_header, read_table


def read_csv(path: Path) -> GeneEmbedding:
    """Read comma-separated text; the first column holds the gene names.

    Parameters
    ----------
    path
        Plain or gzip-compressed text with a header line.

    Returns
    -------
    The table of vectors.
    """
    return _read_delimited(path, ",")


def read_tsv(path: Path) -> GeneEmbedding:
    """Read tab-separated text; the first column holds the gene names.

    Parameters
    ----------
    path
        Plain or gzip-compressed text with a header line.

    Returns
    -------
    The table of vectors.
    """
    return _read_delimited(path, "\t")


def _read_delimited(path: Path, delimiter: str) -> GeneEmbedding:
    first, *rest = read_header(path, delimiter)
    if not rest:
        raise ValueError(
            f"{path}: expected gene names and at least one column of numbers separated by "
            f"{delimiter!r}, found the single column {first!r}"
        )
    if len({first, *rest}) <= len(rest):
        raise ValueError(f"{path}: column names occur twice in {[first, *rest][:8]}; rename them")
    # Whole numbers are what pandas writes as column names; fractions are a first row of data.
    if all(_is_fraction(name) for name in rest):
        raise ValueError(f"{path} has no header line: the first line must name the columns")
    table = read_table(path, delimiter, {first: str, **dict.fromkeys(rest, float)}, quote_char='"')
    vectors = np.column_stack([table[name].to_numpy() for name in rest])
    return GeneEmbedding(tuple(table[first].to_pylist()), vectors, source=path.name)


def _is_fraction(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return not text.strip().isdigit()


def read_parquet(path: Path) -> GeneEmbedding:
    """Read a parquet table with gene names in its index or in a first column of strings.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    The table of vectors.

    Raises
    ------
    ValueError
        When there are no gene names or other columns are not numbers.
    """
    try:
        frame = pd.read_parquet(path)
    except pa.ArrowException as error:
        raise ValueError(f"{path} is not a readable parquet file: {error}") from error
    if not pd.api.types.is_string_dtype(frame.index) and len(frame.columns):
        frame = frame.set_index(frame.columns[0])
    if not pd.api.types.is_string_dtype(frame.index):
        raise ValueError(
            f"{path}: expected gene names in the index or in the first column, found "
            f"{frame.index.dtype} in {frame.index.name!r}"
        )
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    if texts:
        raise ValueError(f"{path}: expected numbers in all other columns; {texts[:5]} hold none")
    return GeneEmbedding(tuple(frame.index), frame.to_numpy(dtype=np.float32), source=path.name)


def read_h5ad(path: Path, key: str | None = None) -> GeneEmbedding:
    """Read the observations of an AnnData file as genes.

    Parameters
    ----------
    path
        The file.
    key
        Entry of ``obsm`` with the vectors; `None` takes ``X``.

    Returns
    -------
    The table of vectors.

    Raises
    ------
    ValueError
        When the file cannot be read or has no such entry.
    """
    import anndata

    try:
        adata = anndata.read_h5ad(path)
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a readable .h5ad file: {error}") from error
    if key is not None and key not in adata.obsm:
        raise ValueError(f"{path} has no obsm[{key!r}]; it has {sorted(adata.obsm)}")
    values = adata.X if key is None else adata.obsm[key]
    if values is None:
        raise ValueError(f"{path} has no X; give key= one of obsm: {sorted(adata.obsm)}")
    dense = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
    return GeneEmbedding(tuple(adata.obs_names), dense, source=path.name)

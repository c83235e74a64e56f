"""Gene embeddings from the file formats in which they are published."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from scbig._annotations import checked
from scbig._reading import check_announced, get_allowed_bytes, read_h5ad
from scbig.priors._gene_embedding import GeneEmbedding, log_coverage
from scbig.priors._safe_loading import load_plain_npz, load_plain_pickle, load_plain_torch
from scbig.priors._tables import read_header, read_table

logger = logging.getLogger(__name__)

_NAME_KEYS = ("names", "genes")
_VECTOR_KEYS = ("vectors", "embeddings")
_MAX_DEPTH = 8
# What a damaged parquet file raises beside errors of arrow, much of it in notes of pandas.
_DAMAGED_PARQUET = (AttributeError, LookupError, MemoryError, NotImplementedError, OSError,
                    OverflowError, RecursionError, TypeError, ValueError)  # fmt: skip


@checked
def load_gene_embedding(
    path: str | PathLike[str],
    *,
    key: str | None = None,
    var_names: Sequence[str] | None = None,
) -> GeneEmbedding:
    """Read one vector per gene.

    Parameters
    ----------
    path
        One of

        - ``.parquet``: gene names in the index or in a first column of strings;
        - ``.csv``, ``.tsv``, also with ``.gz``: a header line, gene names in the first column;
        - ``.npz``: arrays ``names`` (or ``genes``) and ``vectors`` (or ``embeddings``);
        - ``.h5ad``: ``obs_names`` are the genes, ``X`` (or ``obsm[key]``) the vectors;
        - ``.pt``: a dictionary of tensors, one per gene, or with the keys of ``.npz``;
        - ``.pickle``, ``.pkl``: a dictionary of arrays or lists, one per gene as GeneCompass
          publishes it, or with the keys of ``.npz``.

        Nothing in a ``.pt`` or pickle file is run: a file that asks for more than arrays and
        plain containers is refused.
    key
        For ``.h5ad`` files: the entry of ``obsm`` to take in place of ``X``.
    var_names
        Gene names of a data set; if given, the log says how many of them have a vector.

    Returns
    -------
    The table of vectors, as float32.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the suffix is unknown, the file is empty or unsafe, names are doubled, vectors
        differ in length, or values are not finite.
    """
    path = Path(path)
    suffix = next((known for known in _READERS if path.name.lower().endswith(known)), None)
    if suffix is None:
        raise ValueError(f"{path} has an unknown suffix; known are {', '.join(_READERS)}")
    if key is not None and suffix != ".h5ad":
        raise ValueError(f"key={key!r} names an entry of obsm, which only .h5ad files have")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty")
    embedding = _read_h5ad(path, key) if suffix == ".h5ad" else _READERS[suffix](path)
    logger.info("%s: %d genes, %d dimensions", path.name, len(embedding.names), embedding.dim)
    if var_names is not None:
        log_coverage(embedding.get_coverage(var_names))
    return embedding


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


def _read_parquet(path: Path) -> GeneEmbedding:
    """Read a parquet table with gene names in its index or in a first column of strings."""
    try:
        # Equal values take no room in the file.
        with pq.ParquetFile(path) as file:
            n_values = file.metadata.num_rows * file.metadata.num_columns
        is_fit = 8 * n_values <= get_allowed_bytes(path)
        frame = pd.read_parquet(path) if is_fit else pd.DataFrame()
    except (pa.ArrowException, *_DAMAGED_PARQUET) as error:
        raise ValueError(f"{path} is not a readable parquet file: {error}") from error
    check_announced(path, 8 * n_values)
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


def _read_h5ad(path: Path, key: str | None = None) -> GeneEmbedding:
    """Read the observations of an AnnData file as genes."""
    adata = read_h5ad(path)
    if key is not None and key not in adata.obsm:
        raise ValueError(f"{path} has no obsm[{key!r}]; it has {sorted(adata.obsm)}")
    values = adata.X if key is None else adata.obsm[key]
    if values is None:
        raise ValueError(f"{path} has no X; give key= one of obsm: {sorted(adata.obsm)}")
    check_announced(path, 4 * math.prod(values.shape))
    dense = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
    return GeneEmbedding(tuple(adata.obs_names), dense, source=path.name)


def _read_mapping(path: Path, load: Callable[[Path], Any]) -> GeneEmbedding:
    table = load(path)
    if not isinstance(table, Mapping) or not table:
        found = "an empty one" if isinstance(table, Mapping) else f"a {type(table).__name__}"
        raise ValueError(
            f"{path}: expected a dictionary with a vector for each gene, found {found}"
        )
    check_announced(path, 8 * sum(_count_numbers(path, value, {}) for value in table.values()))
    name_key = next((key for key in _NAME_KEYS if key in table), None)
    vector_key = next((key for key in _VECTOR_KEYS if key in table), None)
    if name_key and vector_key:
        names, vectors = np.asarray(table[name_key]).tolist(), np.asarray(table[vector_key])
    else:
        names, vectors = list(table), _stack_vectors(path, table)
    return GeneEmbedding(tuple(names), vectors, source=path.name)


def _count_numbers(path: Path, value: object, known: dict[int, int], depth: int = 0) -> int:
    """Count what is in a list of lists: few bytes can hold more numbers than any memory.

    Lists that are there several times are counted once, and remembered in ``known``.
    """
    if not isinstance(value, list | tuple):
        return 1
    if depth > _MAX_DEPTH:
        raise ValueError(f"{path}: lists are nested more than {_MAX_DEPTH} deep")
    if id(value) not in known:
        known[id(value)] = sum(
            _count_numbers(path, one, known, depth + 1) if isinstance(one, list | tuple) else 1
            for one in value
        )
    return known[id(value)]


def _stack_vectors(path: Path, table: Mapping[Any, Any]) -> np.ndarray:
    vectors = {name: _make_vector(path, name, value) for name, value in table.items()}
    lengths = {name: len(vector) for name, vector in vectors.items()}
    first, length = next(iter(lengths.items()))
    other = next((name for name in lengths if lengths[name] != length), None)
    if other is not None:
        raise ValueError(
            f"{path}: vectors differ in length: {first!r} has {length} values, {other!r} has "
            f"{lengths[other]}"
        )
    return np.stack(list(vectors.values()))


def _make_vector(path: Path, name: object, value: object) -> np.ndarray:
    try:
        vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: the value of {name!r} is not a vector: {error}") from error
    if vector.ndim != 1:
        raise ValueError(
            f"{path}: the value of {name!r} has shape {vector.shape}; expected a vector per gene, "
            f"or the keys {_NAME_KEYS[0]!r} and {_VECTOR_KEYS[0]!r}"
        )
    return vector


_READERS: Mapping[str, Callable[[Path], GeneEmbedding]] = {
    ".parquet": _read_parquet,
    ".csv": partial(_read_delimited, delimiter=","),
    ".csv.gz": partial(_read_delimited, delimiter=","),
    ".tsv": partial(_read_delimited, delimiter="\t"),
    ".tsv.gz": partial(_read_delimited, delimiter="\t"),
    ".npz": partial(_read_mapping, load=load_plain_npz),
    ".h5ad": _read_h5ad,
    ".pt": partial(_read_mapping, load=load_plain_torch),
    ".pickle": partial(_read_mapping, load=load_plain_pickle),
    ".pkl": partial(_read_mapping, load=load_plain_pickle),
}

"""Gene embeddings from the file formats in which they are published."""

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path

from scbig.priors._coverage import log_coverage
from scbig.priors._embedding import GeneEmbedding
from scbig.priors._embedding_mappings import read_npz, read_pickle, read_torch
from scbig.priors._embedding_tables import read_csv, read_h5ad, read_parquet, read_tsv

logger = logging.getLogger(__name__)

_READERS: Mapping[str, Callable[[Path], GeneEmbedding]] = {
    ".parquet": read_parquet,
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".tsv": read_tsv,
    ".tsv.gz": read_tsv,
    ".npz": read_npz,
    ".h5ad": read_h5ad,
    ".pt": read_torch,
    ".pickle": read_pickle,
    ".pkl": read_pickle,
}


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
    embedding = read_h5ad(path, key) if suffix == ".h5ad" else _READERS[suffix](path)
    logger.info("%s: %d genes, %d dimensions", path.name, len(embedding.names), embedding.dim)
    if var_names is not None:
        log_coverage(embedding.get_coverage(var_names))
    return embedding

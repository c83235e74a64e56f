"""Reading a screen from a file, normalised if wanted."""

import logging

import anndata as ad
import numpy as np
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from scbig.cli._requests import ScreenFile
from scbig.data import from_mudata, get_matrix

logger = logging.getLogger(__name__)

N_CHECKED_CELLS = 1000


def read_screen(file: ScreenFile, layer: str | None) -> AnnData:
    """Read a screen.

    Parameters
    ----------
    file
        ``.h5ad`` or ``.h5mu`` file.
    layer
        Layer with the expression; ``None`` for ``X``.

    Returns
    -------
    The screen, in memory.

    Raises
    ------
    ValueError
        When the file has another format, or is to be normalised and holds no counts.
    """
    adata = _read(file)
    logger.info("Read %d cells x %d genes from %s.", *adata.shape, file.path)
    if file.use_normalize:
        _normalize(adata, layer, file.target_sum)
    return adata


def _read(file: ScreenFile) -> AnnData:
    if file.path.suffix == ".h5ad":
        return ad.read_h5ad(file.path)
    if file.path.suffix == ".h5mu":
        import mudata

        return from_mudata(mudata.read_h5mu(file.path), file.modality)
    raise ValueError(f"{file.path} is neither .h5ad nor .h5mu. Convert it with anndata first.")


def _normalize(adata: AnnData, layer: str | None, target_sum: float) -> None:
    """Normalise counts in place."""
    name = "X" if layer is None else f"layers[{layer!r}]"
    if layer is not None and layer not in adata.layers:
        found = [key for key in adata.layers if key is not None]
        raise ValueError(f"There is no layer {layer!r}. Layers found: {found}.")
    values = _get_values(adata, layer)
    if not np.array_equal(values, np.rint(values)):
        raise ValueError(
            f"--normalize expects raw counts, but {name} holds values such as "
            f"{values[values != np.rint(values)][0]:g}. Leave it out if they are log1p values, "
            "or name the layer with the counts: --layer counts."
        )
    sc.pp.normalize_total(adata, target_sum=target_sum, layer=layer)
    sc.pp.log1p(adata, layer=layer)
    logger.info("Normalised %s to %g counts a cell, log1p.", name, target_sum)


def _get_values(adata: AnnData, layer: str | None) -> np.ndarray:
    rows = get_matrix(adata, layer)[:N_CHECKED_CELLS]
    return rows.data if sparse.issparse(rows) else np.asarray(rows)

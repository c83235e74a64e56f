"""Columns and genes that a side must have, and what to write where it lacks them."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig.data import ScreenSchema

logger = logging.getLogger(__name__)


def check_columns(adata: AnnData, schema: ScreenSchema, name: str, layer: str | None) -> None:
    """Raise when a side lacks a column of labels, or the layer.

    Parameters
    ----------
    adata
        Annotated data.
    schema
        Where the real side keeps its labels.
    name
        What to call the data.
    layer
        Layer that is to be read; ``None`` for ``X``.

    Raises
    ------
    ValueError
        When something is missing.
    """
    for key in (schema.perturbation_key, *schema.context_keys):
        if key not in adata.obs:
            raise ValueError(
                f"{name} has no column obs[{key!r}]; both sides need it. Columns found: "
                f"{list(adata.obs)}. Write it: {name}.obs[{key!r}] = {name}.obs['...']"
            )
    if layer is not None and layer not in adata.layers:
        # anndata 0.13 lists X among the layers, under None.
        found = [key for key in adata.layers if key is not None]
        raise ValueError(
            f"{name} has no layer {layer!r}. Layers found: {found}. Name one of them, or None "
            "for X."
        )


def find_genes(found: pd.Index, genes: Sequence[str], name: str) -> np.ndarray | None:
    """Find the genes of the real side among those of another side.

    Parameters
    ----------
    found
        Genes of the other side.
    genes
        Genes of the real side.
    name
        What to call the other side.

    Returns
    -------
    The column of each gene; ``None`` where genes and columns agree one by one.

    Raises
    ------
    ValueError
        When a gene is missing. A filled-in value would be scored as if it had been predicted.
    """
    columns = found.get_indexer(pd.Index(genes))
    missing = [genes[i] for i in np.flatnonzero(columns < 0).tolist()]
    if missing:
        raise ValueError(
            f"{name} lacks {len(missing)} of the {len(genes)} genes of real: {missing[:5]}; it "
            f"has {list(found[:5])}. Score the genes that both have: "
            f"real = real[:, real.var_names.isin({name}.var_names)].copy()"
        )
    if len(found) > len(genes):
        logger.info("%d further genes of %s are left out.", len(found) - len(genes), name)
    is_same = len(found) == len(genes) and np.array_equal(columns, np.arange(len(genes)))
    return None if is_same else columns

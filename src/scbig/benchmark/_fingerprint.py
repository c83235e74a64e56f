"""Short names for contents, by which a rerun knows that nothing has changed."""

import json
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np
from anndata import AnnData

from scbig.data import Expression, ScreenSchema, get_gene_names, get_matrix


def make_fingerprint(parts: Iterable[Any]) -> str:
    """Hash arrays by their bytes, and all else as JSON.

    Parameters
    ----------
    parts
        Arrays of numbers, and values that JSON can hold.

    Returns
    -------
    Sixteen hexadecimal digits.
    """
    digest = blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).view(np.uint8).data)
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()


def describe_screen(adata: AnnData, schema: ScreenSchema) -> dict[str, Any]:
    """Describe a screen: its shape, its conventions, and the fingerprint of what predictors read.

    Parameters
    ----------
    adata
        Screen.
    schema
        Where it keeps its labels.

    Returns
    -------
    Values for JSON. The fingerprint does not depend on how the matrix is stored.
    """
    columns = (schema.perturbation_key, *schema.context_keys)
    labels = [adata.obs[key].astype(str).tolist() for key in columns]
    genes = list(map(str, get_gene_names(adata, schema.gene_key)))
    chunks = (rows for _, rows in Expression(get_matrix(adata, schema.layer)).chunks())
    parts = (part for group in ([labels, genes], chunks) for part in group)
    return {
        "n_cells": adata.n_obs,
        "n_genes": adata.n_vars,
        "schema": schema.to_dict(),
        "fingerprint": make_fingerprint(parts),
    }

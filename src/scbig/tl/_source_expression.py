"""What did the control cells express that predicted cells are made of?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig._annotations import checked
from scbig._constants import SOURCE_SUFFIX
from scbig.data import Expression, get_matrix, holds_counts

_N_AT_ONCE = 2048


@checked
def source_expression(
    predicted: AnnData,
    source: AnnData,
    layer: str = "scbig",
    *,
    key_added: str = "control",
    is_log1p: bool = False,
) -> None:
    """Write the expression of the control cell that each predicted cell is made of.

    So that a cell can be compared with itself before the perturbation:
    ``predicted.layers["scbig"] - predicted.layers["control"]``.

    Parameters
    ----------
    predicted
        What ``predict`` returned.
    source
        The cells that it started from: ``model.controls`` where no data were given, or else the
        data that were, with log1p values where the prediction was told to read them.
    layer
        The predicted layer; ``obs[layer + "_source"]`` names the control cells.
    key_added
        Layer that is written.
    is_log1p
        Take whole values of ``source`` for log1p values, as ``setup_anndata(is_log1p=True)`` does.

    Returns
    -------
    Nothing; writes ``layers[key_added]``, CSR. Rows of control cells have their own expression.

    Raises
    ------
    ValueError
        When the names of control cells are not there, are not those of ``source``, or this holds
        raw counts.

    Examples
    --------
    >>> import scbig
    >>> adata = scbig.data.simulate_screen(n_cells=600, n_genes=60, n_targets=4)
    >>> scbig.baselines.Additive.setup_anndata(adata)
    >>> baseline = scbig.baselines.Additive(adata)
    >>> baseline.train()
    >>> predicted = baseline.predict(perturbations=["GENE0001"], n_cells=5)
    >>> scbig.tl.source_expression(predicted, baseline.controls, "additive")
    >>> predicted.layers["control"].shape
    (10, 60)
    """
    column = layer + SOURCE_SUFFIX
    if column not in predicted.obs:
        raise ValueError(
            f"obs has no column {column!r} with the names of control cells. Columns found: "
            f"{list(predicted.obs)}. predict(key_added={layer!r}) writes it (layer={layer!r})."
        )
    names = predicted.obs[column].astype(str)
    rows = _find(source.obs_names, names, "cells")
    columns = _find(source.var_names, predicted.var_names, "genes")
    read = _get_layer(predicted, source, layer)
    if not is_log1p and holds_counts(source, read):
        raise ValueError(
            "source holds raw counts, whose expression depends on what they are normalised to. "
            "Give model.controls if the prediction started from them, or log1p values: "
            "sc.pp.normalize_total(source, target_sum=1e4); sc.pp.log1p(source). If these "
            "are log1p values, say so: is_log1p=True"
        )
    expression = Expression(get_matrix(source, read), columns)
    pieces = np.split(rows, np.arange(_N_AT_ONCE, len(rows), _N_AT_ONCE))
    parts = [sparse.csr_matrix(expression.rows(piece)) for piece in pieces]
    predicted.layers[key_added] = sparse.vstack(parts, format="csr")


def _find(known: pd.Index, wanted: pd.Index | pd.Series, what: str) -> np.ndarray:
    """Return the positions of names, all of which have to be there."""
    known, wanted = known.astype(str), pd.Index(wanted).astype(str)
    if not known.is_unique:
        raise ValueError(f"Names of {what} of source are not unique: they do not tell which.")
    places = known.get_indexer(wanted)
    lacking = wanted[places < 0].unique()
    if len(lacking):
        raise ValueError(
            f"{len(lacking)} {what} are not in source, such as {lacking[0]!r}. Give the data that "
            "the prediction started from: those that predict was given, or else model.controls."
        )
    return places


def _get_layer(predicted: AnnData, source: AnnData, layer: str) -> str | None:
    """Return the layer that was read; the control cells of a model have none."""
    note = predicted.uns.get(layer)
    schema = note.get("schema") if isinstance(note, Mapping) else None
    read = schema.get("layer") if isinstance(schema, Mapping) else None
    return read if read in source.layers else None

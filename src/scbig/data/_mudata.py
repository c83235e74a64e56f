"""The expression of a multi-modal screen as the AnnData that models read."""

import pandas as pd
from anndata import AnnData
from mudata import MuData


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


def _get_shared(mdata: MuData, modality: str) -> pd.DataFrame:
    """Return the annotation of all cells, without copies of the modality's own columns."""
    is_copy = mdata.obs.columns.str.startswith(f"{modality}:")
    return mdata.obs.loc[:, ~is_copy]

"""What a screen is taken for: its conventions are recognised, and its labels checked.

What the user names is taken as it is; what cannot be read is an error that says where, and what
mends it.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from anndata import AnnData

from scbig._annotations import checked
from scbig.data._doubts import is_ensembl
from scbig.data._label_audit import check_labels, find_other_controls
from scbig.data._label_column import (
    PERTURBATION_KEYS as PERTURBATION_KEYS,
    check_named,
    find_controls,
    find_perturbation_key,
    list_labels,
)
from scbig.data._labels import (
    DEFAULT_SEPARATOR,
    SEPARATORS as SEPARATORS,
    find_separator as find_separator,
    is_missing_like,
    read_controls,
)
from scbig.data._schema import Guides, ScreenSchema, read_guides

logger = logging.getLogger(__name__)


@checked
def infer_schema(
    adata: AnnData,
    *,
    layer: str | None = None,
    perturbation_key: str | None = None,
    control: str | Sequence[str] | None = None,
    context_keys: Sequence[str] = (),
    separator: str | None = None,
    gene_key: str | None = None,
    guide_to_gene: Guides | None = None,
) -> ScreenSchema:
    """Recognise the conventions of a screen; whatever is given is taken as it is.

    Parameters
    ----------
    adata
        Annotated data of one screen.
    layer, perturbation_key, control, context_keys, separator, gene_key
        See :class:`ScreenSchema`. An empty ``separator`` says that no label is a combination, and
        that all are names as they are; a screen that has no combination is given ``"+"``, so that
        they can be predicted. Several labels of control cells may be named; the first stands for
        all in what is written. Without, numbered ones (``non-targeting_00001``) are all taken.
    guide_to_gene
        Where labels name guides: the gene, or the label of controls, of each. A dictionary, a
        series, or a frame whose first two columns are guides and genes.

    Returns
    -------
    The schema of the screen.

    Raises
    ------
    ValueError
        When a named column or label is absent, when two readings are possible, or when labels
        look like none, or like guides or combinations that were not read as such; the message
        lists them, or the candidates.
    """
    context_keys = (context_keys,) if isinstance(context_keys, str) else tuple(context_keys)
    for key in context_keys:
        _check_column(adata.obs, key, "obs", "context_keys")
    if gene_key is not None:
        _check_column(adata.var, gene_key, "var", "gene_key")
    if layer is not None and layer not in adata.layers:
        # anndata 0.13 lists X among the layers, under None.
        found = [name for name in adata.layers if name is not None]
        raise ValueError(f"There is no layer {layer!r}. Layers found: {found}.")
    guides = dict(read_guides(guide_to_gene))
    named = () if control is None else read_controls(control)
    key = perturbation_key or find_perturbation_key(adata.obs, named, guides)
    _check_column(adata.obs, key, "obs", "perturbation_key")
    genes = set(map(str, adata.var_names if gene_key is None else adata.var[gene_key]))
    # What guides stand for is read in their place.
    labels = list(dict.fromkeys(guides.get(one, one) for one in list_labels(adata.obs[key])))
    named = check_named(named, [*labels, *guides], key) or find_controls(labels, key, genes)
    known, is_blind = _read_names(adata, genes)
    is_given = separator is not None
    if not is_given:
        separator = find_separator(labels, control=named, gene_names=known | set(guides))
        if separator is None and not any(DEFAULT_SEPARATOR in label for label in labels):
            separator = DEFAULT_SEPARATOR
    where = key, named[0], separator or None, context_keys, layer, gene_key, named[1:]
    schema = ScreenSchema(*where, tuple(guides.items()))
    targets = check_labels(
        adata.obs, schema, known, separator=separator if is_given else None, is_blind=is_blind
    )
    schema = replace(schema, names=frozenset(targets | known))
    if left := find_other_controls(adata.obs, schema, genes):
        logger.warning(
            "%s of obs[%r] look like controls, and are read as perturbations.", list(left), key
        )
    return schema


def _read_names(adata: AnnData, genes: set[str]) -> tuple[set[str], bool]:
    """Return names by which labels are read, and whether these cannot be those of labels.

    Beside Ensembl ids, labels mostly have the symbols that another column of ``var`` holds.
    """
    if sum(map(is_ensembl, genes)) <= len(genes) / 2:
        return genes, False
    columns = adata.var.select_dtypes(exclude="number")
    others = {str(name) for name in columns.to_numpy().ravel()} if len(columns.columns) else set()
    symbols = {name for name in others - genes if name and not is_missing_like(name)}
    return genes | symbols, len(symbols) < len(genes) / 2


def _check_column(frame: pd.DataFrame, key: str, where: str, argument: str) -> None:
    if key not in frame:
        raise ValueError(
            f"{argument}={key!r} is not a column of {where}. Columns found: {list(frame)}."
        )

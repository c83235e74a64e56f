"""What a screen is taken for: its conventions are recognised, and its labels checked.

What the user names is taken as it is; what cannot be read is an error that says where, and what
mends it.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
from anndata import AnnData

from scbig._annotations import checked
from scbig.labels import (
    DEFAULT_SEPARATOR,
    Guides,
    ScreenSchema,
    check_contexts,
    check_labels,
    check_named,
    find_controls,
    find_genes_inside,
    find_guides_inside,
    find_other_controls,
    find_perturbation_key,
    find_separator,
    is_control_token,
    is_ensembl,
    is_missing_like,
    is_stand_in,
    list_labels,
    match_numbers,
    read_controls,
    read_guides,
    write_table,
)

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
    if separator and (separator[0].isalnum() or separator[-1].isalnum()):
        raise ValueError(
            f"separator={separator!r} begins or ends with a letter or digit, as names of genes "
            "do. Name what stands between two targets: separator='+'; or, if labels are names as "
            "they are: separator=''"
        )
    genes = set(map(str, adata.var_names if gene_key is None else adata.var[gene_key]))
    guides = dict(read_guides(guide_to_gene, adata.obs, perturbation_key, genes))
    named = () if control is None else read_controls(control)
    key = perturbation_key or find_perturbation_key(adata.obs, named, guides, genes)
    _check_column(adata.obs, key, "obs", "perturbation_key")
    _check_no_context(key, context_keys)
    check_contexts(adata.obs, context_keys)
    written = list_labels(adata.obs[key])
    guides = dict(zip(match_numbers(guides, written), guides.values(), strict=True))
    # What guides stand for is read in their place.
    inside = {one: find_guides_inside(one, guides) for one in written if guides}
    read = [one for label in written for one in (label, *inside.get(label, ()))]
    labels = list(dict.fromkeys(guides.get(one, one) for one in read))
    whole = [one for one in labels if not inside.get(one)]
    # What stands for itself in a table is a name, where cells have another control.
    open_labels = [one for one in whole if guides.get(one) != one]
    open_labels = open_labels if any(map(is_control_token, open_labels)) else whole
    n_cells = adata.obs[key].astype(str).str.strip().map(lambda one: guides.get(one, one))
    named = check_named(named, [*labels, *guides], key) or find_controls(
        open_labels, key, genes, dict(n_cells.value_counts())
    )
    if (one := next(iter(named))) in genes and is_control_token(one) and control is None:
        logger.warning("%r is taken for the control, though a gene of that name is measured.", one)
    known, is_blind = _read_names(adata, genes)
    is_given = separator is not None
    if not is_given:
        # A guide of two genes says A+B, whatever is between the targets of labels.
        own = set(written)
        given = [
            _write_genes(k, inside[k], guides) if inside.get(k) else k
            for k in labels
            if k in own or DEFAULT_SEPARATOR not in k
        ]
        names = known | set(guides)
        separator = find_separator(given, control=named, gene_names=names, key=key)
        if separator is None and not any(DEFAULT_SEPARATOR in label for label in given):
            separator = DEFAULT_SEPARATOR
    where = key, named[0], separator or None, context_keys, layer, gene_key, named[1:]
    schema = ScreenSchema(*where, tuple(guides.items()))
    targets = check_labels(
        adata.obs,
        schema,
        known,
        separator=separator if is_given else None,
        is_blind=is_blind,
        rows=_read_rows(adata, gene_key),
    )
    if separator != "":
        told = {label for guide, label in guides.items() if guide == label}
        _warn_of_genes_inside(key, targets - known - told, known)
        _warn_of_stand_ins(key, targets - known - told, schema)
    schema = replace(schema, names=frozenset(targets | known))
    if left := find_other_controls(adata.obs, schema, genes):
        logger.warning(
            "%s of obs[%r] look like controls, and are read as perturbations.", list(left), key
        )
    return schema


def _write_genes(label: str, parts: Sequence[str], guides: Mapping[str, str]) -> str:
    """Write what guides stand for in their place, with what the label has between them."""
    join = label.strip()[len(parts[0]) :].strip()[:1]
    return join.join(guides[part] for part in parts)


def _check_no_context(key: str, context_keys: Sequence[str]) -> None:
    if key in context_keys:
        others = [other for other in context_keys if other != key]
        raise ValueError(
            f"context_keys has {key!r}, the column of the perturbations: control cells would be "
            f"in a context of their own. Leave it out: context_keys={others}"
        )


def _warn_of_genes_inside(key: str, unknown: set[str], known: set[str]) -> None:
    """Warn of targets such as ``TP53_R175H``, which may or may not be the gene that they name."""
    if inside := find_genes_inside(sorted(unknown), known):
        logger.warning(
            "%d target(s) of obs[%r] have the name of a gene in them, and are read as targets of "
            "their own, such as %r. If all are that gene: %s",
            len(inside),
            key,
            next(iter(inside)),
            write_table(inside),
        )


def _warn_of_stand_ins(key: str, unknown: set[str], schema: ScreenSchema) -> None:
    """Warn of targets such as ``AAVS1``, where mostly nothing is to happen."""
    if found := sorted(filter(is_stand_in, unknown)):
        logger.warning(
            "%s of obs[%r] are usual negative controls, and are read as perturbations. If they "
            "are controls, name all that are: control=%s",
            found,
            key,
            [*schema.controls, *found],
        )


def _read_rows(adata: AnnData, gene_key: str | None) -> dict[str, str]:
    """Return the gene that is measured under each name, where genes have Ensembl ids and others.

    Names of several genes are left out, and so are columns that tell genes not apart.
    """
    columns = adata.var.select_dtypes(exclude="number")
    # What is missing stays so in pandas 3, even as text.
    names = [list(map(str, column)) for column in (adata.var_names, *map(columns.get, columns))]
    names = [column for column in names if 2 * len(set(column)) > len(column)]
    if not any(sum(map(is_ensembl, column)) > len(column) / 2 for column in names):
        return {}
    genes = list(map(str, adata.var_names if gene_key is None else adata.var[gene_key]))
    rows: dict[str, set[str]] = {}
    for column in names:
        for name, gene in zip(column, genes, strict=True):
            if name and not is_missing_like(name):
                rows.setdefault(name, set()).add(gene)
    return {name: next(iter(own)) for name, own in rows.items() if len(own) == 1}


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

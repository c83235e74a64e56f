"""Are the targets of a screen among its genes, under one name, and what can be asked of it?"""

import logging
from collections import Counter
from collections.abc import Collection, Sequence

import pandas as pd
from anndata import AnnData

from scbig.data._expression import get_gene_names
from scbig.data._screen import make_screen
from scbig.labels import (
    ScreenSchema,
    Targets,
)
from scbig.priors import TargetEmbeddings, explain_missing, find_rewriting, find_spellings

logger = logging.getLogger(__name__)

#: How a target is known, in the order of what is known of it.
KNOWN = ("alone", "combination", "embedding")
# A matrix of so many genes is no panel: targets that are not among them have other names.
_WHOLE, _LOW, _FEW = 5000, 0.5, 0.2
_N_SHOWN = 5


def report_targets(adata: AnnData, schema: ScreenSchema) -> None:
    """Log how many targets are measured genes; warn when names seem to be of different kinds.

    It is a warning when no target is a measured gene, when some are under names of another column
    of ``var``, in other cases or with other versions, when targets and genes are different
    identifiers, or when fewer than half are among 5,000 genes or more. Of a panel of genes many
    targets may not be part.

    Parameters
    ----------
    adata
        Annotated data.
    schema
        Where they keep labels and gene names.
    """
    targets = make_screen(adata.obs, schema).targets
    if not targets:
        return
    genes = list(map(str, get_gene_names(adata, schema.gene_key)))
    missing = sorted(set(targets) - set(genes))
    n_found = len(targets) - len(missing)
    place = "var_names" if schema.gene_key is None else f"var[{schema.gene_key!r}]"
    line = f"{n_found} of {len(targets)} targets are among the {len(genes)} genes of {place}"
    if missing:
        line += f"; not: {_list(missing)}"
    remedy = _find_remedy(adata, schema, targets, missing, genes)
    is_low = not n_found or (n_found < _LOW * len(targets) and len(genes) >= _WHOLE)
    if remedy or is_low:
        logger.warning("%s. %s", line, remedy or _say_what_is_lost(place))
    else:
        logger.info("%s.", line)


def _find_remedy(
    adata: AnnData,
    schema: ScreenSchema,
    targets: Collection[str],
    missing: Sequence[str],
    genes: Sequence[str],
) -> str:
    """Find what makes more targets measured genes; empty where nothing is seen to."""
    if not missing:
        return ""
    n_found = len(targets) - len(missing)
    column, n_there = _find_column(adata, schema.gene_key, set(targets))
    if n_there >= max(2 * n_found, _FEW * len(targets)):
        if column is None:
            return f"var_names have {n_there} of them: leave out gene_key"
        key = f"setup_anndata(adata, gene_key={column!r})"
        return f"var[{column!r}] has {n_there} of them. Name it: {key}"
    why = explain_missing(missing, genes)
    own = "var_names" if schema.gene_key is None else f"var[{schema.gene_key!r}]"
    code, n_then = find_rewriting(targets, genes)
    if n_then >= max(2 * n_found, 1):
        return f"{why[:1].upper()}{why[1:]}. Rewrite genes: adata.{own} = adata.{own}{code}"
    if spellings := find_spellings(missing, set(genes)):
        names = {gene: target for target, gene in spellings.items()}
        code = f".replace({names})" if schema.gene_key else f".map(lambda x: {names}.get(x, x))"
        return f"{why}. Write genes as targets: adata.{own} = adata.{own}{code}"
    if n_found < _LOW * len(targets) and why:
        return (
            f"In these names targets and genes do not meet: {why}. Put names of one kind into a "
            "column of var, and name it: setup_anndata(adata, gene_key='...'). Models take other "
            "names of genes, too: aliases=scbig.priors.load_aliases('hgnc_complete_set.txt')"
        )
    return ""


def _find_column(
    adata: AnnData, gene_key: str | None, targets: Collection[str]
) -> tuple[str | None, int]:
    """Return the column of other gene names that has most targets; ``None`` is the index."""
    var = adata.var
    named = [(key, var[key]) for key in var if not pd.api.types.is_numeric_dtype(var[key])]
    columns = [(key, column) for key, column in named if key != gene_key]
    if gene_key is not None:
        columns = [(None, var.index.to_series()), *columns]
    counts = [(len(set(column.astype(str)) & set(targets)), key) for key, column in columns]
    n_there, key = max(counts, key=lambda pair: pair[0], default=(0, None))
    return key, n_there


def _say_what_is_lost(place: str) -> str:
    return (
        "What a perturbation does to its own gene is not learned of the others, and co-expression "
        "does not tell which are alike. Are these other identifiers? Name a column of var that "
        f"has the names of targets in place of {place}: setup_anndata(adata, gene_key='...'). "
        "Where targets are no genes, or only some genes were kept, go on."
    )


def _list(names: Sequence[str]) -> str:
    rest = len(names) - _N_SHOWN
    return ", ".join(names[:_N_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def list_targets(
    conditions: Collection[Targets], genes: Collection[str], embeddings: TargetEmbeddings
) -> pd.DataFrame:
    """List the targets that can be asked for, with how each is known.

    Parameters
    ----------
    conditions
        Conditions of training, with repeats or without.
    genes
        Measured genes.
    embeddings
        Embeddings of targets, whose every name can be asked for.

    Returns
    -------
    A row for each target, those that are known best first: ``known`` (categorical, ``"alone"``,
    ``"combination"``, ``"embedding"``), ``n_conditions``, ``is_gene`` and ``embedding`` (the
    source of the first table that has it, or empty).
    """
    distinct = set(conditions)
    counts = Counter(target for group in distinct for target in group)
    alone = {group[0] for group in distinct if len(group) == 1}
    known = {target: KNOWN[0] if target in alone else KNOWN[1] for target in sorted(counts)}
    tables = list(zip(embeddings.tables, embeddings.mappings, strict=True))
    known |= dict.fromkeys(sorted({n for _, m in tables for n in m} - known.keys()), KNOWN[2])
    sources = {
        target: table.source
        for table, mapping in reversed(tables)
        for target in known
        if target in mapping
    }
    index = pd.Index(list(known), name="target", dtype=object)
    frame = pd.DataFrame(
        {
            "known": pd.Categorical(list(known.values()), categories=KNOWN, ordered=True),
            "n_conditions": [counts[target] for target in known],
            "is_gene": index.isin(list(genes)),
            "embedding": [sources.get(target, "") for target in known],
        },
        index=index,
    )
    return frame.sort_values("known", kind="stable")

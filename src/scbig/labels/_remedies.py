"""Which line mends the labels of a screen? It can be run as it stands."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice

# More labels are written by a rule, where one does it.
_N_LISTED = 6
# What is taken off guides, or stands around their genes, and what is put in its place.
_GUIDE_FORMS = (
    (r"^(?:\d+_)?(.+?)_P[12](?:P2)?(?:_.*)?$", r"\1"),
    (r"^(.+?)_[+-]_\d.*$", r"\1"),
    (r"^p_(?:sg)?(.+?)_\d+$", r"\1"),
    (r"[-_. ]?s?g(?:RNA|uide)?[-_]?\d+$", ""),
    (r"[-_. ]\d+$", ""),
    (r"^sg(?:RNA)?[-_ ]?", ""),
    (r"[-_ ](?:KO|KD|OE)$", ""),
    (r"[-_].*$", ""),
)
_TOKENS = r"[^\s\[\](){}<>'\"`,;|+&]+"


def count(labels: Mapping[str, int], n_shown: int = 8) -> str:
    """List labels with their numbers of cells."""
    shown = ", ".join(f"{k!r} ({n} cells)" for k, n in islice(labels.items(), n_shown))
    return shown if len(labels) <= n_shown else f"{shown} and {len(labels) - n_shown} more"


def drop(key: str, labels: Iterable[str], *, is_missing: bool = False) -> str:
    """Write the line that drops the cells of some labels."""
    column, listed = f"adata.obs[{key!r}]", list(labels)
    dropped = f"~{column}.astype(str).str.strip().isin({listed})"
    dropped = f"{column}.notna() & {dropped}" if is_missing else dropped
    return f"adata = adata[{dropped}].copy()"


def rewrite(
    key: str, mended: Mapping[str, str], labels: Iterable[str] = (), *, joins: Sequence[str] = ()
) -> str:
    """Write the line that puts other labels in the place of some.

    Parameters
    ----------
    key
        Column of labels.
    mended
        New labels by label.
    labels
        All labels; without, those of ``mended`` are listed.
    joins
        What stands between targets in the labels, and in the new ones.

    Returns
    -------
    The line, which lists the labels; many are written by a rule, if one does for all labels.
    """
    column = f"adata.obs[{key!r}]"
    rules = _list_rules(*joins) if joins else {}
    wanted = {label: mended.get(label, label) for label in labels}
    texts = f"{column} = {column}.astype(str).str.strip()"
    for rule, change in rules.items() if wanted and len(mended) > _N_LISTED else ():
        if all(change(label) == new for label, new in wanted.items()):
            return f"{texts}{rule}"
    return f"{texts}.replace({dict(mended)})"


def _list_rules(old: str, new: str) -> dict[str, Callable[[str], str]]:
    """Return code that rewrites labels, with what it does."""
    if not old:
        return {}
    return {
        f".str.replace({old!r}, {new!r}, regex=False)": lambda label: label.replace(old, new),
        f".str.findall({_TOKENS!r}).str.join({new!r})": lambda label: new.join(
            re.findall(_TOKENS, label)
        ),
    }


def take_genes(
    key: str, genes: Mapping[str, str], labels: Iterable[str]
) -> tuple[str, dict[str, str]] | None:
    """Write the line that puts genes in place of their guides, if one rule does for all labels.

    Parameters
    ----------
    key
        Column of labels.
    genes
        Gene by guide, or an empty text where the rule may say which.
    labels
        All labels, of which others than guides stay as they are.

    Returns
    -------
    The line, and the gene of each guide by it.
    """
    column, others = f"adata.obs[{key!r}]", [label for label in labels if label not in genes]
    for rule, new in _GUIDE_FORMS:
        found = {guide: re.sub(rule, new, guide) for guide in genes}
        is_read = all(
            gene == (genes[guide] or gene) and gene not in ("", guide)
            for guide, gene in found.items()
        )
        if is_read and all(re.sub(rule, new, label) == label for label in others):
            texts = f"{column}.astype(str).str.strip()"
            return f"{column} = {texts}.str.replace({rule!r}, {new!r}, regex=True)", found
    return None


def write_table(genes: Mapping[str, str], n_listed: int = 24) -> str:
    """Write a table of guides, or say in words what it has if it is long or not known."""
    if len(genes) <= n_listed and all(genes.values()):
        return f"guide_to_gene={dict(genes)}"
    first, gene = next(iter(genes.items()))
    own = repr(gene) if gene else "the gene"
    return f"guide_to_gene, a table of all {len(genes)}, with {own} for {first!r}"


def write_controls(labels: Collection[str], key: str, named: Sequence[str] = ()) -> str:
    """Write the argument that names controls; many are named by how they begin."""
    first, last = min(labels), max(labels)
    n = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    start = first[:n].rstrip("0123456789")
    if len(labels) <= 12 or not start:
        return f"control={[*named, *labels]}"
    found = f"[x for x in adata.obs[{key!r}].unique() if x.startswith({start!r})]"
    return f"control={list(named[:3])} + {found}" if named else f"control={found}"

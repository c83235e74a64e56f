"""Which line mends the labels of a screen? It can be run as it stands."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

# More labels are written by a rule, where one does it.
_N_LISTED = 6
_GUIDE_ENDS = (
    r"[-_. ]?s?g(?:RNA|uide)?[-_]?\d+$",
    r"[-_. ]\d+$",
    r"^sg(?:RNA)?[-_ ]?",
    r"[-_ ](?:KO|KD|OE)$",
    r"[-_].*$",
)
_TOKENS = r"[^\s\[\](){}<>'\"`,;|+&]+"


def count(labels: Mapping[str, int], n_shown: int = 8) -> str:
    """List labels with their numbers of cells."""
    shown = ", ".join(f"{k!r} ({n} cells)" for k, n in list(labels.items())[:n_shown])
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


def take_genes(key: str, genes: Mapping[str, str], labels: Iterable[str]) -> str | None:
    """Write the line that puts genes in place of their guides, if one rule does for all labels."""
    column = f"adata.obs[{key!r}]"
    wanted = {label: genes.get(label, label) for label in labels}
    for rule in _GUIDE_ENDS:
        if all(re.sub(rule, "", label) == gene for label, gene in wanted.items()):
            texts = f"{column}.astype(str).str.strip()"
            return f"{column} = {texts}.str.replace({rule!r}, '', regex=True)"
    return None


def write_table(genes: Mapping[str, str], n_listed: int = 24) -> str:
    """Write a table of guides, or how it begins if it is long or not known."""
    if len(genes) <= n_listed and all(genes.values()):
        return f"guide_to_gene={dict(genes)}"
    first, gene = next(iter(genes.items()))
    return f"guide_to_gene={{{first!r}: {gene or 'GENE'!r}, ...}}"

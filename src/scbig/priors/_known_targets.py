"""How many targets have an embedding, and what to say where nothing is known of one?"""

import logging
from collections.abc import Collection, Sequence

from scbig.priors._aliases import GeneAliases
from scbig.priors._gene_embedding import GeneEmbedding, TargetEmbeddings
from scbig.priors._nearest_names import (
    describe_nearest,
    explain_missing,
    find_spellings,
    name_language,
)

logger = logging.getLogger(__name__)

# Fewer targets with a vector are warned of.
_LOW = 0.5
_N_SHOWN = 5


def make_target_embeddings(
    table: GeneEmbedding | None,
    coexpression: GeneEmbedding,
    targets: Sequence[str],
    aliases: GeneAliases | None,
) -> TargetEmbeddings:
    """Put the table that a user gave beside co-expression, and say how far it reaches."""
    if table is None:
        return TargetEmbeddings((coexpression,), aliases)
    report_coverage(table, targets, aliases)
    return TargetEmbeddings((table, coexpression), aliases)


def report_coverage(
    table: GeneEmbedding, targets: Sequence[str], aliases: GeneAliases | None
) -> None:
    """Log how many targets have a vector; warn when it is not half of them, or names differ."""
    coverage = table.get_coverage(targets, aliases=aliases)
    why = explain_missing(coverage.missing, table.names) if coverage.missing else ""
    if not targets or not (why or coverage.fraction < _LOW):
        logger.info("Perturbation targets: %s", coverage)
        return
    logger.warning(
        "Perturbation targets: %s. %sThese are not compared with others%s",
        coverage,
        f"{why[:1].upper()}{why[1:]}. " if why else "",
        "."
        if aliases is not None
        else ". Give the other names of genes: "
        "aliases=scbig.priors.load_aliases('hgnc_complete_set.txt'), or a few of them: "
        f"aliases=scbig.priors.GeneAliases({_pair(coverage.missing, table.names)})",
    )


def _pair(missing: Sequence[str], known: Sequence[str]) -> str:
    """Pair known names with missing ones as aliases, for an example."""
    spellings = find_spellings(missing[:_N_SHOWN], set(known))
    return repr({known: (name,) for name, known in spellings.items()} or {"NAME": (missing[0],)})


class UnknownTargetError(ValueError):
    """Nothing is known of a target that was asked for.

    Parameters
    ----------
    found
        What is not known, and which names may be meant.
    remedy
        What mends it, in Python.
    """

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"{found}{remedy}")
        self.found = found


def refuse_unknown(
    unknown: Sequence[str], seen: Collection[str], embeddings: TargetEmbeddings, name: str
) -> UnknownTargetError:
    """Make an error for targets of which nothing is known, with the names that may be meant."""
    tables = embeddings.tables
    known = {*seen, *(gene for table in embeddings.mappings for gene in table)}
    place = f", and without a vector in {embeddings.describe()}" if tables else ""
    own, other = name_language(unknown), name_language(sorted(known))
    differ = f"These are {own}, and the known ones {other}. " if own != other else ""
    table = f"Give a table that has them, {name}(adata, perturbation_embedding=...) (baselines: "
    mean = f"redict the mean effect of a target with {name}(adata, missing_embedding='mean'). "
    return UnknownTargetError(
        f"Nothing is known of the target(s) {list(unknown)}: not seen in training{place}. "
        f"{describe_nearest(unknown, known)}{differ}",
        "model.get_targets() lists what can be asked for. "
        + (f"{table}gene_embedding=...), or p{mean}" if tables else f"P{mean}")
        + "Where genes have other names, name the column of var that has these, "
        "setup_anndata(adata, gene_key='...'), or give both, "
        f"{name}(adata, aliases=scbig.priors.load_aliases(...)).",
    )

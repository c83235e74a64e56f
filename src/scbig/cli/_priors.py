"""Reading what is known of the genes."""

from collections.abc import Sequence
from typing import Any

from scbig.cli._requests import PriorFiles
from scbig.priors import load_aliases, load_gene_embedding, load_gene_sets, load_string


def read_priors(files: PriorFiles, *, var_names: Sequence[str] | None = None) -> dict[str, Any]:
    """Read the files that are given.

    Parameters
    ----------
    files
        Their paths.
    var_names
        Genes of a screen, to log how many of them each file knows; models say it by themselves.

    Returns
    -------
    What they hold, by the names that models give it.

    Raises
    ------
    ValueError
        When STRING comes with one of its two files only, or a file cannot be read.
    """
    if (files.string_links is None) != (files.string_info is None):
        raise ValueError("STRING has two files: give both --string-links and --string-info.")
    known: dict[str, Any] = {}
    if files.gene_embedding is not None:
        known["gene_embedding"] = load_gene_embedding(files.gene_embedding, var_names=var_names)
    if files.string_links is not None and files.string_info is not None:
        known["gene_graph"] = load_string(
            files.string_links, files.string_info, var_names=var_names
        )
    if files.pathways is not None:
        known["gene_sets"] = load_gene_sets(files.pathways, var_names=var_names)
    if files.aliases is not None:
        known["aliases"] = load_aliases(files.aliases, var_names=var_names)
    return known

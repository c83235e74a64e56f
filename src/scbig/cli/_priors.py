"""Reading what is known of the genes and of the loci."""

from collections.abc import Sequence
from typing import Any

from scbig.cli._requests import PriorFiles
from scbig.priors import (
    Loci,
    TableEncoder,
    load_aliases,
    load_gene_embedding,
    load_gene_sets,
    load_loci,
    load_string,
)


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
    if files.loci is not None:
        known["loci"] = _read_loci(files)
    if files.fasta is not None:
        known["fasta"] = files.fasta
    if files.locus_embedding is not None:
        known["encoder"] = TableEncoder(load_gene_embedding(files.locus_embedding))
    return known


def _read_loci(files: PriorFiles) -> Loci:
    if files.loci is None or files.assembly is None or files.coordinates is None:
        raise ValueError(
            "A table of loci says neither which genome it belongs to nor how it counts: give "
            "--assembly hg38 (or another) and --coordinates 0-based (or 1-based)."
        )
    return load_loci(
        files.loci,
        assembly=files.assembly,
        coordinates=files.coordinates,  # type: ignore[arg-type]
    )

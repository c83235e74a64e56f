"""Start sites of transcription, from the annotation of a genome."""

import re
from collections import defaultdict
from os import PathLike
from pathlib import Path

from scbig._annotations import checked
from scbig.priors._loci import Loci
from scbig.priors._locus import Locus
from scbig.priors._tables import iter_lines

_TRANSCRIPTS = ("transcript", "mRNA")
# `key "value";` in GTF, `key=value;` in GFF3. The first that is there names the gene.
_NAMES = [
    re.compile(rf'(?:^|;)\s*{key}(?:=|\s+)"?([^";]+)')
    for key in ("gene_name", "gene", "gene_id", "Parent", "Name", "ID")
]
_STRANDS = ("+", "-")

Site = tuple[str, str, int]  # chromosome, strand, position from 0


@checked
def load_start_sites(path: str | PathLike[str], *, assembly: str) -> Loci:
    """Read the start sites of transcription of an annotation.

    Transcripts that start at one base are one site. The sites of a gene are named ``GENE-P1``,
    ``GENE-P2`` and so on, from the most upstream one.

    Parameters
    ----------
    path
        GTF or GFF3, also gzipped, such as GENCODE's. Rows of transcripts are read, or of genes
        where there are none.
    assembly
        The genome that it belongs to, for example ``"hg38"``.

    Returns
    -------
    Single positions, which can be predicted, or counted with :func:`count_loci`.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When a row cannot be read, or there is no start site.

    Examples
    --------
    >>> sites = scbig.priors.load_start_sites("gencode.gtf.gz", assembly="hg38")  # doctest: +SKIP
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no annotation at {path}.")
    found: dict[str, defaultdict[str, set[Site]]] = {
        "transcript": defaultdict(set), "gene": defaultdict(set)
    }  # fmt: skip
    for number, line in enumerate(iter_lines(path), start=1):
        parts = line.split("\t")
        if line.startswith("#") or len(parts) < 3:
            continue
        kind = "transcript" if parts[2] in _TRANSCRIPTS else parts[2]
        if kind in found:
            gene, site = _read_row(parts, f"{path.name}, line {number}")
            found[kind][gene].add(site)
    sites = found["transcript"] or found["gene"]
    if not sites:
        raise ValueError(
            f"{path.name} has no rows of transcripts or genes. Give a GTF or GFF3, whose third "
            "column says what a row is; for another table, load_loci."
        )
    records = [locus for gene, those in sites.items() for locus in _number(gene, those)]
    return Loci(tuple(records), assembly, source=path.name)


def _read_row(parts: list[str], where: str) -> tuple[str, Site]:
    if len(parts) != 9 or parts[6] not in _STRANDS:
        raise ValueError(
            f"{where}: {len(parts)} columns and the strand {parts[6:7]}; an annotation has nine, "
            "separated by tabs, and its transcripts are on + or -."
        )
    try:
        # 1-based with the end included: a transcript on - starts at its last base.
        position = int(parts[3 if parts[6] == "+" else 4]) - 1
    except ValueError as error:
        raise ValueError(f"{where}: the positions {parts[3:5]} are no numbers.") from error
    for pattern in _NAMES:
        if name := pattern.search(parts[8]):
            return name[1].strip(), (parts[0], parts[6], position)
    raise ValueError(f"{where} names no gene: {parts[8][:60]!r}. It needs gene_name or gene_id.")


def _number(gene: str, sites: set[Site]) -> list[Locus]:
    """Number the sites of a gene, on each strand from its upstream end."""
    order = sorted(sites, key=lambda x: (x[0], x[1], x[2] if x[1] == "+" else -x[2]))
    return [
        Locus(f"{gene}-P{n}", chrom, position, position + 1, strand, gene, f"P{n}")
        for n, (chrom, strand, position) in enumerate(order, start=1)
    ]

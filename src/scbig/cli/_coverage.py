"""`scbig coverage`: how much of a genome, and of its start sites, can be asked of STRAND."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scbig._writing import replacing
from scbig.cli._session import run_session

# Rows of single chromosomes beyond these are in the table alone.
_N_SHOWN = 30


def coverage(
    context: typer.Context,
    fasta: Annotated[
        Path, typer.Argument(help="Genome, FASTA.", exists=True, dir_okay=False, metavar="FASTA")
    ],
    annotation: Annotated[
        Path | None,
        typer.Option(help="Count its start sites, too: GTF or GFF3.", exists=True, dir_okay=False),
    ] = None,
    assembly: Annotated[
        str | None, typer.Option(help="Genome of the annotation, such as hg38.")
    ] = None,
    window: Annotated[int, typer.Option(min=1, help="Bases that are read around a place.")] = 1024,
    out: Annotated[
        Path | None, typer.Option(help="Table of all chromosomes, csv.", metavar="CSV")
    ] = None,
) -> None:
    """Count the positions and start sites of a genome that STRAND can be asked for.

    A place can be asked for where its window has a known base; whole are windows without N or an
    end of the chromosome. How well places are answered is another question.

    Examples
    --------
    - scbig coverage hg38.fa
    - scbig coverage hg38.fa --annotation gencode.gtf.gz --assembly hg38 --out coverage.csv
    """
    with run_session(context, uses_libraries=False):
        import pandas as pd

        from scbig.priors import Genome, count_loci, count_positions, load_start_sites

        if annotation is not None and assembly is None:
            raise ValueError(
                "An annotation does not say which genome it belongs to. Add --assembly hg38, or "
                "another."
            )
        with Genome(fasta) as genome:
            tables = {"positions": count_positions(genome, width=window)}
            if annotation is not None and assembly is not None:
                sites = load_start_sites(annotation, assembly=assembly)
                tables["start sites"] = count_loci(genome, sites, width=window)
        table = pd.concat(tables, names=["of"])
        if out is not None:
            with replacing(out) as half:
                table.to_csv(half)
        for name, part in tables.items():
            typer.echo(f"{name}, window of {window} bases:")
            typer.echo(part.iloc[-_N_SHOWN:].to_string(float_format="{:.4f}".format))

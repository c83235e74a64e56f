"""Options that more than one command has, and the panels of the help page."""

from pathlib import Path
from typing import Annotated, Any

import typer

SCREEN = "The screen"
LABELS = "Its labels (recognised by default)"
PRIORS = "What is known of the genes (optional)"
LOCI = "What is known of the loci (--model strand)"
HOLDING = "Conditions that are not trained on"
TRAINING = "Training"


def file_option(text: str, panel: str) -> Any:
    """Make an option for an input file, which must be there."""
    return typer.Option(help=text, exists=True, dir_okay=False, rich_help_panel=panel)


ScreenPath = Annotated[
    Path,
    typer.Argument(
        help="Perturb-seq screen, .h5ad or .h5mu.", exists=True, dir_okay=False, metavar="DATA"
    ),
]
Normalize = Annotated[
    bool,
    typer.Option(
        "--normalize",
        help="The expression is raw counts: scale each cell to --target-sum, take log1p.",
        rich_help_panel=SCREEN,
    ),
]
TargetSum = Annotated[
    float,
    typer.Option(
        min=1, metavar="N", help="Counts of a cell after --normalize.", rich_help_panel=SCREEN
    ),
]
Modality = Annotated[
    str,
    typer.Option(help="Modality of a .h5mu file with the expression.", rich_help_panel=SCREEN),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at --out.")]
Layer = Annotated[
    str | None,
    typer.Option(help="Layer with the expression; X by default.", rich_help_panel=SCREEN),
]
GeneKey = Annotated[
    str | None,
    typer.Option(
        help="Column of var with gene names; the index by default.", rich_help_panel=SCREEN
    ),
]
IsLog1p = Annotated[
    bool,
    typer.Option("--is-log1p", help="Take integers for log1p values.", rich_help_panel=SCREEN),
]
PerturbationKey = Annotated[
    str | None,
    typer.Option(help="Column of obs with the perturbations.", rich_help_panel=LABELS),
]
Control = Annotated[
    str | None, typer.Option(help="Label of the control cells.", rich_help_panel=LABELS)
]
Separator = Annotated[
    str | None,
    typer.Option(help="What joins the targets of a label.", rich_help_panel=LABELS),
]
ContextKeys = Annotated[
    str | None,
    typer.Option(
        help="Columns of obs within which controls are matched, such as cell_line,batch.",
        rich_help_panel=LABELS,
    ),
]
GeneEmbeddingFile = Annotated[
    Path | None, file_option("Embedding: parquet, csv, tsv, npz, h5ad, pt.", PRIORS)
]
StringLinks = Annotated[
    Path | None, file_option("STRING interactions: protein.links file.", PRIORS)
]
StringInfo = Annotated[Path | None, file_option("STRING names: protein.info file.", PRIORS)]
Pathways = Annotated[Path | None, file_option("Gene sets: gmt.", PRIORS)]
Aliases = Annotated[Path | None, file_option("Other names of genes: HGNC table.", PRIORS)]
LociFile = Annotated[
    Path | None,
    file_option("Table of loci: locus, chrom, position; csv, tsv, parquet.", LOCI),
]
Fasta = Annotated[Path | None, file_option("Genome of the loci: FASTA.", LOCI)]
Assembly = Annotated[
    str | None,
    typer.Option(help="Genome of the coordinates, such as hg38.", rich_help_panel=LOCI),
]
Coordinates = Annotated[
    str | None,
    typer.Option(
        help="How the table counts: 0-based (BED) or 1-based (GTF).", rich_help_panel=LOCI
    ),
]
LocusEmbedding = Annotated[
    Path | None, file_option("Vectors of loci, in place of the built-in encoder.", LOCI)
]
SplitFile = Annotated[
    Path | None, file_option('JSON: {"NAME": {"test": [...], "val": [...]}}.', HOLDING)
]

"""Options that more than one command has, and the panels of the help page."""

from pathlib import Path
from typing import Annotated, Any

import typer

SCREEN = "The screen"
LABELS = "Its labels (recognised by default)"
PRIORS = "What is known of the genes (optional)"
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

"""What can be asked of the commands: shared options, the models, and records of both."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from scbig.benchmark.catalogue import (
    CATALOGUE,
    TRAINED_ONLY,
    PredictorSpec,
    find_spec,
    get_entry_points,
)

MODELS = tuple(spec for spec in (*CATALOGUE, *TRAINED_ONLY) if spec.is_model)
#: How a class or record of the user's own is given.
OWN = "package.module:NAME"


def get_model_names() -> tuple[str, ...]:
    """Return the names that ``--model`` takes; what entry points hold is not loaded."""
    own = {spec.name: spec for spec in (*CATALOGUE, *TRAINED_ONLY)}
    names = dict.fromkeys([*own, *get_entry_points()])
    return tuple(name for name in names if name not in own or own[name].is_model)


def find_saved(class_name: str) -> PredictorSpec | None:
    """Find the model that a class name stands for, entry points included; ``None`` if none."""
    candidates = (find_spec(name) for name in get_model_names())
    return next((spec for spec in candidates if spec.class_name == class_name), None)


def make_model_metavar() -> str:
    """List what may be given for ``--model``."""
    return f"[{'|'.join((*get_model_names(), OWN))}]"


def describe_models() -> str:
    """Say in the help what each model is."""
    return "; ".join(f"{spec.name}: {spec.help}" for spec in MODELS) + "."


def describe_counts(option: str) -> str:
    """Say in the help what an option counts, such as the steps of each model."""
    counts = (spec.options or {} for spec in MODELS)
    *most, last = dict.fromkeys(counted[option] for counted in counts if option in counted)
    return f"{', '.join(most)} or {last}" if most else last


def list_users(prior: str) -> str:
    """List the models that have a use for some prior knowledge."""
    return ", ".join(spec.name for spec in MODELS if prior in spec.get_priors())


def check_model_name(name: str) -> str:
    """Refuse what names no model, as a wrong use of the option."""
    if ":" not in name and name not in get_model_names():
        offered = ", ".join(map(repr, get_model_names()))
        raise typer.BadParameter(f"{name!r} is not one of {offered}, and not a {OWN}.")
    return name


def find_model(folder: Path, model_class: str | None = None) -> PredictorSpec:
    """Find the class of a saved model.

    Parameters
    ----------
    folder
        Folder of the model.
    model_class
        Import path of the class, if it is none of scbig's or of an entry point.

    Returns
    -------
    What is known of it.

    Raises
    ------
    FileNotFoundError
        When there is no model.
    ValueError
        When it is of a class that is no model, such as a baseline.
    """
    if model_class is not None:
        return find_spec(model_class)
    from scbig.data import read_header

    name = str(read_header(folder).get("class"))
    spec = find_saved(name)
    if spec is None:
        known = [model.class_name for model in MODELS]
        raise ValueError(
            f"{folder} holds {name}; this command predicts with one of {known}, or with the class "
            f"that --model-class {OWN} names."
        )
    return spec


SCREEN = "The screen"
LABELS = "Its labels (recognised by default)"
PRIORS = "What is known of the genes (optional)"
LOCI = f"What is known of the loci (--model {list_users('loci')})"
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
        help="Insist that the expression is raw counts; they are normalised anyway.",
        rich_help_panel=SCREEN,
    ),
]
TargetSum = Annotated[
    float,
    typer.Option(
        min=1,
        metavar="N",
        help="What raw counts of a cell are scaled to before log1p.",
        rich_help_panel=SCREEN,
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
    list[str] | None,
    typer.Option(
        help="Label of the control cells; give it again for each of several.",
        rich_help_panel=LABELS,
    ),
]
Separator = Annotated[
    str | None,
    typer.Option(help="What joins the targets of a label.", rich_help_panel=LABELS),
]
GuideToGene = Annotated[
    Path | None,
    file_option("Guides and their genes: csv or tsv, two columns with a header.", LABELS),
]
ContextKeys = Annotated[
    str | None,
    typer.Option(
        help="Columns of obs within which controls are matched, such as cell_line,batch.",
        rich_help_panel=LABELS,
    ),
]


class LendingWay(StrEnum):
    """Whose control cells serve contexts that have none."""

    NEAREST = "nearest"
    POOLED = "pooled"


BorrowControls = Annotated[
    LendingWay | None,
    typer.Option(help="Who lends control cells to contexts without.", rich_help_panel=LABELS),
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


def split_list(text: str | None) -> tuple[str, ...]:
    """Read a comma-separated option."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def split_numbers(option: str, text: str | None) -> tuple[int, ...]:
    """Read an option of whole numbers, separated by commas.

    Raises
    ------
    ValueError
        When a part is no whole number.
    """
    parts = split_list(text)
    if wrong := [part for part in parts if not part.isdecimal()]:
        raise ValueError(f"{option} {text}: {wrong[0]!r} is no whole number. Write {option} 0,1,2")
    return tuple(map(int, parts))


def split_targets(label: str) -> list[str]:
    """Read a label such as ``A+B``; on the command line ``+`` stands between targets always."""
    return [part.strip() for part in label.split("+")]


@dataclass(frozen=True)
class ScreenFile:
    """A file with a screen, and how to read it."""

    path: Path
    modality: str = "rna"
    use_normalize: bool = False
    target_sum: float = 1e4
    is_sum_given: bool = False


@dataclass(frozen=True)
class Labels:
    """Arguments of ``setup_anndata``."""

    layer: str | None = None
    perturbation_key: str | None = None
    control: tuple[str, ...] | None = None
    context_keys: tuple[str, ...] = ()
    separator: str | None = None
    gene_key: str | None = None
    is_log1p: bool = False
    guide_to_gene: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return them as keyword arguments; the table of guides is read, where there is one."""
        values = asdict(self)
        if values.pop("guide_to_gene") is None:
            return values
        return values | {"guide_to_gene": _read_guide_table(Path(str(self.guide_to_gene)))}


def _read_guide_table(path: Path) -> Any:
    """Read a file with a column of guides and one of genes, with whatever between them."""
    import csv

    import pandas as pd

    how: dict[str, Any] = {"sep": None, "engine": "python", "keep_default_na": False}
    try:
        table = pd.read_csv(path, dtype=str, **how)
    except (csv.Error, ValueError) as error:  # those of pandas and of encodings are ValueError
        raise ValueError(
            f"--guide-to-gene {path} cannot be read as a table ({error}). Give a text file with a "
            "column of guides and one of genes, such as the lines 'guide,gene' and "
            "'STAT1_g1,STAT1'."
        ) from error
    if table.empty or table.shape[1] < 2:
        raise ValueError(
            f"--guide-to-gene {path} has {len(table)} row(s) below its header and "
            f"{table.shape[1]} column(s). Give a column of guides and one of genes, such as the "
            "lines 'guide,gene' and 'STAT1_g1,STAT1'."
        )
    return table


@dataclass(frozen=True)
class PriorFiles:
    """Files with what is known of the genes, or of the loci."""

    gene_embedding: Path | None = None
    string_links: Path | None = None
    string_info: Path | None = None
    pathways: Path | None = None
    aliases: Path | None = None
    loci: Path | None = None
    fasta: Path | None = None
    assembly: str | None = None
    coordinates: str | None = None
    locus_embedding: Path | None = None


@dataclass(frozen=True)
class Holding:
    """Conditions that are not trained on."""

    hold_out: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    split_file: Path | None = None
    split: str | None = None


@dataclass(frozen=True)
class Training:
    """Arguments of the model and its ``train``; each model takes those that it has."""

    preset: str = "default"
    max_epochs: int | None = None
    max_steps: int | None = None
    missing_embedding: str = "error"
    seed: int = 0
    accelerator: str = "auto"
    model: str = "scbig"
    borrow_controls: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments."""
        return {name: value for name, value in asdict(self).items() if name != "model"}


@dataclass(frozen=True)
class PredictionRequest:
    """Arguments of ``predict``."""

    perturbations: tuple[str, ...]
    n_cells: int | None = None
    contexts: tuple[str, ...] | None = None
    key_added: str | None = None
    seed: int | None = None
    loci: PriorFiles = PriorFiles()
    model_class: str | None = None
    n_draws: int | None = None
    borrow_controls: str | None = None
    is_table: bool = False


@dataclass(frozen=True)
class Splitting:
    """What is held out: a task, or splits of a file."""

    task: str | None = None
    n_cells: tuple[int, ...] = ()
    context: str | None = None
    candidates: tuple[str, ...] = ()
    share: float | None = None
    split_file: Path | None = None
    split: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scoring:
    """Who is scored, and how."""

    predictors: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    metrics: tuple[str, ...] = ()
    judge: str | None = None
    use_overwrite: bool = False
    command: str | None = None

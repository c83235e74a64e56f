"""`scbig train`: from a screen to a saved model."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from scbig.cli._options import (
    HOLDING,
    TRAINING,
    Aliases,
    Assembly,
    ContextKeys,
    Control,
    Coordinates,
    Fasta,
    GeneEmbeddingFile,
    GeneKey,
    Holding,
    IsLog1p,
    Labels,
    Layer,
    LociFile,
    LocusEmbedding,
    Modality,
    Normalize,
    Overwrite,
    Pathways,
    PerturbationKey,
    PriorFiles,
    ScreenFile,
    ScreenPath,
    Separator,
    SplitFile,
    StringInfo,
    StringLinks,
    TargetSum,
    Training,
    split_list,
)
from scbig.cli._session import Session, run_session

HINT = (
    "Arguments in this message are options here: control=... is --control, is_log1p=True is "
    "--is-log1p; raw counts are normalised by --normalize."
)


class Model(StrEnum):
    """What to train."""

    SCBIG = "scbig"
    DUALSTREAM = "dualstream"
    STRAND = "strand"


class Preset(StrEnum):
    """Settings to train with."""

    DEFAULT = "default"
    PAPER = "paper"


class MissingEmbedding(StrEnum):
    """What to do about targets of which nothing is known."""

    ERROR = "error"
    MEAN = "mean"


def train(
    context: typer.Context,
    data: ScreenPath,
    out: Annotated[Path, typer.Option(help="Folder for the model.", metavar="DIR")],
    model: Annotated[
        Model,
        typer.Option(help="Perturbations as genes (scbig, dualstream) or as loci (strand)."),
    ] = Model.SCBIG,
    overwrite: Overwrite = False,
    normalize: Normalize = False,
    target_sum: TargetSum = 1e4,
    layer: Layer = None,
    modality: Modality = "rna",
    gene_key: GeneKey = None,
    is_log1p: IsLog1p = False,
    perturbation_key: PerturbationKey = None,
    control: Control = None,
    separator: Separator = None,
    context_keys: ContextKeys = None,
    gene_embedding: GeneEmbeddingFile = None,
    string_links: StringLinks = None,
    string_info: StringInfo = None,
    pathways: Pathways = None,
    aliases: Aliases = None,
    loci: LociFile = None,
    fasta: Fasta = None,
    assembly: Assembly = None,
    coordinates: Coordinates = None,
    locus_embedding: LocusEmbedding = None,
    hold_out: Annotated[
        str | None,
        typer.Option(help="Leave these out, such as A,B,A+B.", rich_help_panel=HOLDING),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(help="Stop training on these; by default a tenth.", rich_help_panel=HOLDING),
    ] = None,
    split_file: SplitFile = None,
    split: Annotated[
        str | None,
        typer.Option(help="Name of the split in --split-file.", rich_help_panel=HOLDING),
    ] = None,
    preset: Annotated[
        Preset,
        typer.Option(
            help="Minutes on a laptop, or the published settings.", rich_help_panel=TRAINING
        ),
    ] = Preset.DEFAULT,
    max_epochs: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Epochs of the autoencoder.", rich_help_panel=TRAINING
        ),
    ] = None,
    max_steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Steps of the flow, the streams or the bridge.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    missing_embedding: Annotated[
        MissingEmbedding,
        typer.Option(
            help="Targets of which nothing is known: refuse, or predict the mean effect.",
            rich_help_panel=TRAINING,
        ),
    ] = MissingEmbedding.ERROR,
    seed: Annotated[
        int, typer.Option(help="Same seed, same model.", rich_help_panel=TRAINING)
    ] = 0,
    accelerator: Annotated[
        str, typer.Option(help="auto, cpu, gpu or mps.", rich_help_panel=TRAINING)
    ] = "auto",
) -> None:
    """Train a model on a screen and save it.

    DATA holds log1p-normalised expression, perturbation labels and control cells. Column,
    control label and separator are recognised where they follow the usual conventions.

    Examples
    --------
    - scbig train screen.h5ad --out model
    - scbig train counts.h5ad --normalize --context-keys cell_line --out model
    - scbig train screen.h5ad --gene-embedding genes.parquet --hold-out KLF1 --out model
    - scbig train screen.h5ad --model dualstream --out model
    - scbig train screen.h5ad --model strand --loci loci.tsv --assembly hg38
      --coordinates 0-based --fasta hg38.fa --out model
    """
    with run_session(context, HINT) as session:
        from scbig.cli._models import check_options

        check_options(context, model.value)
        run_train(
            session,
            ScreenFile(data, modality, normalize, target_sum),
            Labels(
                layer,
                perturbation_key,
                control,
                split_list(context_keys),
                separator,
                gene_key,
                is_log1p,
            ),
            PriorFiles(
                gene_embedding,
                string_links,
                string_info,
                pathways,
                aliases,
                loci,
                fasta,
                assembly,
                coordinates,
                locus_embedding,
            ),
            Holding(split_list(hold_out), split_list(validation), split_file, split),
            Training(
                preset.value,
                max_epochs,
                max_steps,
                missing_embedding.value,
                seed,
                accelerator,
                model.value,
            ),
            out,
            overwrite=overwrite,
        )


def run_train(
    session: Session,
    file: ScreenFile,
    labels: Labels,
    priors: PriorFiles,
    holding: Holding,
    training: Training,
    out: Path,
    *,
    overwrite: bool,
) -> None:
    """Read a screen, train on it and save the model.

    Parameters
    ----------
    session
        The running command.
    file, labels, priors, holding, training
        What was asked for.
    out
        Folder for the model.
    overwrite
        Whether a model there is replaced.
    """
    from scbig.cli._files import check_out_folder, read_priors, read_screen
    from scbig.cli._models import MODELS
    from scbig.cli._splits import hold_out
    from scbig.data import check_expression

    spec = MODELS[training.model]
    check_out_folder(out, overwrite=overwrite)
    adata = read_screen(file, labels.layer)
    arguments = labels.to_dict()
    is_log1p = arguments.pop("is_log1p")
    schema = spec.infer(adata, **arguments)
    check_expression(adata, schema.layer, is_log1p=is_log1p)
    known = read_priors(priors)
    adata, validation = hold_out(adata, schema, holding)
    # What was recognised on the whole screen holds, whatever is left of it.
    recognised = schema.to_dict() | {"separator": schema.separator or ""}
    spec.model_class.setup_anndata(adata, **recognised, is_log1p=is_log1p)
    model = spec.make(adata, training, known)
    model.train(
        validation=validation,
        accelerator=training.accelerator,
        use_progress_bar=not session.verbosity.is_quiet,
        **{name: getattr(training, name) for name in spec.train},
    )
    model.save(out, overwrite=overwrite)
    session.say(f"Wrote the model to [bold]{escape(str(out))}[/bold]. Predict with it:")
    session.say(f"  scbig predict {escape(str(out))} --perturbations A,A+B --out predicted.h5ad")

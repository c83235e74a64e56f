"""`scbig train`: from a screen to a saved model."""

from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from scbig.benchmark.catalogue import (
    PredictorSpec,
    find_spec,
    load_object,
    name_option,
    select_arguments,
)
from scbig.cli._given import check_loci, check_options, take_file
from scbig.cli._options import (
    HOLDING,
    MODELS,
    TRAINING,
    Aliases,
    Assembly,
    BorrowControls,
    ContextKeys,
    Control,
    Coordinates,
    Fasta,
    GeneEmbeddingFile,
    GeneKey,
    GuideToGene,
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
    check_model_name,
    describe_counts,
    describe_models,
    get_model_names,
    make_model_metavar,
    split_list,
)
from scbig.cli._session import Session, run_session


class Preset(StrEnum):
    """Settings to train with."""

    DEFAULT = "default"
    PAPER = "paper"
    PAPER_FAST = "paper-fast"


class MissingEmbedding(StrEnum):
    """What to do about targets of which nothing is known."""

    ERROR = "error"
    MEAN = "mean"


def train(
    context: typer.Context,
    data: ScreenPath,
    out: Annotated[Path, typer.Option(help="Folder for the model.", metavar="DIR")],
    model: Annotated[
        str,
        typer.Option(
            help=f"What to train. {describe_models()}",
            metavar=make_model_metavar(),
            callback=check_model_name,
            autocompletion=get_model_names,
        ),
    ] = MODELS[0].name,
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
    guide_to_gene: GuideToGene = None,
    context_keys: ContextKeys = None,
    borrow_controls: BorrowControls = None,
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
            min=0,
            metavar="N",
            help=f"Epochs of {describe_counts('max_epochs')}.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    max_steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help=f"Steps of {describe_counts('max_steps')}.",
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

    DATA holds log1p-normalised expression or raw counts, perturbation labels and control cells.
    Raw counts are scaled to --target-sum a cell, and log1p is taken. Column,
    control label and separator are recognised where they follow the usual conventions.

    Examples
    --------
    - scbig train screen.h5ad --out model
    - scbig train counts.h5ad --target-sum 1e4 --context-keys cell_line --out model
    - scbig train screen.h5ad --gene-embedding genes.parquet --hold-out KLF1 --out model
    - scbig train screen.h5ad --model dualstream --out model
    - scbig train screen.h5ad --model strand --loci loci.tsv --assembly hg38
      --coordinates 0-based --fasta hg38.fa --out model
    """
    with run_session(context) as session:
        spec = find_spec(model)
        check_options(context, spec)
        check_loci(context)
        run_train(
            session,
            spec,
            take_file(context, ScreenFile(data, modality, normalize, target_sum)),
            Labels(
                layer=layer,
                perturbation_key=perturbation_key,
                control=tuple(control) if control else None,
                context_keys=split_list(context_keys),
                separator=separator,
                gene_key=gene_key,
                is_log1p=is_log1p,
                guide_to_gene=guide_to_gene,
            ),
            PriorFiles(
                gene_embedding=gene_embedding,
                string_links=string_links,
                string_info=string_info,
                pathways=pathways,
                aliases=aliases,
                loci=loci,
                fasta=fasta,
                assembly=assembly,
                coordinates=coordinates,
                locus_embedding=locus_embedding,
            ),
            Holding(
                hold_out=split_list(hold_out),
                validation=split_list(validation),
                split_file=split_file,
                split=split,
            ),
            Training(
                preset=preset.value,
                max_epochs=max_epochs,
                max_steps=max_steps,
                missing_embedding=missing_embedding.value,
                seed=seed,
                accelerator=accelerator,
                model=model,
                borrow_controls=None if borrow_controls is None else borrow_controls.value,
            ),
            out,
            overwrite=overwrite,
        )


def run_train(
    session: Session,
    spec: PredictorSpec,
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
    spec
        The model.
    file, labels, priors, holding, training
        What was asked for.
    out
        Folder for the model.
    overwrite
        Whether a model there is replaced.
    """
    from scbig.cli._files import (
        check_out_folder,
        hold_out,
        normalize_counts,
        read_priors,
        read_screen,
    )
    from scbig.data import check_expression

    check_out_folder(out, overwrite=overwrite)
    adata = read_screen(file, labels.layer)
    arguments = labels.to_dict()
    is_log1p = arguments.pop("is_log1p")
    normalize_counts(adata, file, labels.layer, is_log1p=is_log1p)
    schema = load_object(spec.infer)(adata, **arguments)
    check_expression(adata, schema.layer, is_log1p=is_log1p)
    known = read_priors(priors)
    _check_needs(spec, known)
    adata, validation = hold_out(adata, schema, holding)
    # What was recognised on the whole screen holds, whatever is left of it.
    recognised = schema.to_dict() | {"separator": schema.separator or ""}
    if training.borrow_controls is not None:
        recognised["borrow_controls"] = training.borrow_controls
    model_class = spec.load_class()
    model_class.setup_anndata(adata, **recognised, is_log1p=is_log1p)
    model = spec.construct(adata, training.to_dict() | known)
    settings = training.to_dict() | {"use_progress_bar": not session.verbosity.is_quiet}
    model.train(validation=validation, **select_arguments(model_class.train, settings))
    model.save(out, overwrite=overwrite)
    folder = escape(str(out))
    session.say(f"Wrote the model to [bold]{folder}[/bold]. Predict with it:")
    of_class = f" --model-class {escape(training.model)}" if ":" in training.model else ""
    session.say(f"  scbig predict {folder}{of_class} --perturbations A,A+B --out predicted.h5ad")


def _check_needs(spec: PredictorSpec, known: Collection[str]) -> None:
    for name in spec.needs:
        if name not in known:
            raise ValueError(f"{spec.class_name} needs {name_option(name)}.")

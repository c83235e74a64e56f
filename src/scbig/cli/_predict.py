"""`scbig predict`: from a saved model to predicted cells."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from scbig._writing import replacing
from scbig.cli._given import check_loci, check_reading, refuse_unused
from scbig.cli._options import (
    OWN,
    SCREEN,
    Assembly,
    BorrowControls,
    Coordinates,
    Fasta,
    LociFile,
    Modality,
    Normalize,
    Overwrite,
    PredictionRequest,
    PriorFiles,
    ScreenFile,
    TargetSum,
    file_option,
    find_model,
    split_list,
    split_targets,
)
from scbig.cli._session import Session, run_session

if TYPE_CHECKING:
    from anndata import AnnData

    from scbig.data import ScreenSchema

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_OF_CELLS = ("n_cells", "n_draws", "borrow_controls", "key_added", "seed", "data")
# What screens call the column of labels.
_LABEL_COLUMNS = (
    "perturbation", "target_gene", "condition", "perturbation_name", "gene", "target",
)  # fmt: skip
# Conditions that are written at once.
_AT_ONCE = 100
# What mends that nothing is known of a target, here where the model is trained already.
OTHER_NAMES = (
    "Train with a table that has them, scbig train --gene-embedding FILE, or predict the mean "
    "effect of a target, scbig train --missing-embedding mean. Where genes have other names: "
    "scbig train --gene-key COLUMN, or --aliases FILE."
)


def predict(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            help="Folder written by scbig train.", exists=True, file_okay=False, metavar="MODEL"
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="File to write, .h5ad; with --effects also .csv, .tsv.", metavar="FILE"),
    ],
    perturbations: Annotated[
        str | None,
        typer.Option(help="What to predict: A,B,A+B. + joins targets.", metavar="A,B,A+B"),
    ] = None,
    perturbations_file: Annotated[
        Path | None,
        typer.Option(
            help="The same from a file: a label a line, or a column of a .csv or .tsv.",
            exists=True,
            dir_okay=False,
            metavar="FILE",
        ),
    ] = None,
    overwrite: Overwrite = False,
    effects: Annotated[
        bool,
        typer.Option("--effects", help="Write a table of effects and their errors, and no cells."),
    ] = False,
    n_cells: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Cells a perturbation and context; by default all controls, at most 500.",
        ),
    ] = None,
    n_draws: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Replicates, best of 100 cells or more, each with an effect drawn as it may be.",
        ),
    ] = None,
    contexts: Annotated[
        str | None,
        typer.Option(
            help="Contexts to predict in, as in obs, or joined by ' | '; by default all.",
            metavar="A,B,C",
        ),
    ] = None,
    borrow_controls: BorrowControls = None,
    key_added: Annotated[
        str | None, typer.Option(help="Name of the layer; that of the model by default.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the drawn cells; the model's by default.")
    ] = None,
    model_class: Annotated[
        str | None,
        typer.Option(help="Class of MODEL, if it is your own.", metavar=OWN),
    ] = None,
    data: Annotated[
        Path | None,
        file_option("Control cells to start from; the model's own by default.", SCREEN),
    ] = None,
    normalize: Normalize = False,
    target_sum: TargetSum = 1e4,
    modality: Modality = "rna",
    loci: LociFile = None,
    fasta: Fasta = None,
    assembly: Assembly = None,
    coordinates: Coordinates = None,
) -> None:
    """Predict perturbed cells with a saved model.

    Writes an .h5ad file with the control cells and, for each perturbation, as many predicted
    ones: `X` and `layers["scbig"]` are the prediction (log1p), `layers["scbig_counts"]` its
    counts, and `obs["scbig_confidence"]` says how far it is to be trusted. With `--effects` it
    writes a table of conditions and genes instead: effects, standard errors and probabilities,
    as .h5ad, or with one line for each condition and gene as .csv or .tsv. The gene is in the
    column `gene`, or in `measured_gene` where labels or contexts are called `gene`.

    Examples
    --------
    - scbig predict model --perturbations KLF1,CEBPA+KLF1 --out predicted.h5ad
    - scbig predict model --perturbations-file targets.txt --out predicted.h5ad
    - scbig predict model --perturbations KLF1 --data new.h5ad --out predicted.h5ad
    - scbig predict model --perturbations KLF1 --contexts K562 --out predicted.h5ad
    - scbig predict model --perturbations KLF1,CEBPA+KLF1 --effects --out effects.h5ad
    - scbig predict model --perturbations chr8:127735434 --fasta hg38.fa --out predicted.h5ad
    """
    with run_session(context) as session:
        if effects:
            _refuse_cells(context)
        check_loci(context)
        check_reading(context, data)
        if not normalize:
            refuse_unused(context, ("target_sum",), "it is for --normalize.")
        file = None
        if data is not None:
            file = ScreenFile(
                path=data, modality=modality, use_normalize=normalize, target_sum=target_sum
            )
        run_predict(
            session,
            model,
            file,
            PredictionRequest(
                perturbations=_read_perturbations(perturbations, perturbations_file),
                n_cells=n_cells,
                contexts=split_list(contexts) or None,
                key_added=key_added,
                seed=seed,
                loci=PriorFiles(
                    loci=loci, fasta=fasta, assembly=assembly, coordinates=coordinates
                ),
                model_class=model_class,
                n_draws=n_draws,
                borrow_controls=None if borrow_controls is None else borrow_controls.value,
                is_table=effects,
            ),
            out,
            overwrite=overwrite,
        )


def run_predict(
    session: Session,
    folder: Path,
    file: ScreenFile | None,
    wanted: PredictionRequest,
    out: Path,
    *,
    overwrite: bool,
) -> None:
    """Load a model, predict and write the result.

    Parameters
    ----------
    session
        The running command.
    folder
        Folder of the model.
    file
        Screen with control cells, or ``None`` for those of the model.
    wanted
        What to predict.
    out
        File to write.
    overwrite
        Whether a file there is replaced.
    """
    from scbig.priors import UnknownTargetError

    try:
        _predict(session, folder, file, wanted, out, overwrite=overwrite)
    except UnknownTargetError as error:
        raise ValueError(f"{error.found}{OTHER_NAMES}") from error


def _predict(
    session: Session,
    folder: Path,
    file: ScreenFile | None,
    wanted: PredictionRequest,
    out: Path,
    *,
    overwrite: bool,
) -> None:
    from scbig.cli._files import check_out_file, read_priors, read_screen

    suffixes = (".h5ad", *_SEPARATORS) if wanted.is_table else (".h5ad",)
    check_out_file(out, overwrite=overwrite, suffixes=suffixes)
    spec = find_model(folder, wanted.model_class)
    known = read_priors(wanted.loci)
    if lacking := sorted(set(known) - set(spec.get_priors())):
        raise ValueError(f"{folder} holds {spec.class_name}, which has no {lacking}.")
    model: Any = spec.load_class().load(folder)
    schema = _get_schema(model)
    labels = _split_labels(schema, wanted.perturbations)
    # A model of the user's own need not know of contexts and draws.
    given = {
        "contexts": wanted.contexts,
        "n_draws": wanted.n_draws,
        "borrow_controls": wanted.borrow_controls,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    if wanted.is_table:
        _write_table(session, model, labels, known | asked, out)
        return
    layer = None if schema is None else schema.layer
    adata = None if file is None else read_screen(file, layer)
    predicted = model.predict(
        adata,
        perturbations=labels,
        key_added=wanted.key_added,
        n_cells=wanted.n_cells,
        seed=wanted.seed,
        **known,
        **asked,
    )
    with replacing(out) as half:
        predicted.write_h5ad(half, compression="gzip")
    key = wanted.key_added or model.default_key
    session.say(
        f"Wrote {predicted.n_obs} cells x {predicted.n_vars} genes to "
        f"[bold]{escape(str(out))}[/bold]; the prediction is layers[{escape(repr(key))}]."
    )


def _read_perturbations(text: str | None, file: Path | None) -> tuple[str, ...]:
    """Read what is to be predicted from the option, a file, or both."""
    if text is None and file is None:
        raise ValueError(
            "Nothing is named to predict. Give --perturbations A,B,A+B, or --perturbations-file "
            "FILE with a label a line."
        )
    listed = () if file is None else read_labels_file(file)
    return tuple(dict.fromkeys((*split_list(text), *listed)))


def read_labels_file(path: Path) -> tuple[str, ...]:
    """Read labels from a file: one a line, or a column of a table that has a header.

    Of a table (.csv, .tsv) that is a column as they are called in screens, or else the first.
    Empty lines and those that begin with ``#`` are left out.

    Raises
    ------
    ValueError
        When the file has no label, or is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text (UTF-8). Write one label a line.") from error
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    if path.suffix in _SEPARATORS and lines:
        header, *rows = csv.reader(lines, delimiter=_SEPARATORS[path.suffix])
        place = next((i for i, name in enumerate(header) if name.strip() in _LABEL_COLUMNS), 0)
        lines = [row[place] for row in rows if len(row) > place]
    labels = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not labels:
        raise ValueError(f"{path} names no perturbation. Write one label a line, such as KLF1.")
    return labels


def _refuse_cells(context: typer.Context) -> None:
    """Refuse options of cells, of which a table of effects has none."""
    for option in _OF_CELLS:
        if context.params[option] is not None:
            raise ValueError(
                f"--{option.replace('_', '-')} is for cells, and --effects makes none. Leave one "
                "of the two out."
            )


def _write_table(
    session: Session, model: Any, labels: list[list[str]], asked: dict[str, Any], out: Path
) -> None:
    """Predict effects, and write them as the name of the file asks for."""
    if not hasattr(model, "predict_effects"):
        raise ValueError(f"{type(model).__name__} has no predict_effects: leave --effects out.")
    table = model.predict_effects(labels, **asked)
    with replacing(out) as half:
        if out.suffix in _SEPARATORS:
            _write_lines(table, half, _SEPARATORS[out.suffix])
        else:
            table.write_h5ad(half, compression="gzip")
    session.say(
        f"Wrote the effects of {table.n_obs} conditions on {table.n_vars} genes to "
        f"[bold]{escape(str(out))}[/bold]."
    )


def _write_lines(table: AnnData, out: Path, separator: str) -> None:
    """Write a line for each condition and gene, some conditions at a time."""
    import numpy as np

    gene = _name_gene(table)
    for start in range(0, table.n_obs, _AT_ONCE):
        part = table[start : start + _AT_ONCE]
        lines = part.obs.iloc[np.repeat(np.arange(part.n_obs), part.n_vars)].copy()
        lines.insert(0, gene, list(part.var_names) * part.n_obs)
        lines["effect"] = np.asarray(part.X).ravel()
        for name in _name_layers(table):
            lines[name] = np.asarray(part.layers[name]).ravel()
        is_first = start == 0
        mode = "w" if is_first else "a"
        lines.to_csv(
            out, sep=separator, index=False, header=is_first, mode=mode, float_format="%.6g"
        )


def _name_layers(table: AnnData) -> list[str]:
    """Names of layers; anndata 0.13 counts ``X`` among them, without a name."""
    return [name for name in table.layers if name is not None]


def _name_gene(table: AnnData) -> str:
    """Name the column of genes, or raise where a column of the table would be written over."""
    gene = "measured_gene" if "gene" in table.obs else "gene"
    if taken := [name for name in (gene, "effect", *_name_layers(table)) if name in table.obs]:
        raise ValueError(
            f"Lines of effects would write over the columns {taken}, where the screen has labels "
            "or contexts. Write a table, --out effects.h5ad, or rename these columns of obs, set "
            "up again and train again."
        )
    return gene


def _get_schema(model: Any) -> ScreenSchema | None:
    """Return how a model of scbig reads labels; other models need not say it."""
    from scbig._constants import REGISTRY
    from scbig.data import ScreenSchema

    registry = getattr(model, "registry_", None)
    if registry is None:
        return None
    fields = registry["field_registries"][REGISTRY.PERTURBATION]
    return ScreenSchema.from_dict(dict(fields["state_registry"]["schema"]))


def _split_labels(schema: ScreenSchema | None, labels: Sequence[str]) -> list[list[str]]:
    """Split labels at their ``+``, unless no label of the model's screen is a combination."""
    if schema is not None and schema.separator is None:
        return [[label] for label in labels]
    # A guide may have a strand in its name.
    guides = set() if schema is None else {guide for guide, _ in schema.guides}
    return [[label] if label in guides else split_targets(label) for label in labels]

"""`scbig predict`: from a saved model to predicted cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from scbig.cli._options import (
    OWN,
    SCREEN,
    Assembly,
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
    from scbig.data import ScreenSchema


def predict(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            help="Folder written by scbig train.", exists=True, file_okay=False, metavar="MODEL"
        ),
    ],
    perturbations: Annotated[
        str,
        typer.Option(help="What to predict: A,B,A+B. + joins targets.", metavar="A,B,A+B"),
    ],
    out: Annotated[Path, typer.Option(help="File to write, .h5ad.", metavar="FILE")],
    overwrite: Overwrite = False,
    n_cells: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Cells a perturbation and context; by default all controls, at most 500.",
        ),
    ] = None,
    contexts: Annotated[
        str | None,
        typer.Option(
            help="Contexts to predict in, as in obs, or joined by ' | '; by default all.",
            metavar="A,B,C",
        ),
    ] = None,
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
    counts, and `obs["scbig_confidence"]` says how far it is to be trusted.

    Examples
    --------
    - scbig predict model --perturbations KLF1,CEBPA+KLF1 --out predicted.h5ad
    - scbig predict model --perturbations KLF1 --data new.h5ad --out predicted.h5ad
    - scbig predict model --perturbations KLF1 --contexts K562 --out predicted.h5ad
    - scbig predict model --perturbations chr8:127735434 --fasta hg38.fa --out predicted.h5ad
    """
    with run_session(context) as session:
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
                perturbations=split_list(perturbations),
                n_cells=n_cells,
                contexts=split_list(contexts) or None,
                key_added=key_added,
                seed=seed,
                loci=PriorFiles(
                    loci=loci, fasta=fasta, assembly=assembly, coordinates=coordinates
                ),
                model_class=model_class,
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
    from scbig.cli._files import check_out_file, read_priors, read_screen

    check_out_file(out, overwrite=overwrite)
    spec = find_model(folder, wanted.model_class)
    known = read_priors(wanted.loci)
    if lacking := sorted(set(known) - set(spec.get_priors())):
        raise ValueError(f"{folder} holds {spec.class_name}, which has no {lacking}.")
    model: Any = spec.load_class().load(folder)
    schema = _get_schema(model)
    layer = None if schema is None else schema.layer
    adata = None if file is None else read_screen(file, layer)
    # A model of the user's own need not know of contexts.
    asked = {} if wanted.contexts is None else {"contexts": wanted.contexts}
    predicted = model.predict(
        adata,
        perturbations=_split_labels(schema, wanted.perturbations),
        key_added=wanted.key_added,
        n_cells=wanted.n_cells,
        seed=wanted.seed,
        **known,
        **asked,
    )
    predicted.write_h5ad(out, compression="gzip")
    key = wanted.key_added or model.default_key
    session.say(
        f"Wrote {predicted.n_obs} cells x {predicted.n_vars} genes to "
        f"[bold]{escape(str(out))}[/bold]; the prediction is layers[{escape(repr(key))}]."
    )


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
    return [split_targets(label) for label in labels]

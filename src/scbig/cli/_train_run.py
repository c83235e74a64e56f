"""The work behind `scbig train`."""

from pathlib import Path

from rich.markup import escape

from scbig.cli._models import MODELS
from scbig.cli._out import check_out_folder
from scbig.cli._priors import read_priors
from scbig.cli._read import read_screen
from scbig.cli._requests import Holding, Labels, PriorFiles, ScreenFile, Training
from scbig.cli._session import Session
from scbig.cli._split import hold_out
from scbig.data import check_expression


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

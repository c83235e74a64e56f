"""The work behind `scbig predict`."""

from pathlib import Path

from rich.markup import escape

from scbig.cli._out import check_out_file
from scbig.cli._read import read_screen
from scbig.cli._requests import Prediction, ScreenFile, split_targets
from scbig.cli._session import Session
from scbig.model import SCBIG


def run_predict(
    session: Session,
    folder: Path,
    file: ScreenFile | None,
    wanted: Prediction,
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
    check_out_file(out, overwrite=overwrite)
    model = SCBIG.load(folder)
    adata = None if file is None else read_screen(file, model.registry_["setup_args"]["layer"])
    predicted = model.predict(
        adata,
        perturbations=[split_targets(label) for label in wanted.perturbations],
        key_added=wanted.key_added,
        n_cells=wanted.n_cells,
        n_samples=wanted.n_samples,
        seed=wanted.seed,
    )
    predicted.write_h5ad(out, compression="gzip")
    key = wanted.key_added or model.default_key
    session.say(
        f"Wrote {predicted.n_obs} cells x {predicted.n_vars} genes to "
        f"[bold]{escape(str(out))}[/bold]; the prediction is layers[{escape(repr(key))}]."
    )

"""The work behind `scbig predict`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from scbig._constants import REGISTRY
from scbig.cli._models import find_model
from scbig.cli._out import check_out_file
from scbig.cli._priors import read_priors
from scbig.cli._read import read_screen
from scbig.cli._requests import Prediction, ScreenFile, split_targets
from scbig.cli._session import Session
from scbig.data import ScreenSchema


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
    spec = find_model(folder)
    known = read_priors(wanted.loci)
    if lacking := sorted(set(known) - set(spec.priors)):
        raise ValueError(f"{folder} holds {spec.model_class.__name__}, which has no {lacking}.")
    model = spec.model_class.load(folder)
    adata = None if file is None else read_screen(file, model.registry_["setup_args"]["layer"])
    predicted = model.predict(
        adata,
        perturbations=_split_labels(model, wanted.perturbations),
        key_added=wanted.key_added,
        n_cells=wanted.n_cells,
        n_samples=wanted.n_samples,
        seed=wanted.seed,
        **known,
    )
    predicted.write_h5ad(out, compression="gzip")
    key = wanted.key_added or model.default_key
    session.say(
        f"Wrote {predicted.n_obs} cells x {predicted.n_vars} genes to "
        f"[bold]{escape(str(out))}[/bold]; the prediction is layers[{escape(repr(key))}]."
    )


def _split_labels(model: Any, labels: Sequence[str]) -> list[list[str]]:
    """Split labels at their ``+``, unless no label of the model's screen is a combination."""
    fields = model.registry_["field_registries"][REGISTRY.PERTURBATION]
    schema = ScreenSchema.from_dict(dict(fields["state_registry"]["schema"]))
    if schema.separator is None:
        return [[label] for label in labels]
    return [split_targets(label) for label in labels]

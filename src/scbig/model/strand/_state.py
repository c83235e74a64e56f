"""A STRAND as plain values and arrays, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scbig._types import Arrays, Values
from scbig.data import ScreenSchema, controls_from_plain, controls_to_plain
from scbig.model.base import CellLatent, PrincipalComponents
from scbig.model.strand._blueprint import Blueprint
from scbig.model.strand._confidence import Confidence
from scbig.model.strand._config import STRANDConfig
from scbig.model.strand._module import STRANDModule
from scbig.model.strand._places import Places
from scbig.priors import Loci, Locus

_MODULE = "module."
_PLACE_PARTS = ("values", "is_target", "is_there")


@dataclass(frozen=True)
class State:
    """What makes a model."""

    blueprint: Blueprint
    module: STRANDModule
    confidence: Confidence | None


def to_plain(state: State) -> tuple[Values, Arrays]:
    """Return values for JSON and arrays for safetensors."""
    blueprint, places = state.blueprint, state.blueprint.places
    controls, arrays = controls_to_plain(blueprint.controls)
    arrays["control_mean"] = blueprint.control_mean
    arrays |= {f"places.{part}": getattr(places, part) for part in _PLACE_PARTS}
    for name, tensor in state.module.state_dict().items():
        arrays[_MODULE + name] = tensor.detach().cpu().numpy()
    if state.confidence is not None:
        arrays |= state.confidence.to_arrays()
    latent = state.module.latent
    values = {
        "config": blueprint.config.to_dict(),
        "schema": blueprint.schema.to_dict(),
        "genes": list(blueprint.genes),
        "contexts": list(blueprint.contexts),
        "kind": blueprint.kind,
        "loci": _loci_to_plain(places.loci),
        "twins": list(blueprint.twins),
        "strict": blueprint.strict,
        "controls": controls,
        "latent": type(latent).__name__,
        "n_latent": latent.n_latent,
    }
    return values, arrays


def from_plain(values: Values, arrays: Arrays, latent: CellLatent | None) -> State:
    """Rebuild what :func:`to_plain` returned.

    Parameters
    ----------
    values, arrays
        What it returned.
    latent
        The latent space, where it is not of principal components.

    Returns
    -------
    The model's state.

    Raises
    ------
    ValueError
        When the latent space is missing or another one.
    """
    blueprint = _blueprint_from_plain(values, arrays)
    module = blueprint.make_module(_make_latent(values, latent))
    weights = {
        name.removeprefix(_MODULE): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith(_MODULE)
    }
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"The saved weights do not fit latent={latent!r}: {error}") from error
    module.eval()
    calibration = arrays.get("confidence")
    return State(blueprint, module, None if calibration is None else Confidence(calibration))


def _make_latent(values: Mapping[str, Any], latent: CellLatent | None) -> CellLatent:
    name = values["latent"]
    if latent is None and name == PrincipalComponents.__name__:
        return PrincipalComponents(len(values["genes"]), values["n_latent"])
    if latent is None or type(latent).__name__ != name:
        raise ValueError(
            f"The model was made with a latent space of its own, {name}. Give one of the same "
            "sizes, into which the saved weights are loaded: STRAND.load(path, latent=...)"
        )
    return latent


def _blueprint_from_plain(values: Values, arrays: Arrays) -> Blueprint:
    loci = _loci_from_plain(values["loci"])
    return Blueprint(
        config=STRANDConfig.from_dict(values["config"]),
        schema=ScreenSchema.from_dict(values["schema"]),
        genes=tuple(values["genes"]),
        contexts=tuple(values["contexts"]),
        kind=values["kind"],
        places=Places(loci, **{part: arrays[f"places.{part}"] for part in _PLACE_PARTS}),
        twins=tuple(values["twins"]),
        controls=controls_from_plain(values["controls"], arrays),
        control_mean=arrays["control_mean"],
        strict=values["strict"],
    )


def _loci_to_plain(loci: Loci) -> dict[str, Any]:
    records = [vars(locus) for locus in loci]
    return {"records": records, "assembly": loci.assembly, "source": loci.source}


def _loci_from_plain(values: Mapping[str, Any]) -> Loci:
    records = tuple(Locus(**record) for record in values["records"])
    return Loci(records, values["assembly"], values["source"])


def compute_control_mean(means: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Control means of contexts, of which those without cells here keep the known ones."""
    joined = means.copy()
    if known is not None:
        is_absent = np.isnan(joined[: len(known)])
        joined[: len(known)][is_absent] = known[is_absent]
    return joined.astype(np.float32)

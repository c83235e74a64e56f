"""A trained SCBIG as plain values and arrays, and back."""

from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from anndata.utils import make_index_unique
from scipy import sparse

from scbig._types import Arrays, Values
from scbig.baselines import KernelSettings, TargetKernel
from scbig.data import (
    Screen,
    ScreenSchema,
    controls_from_plain,
    controls_to_plain,
    effects_from_plain,
    effects_to_plain,
)
from scbig.model.base import TargetEmbeddings
from scbig.model.scbig._anchor import Anchor
from scbig.model.scbig._blueprint import Blueprint
from scbig.model.scbig._config import SCBIGConfig
from scbig.model.scbig._module import SCBIGModule
from scbig.priors import GeneAliases, GeneEmbedding
from scbig.programs import GenePrograms

_MODULE = "module."
_SEMANTICS = _MODULE + "encoder.semantics.embedding"
_GENE_MEAN = _MODULE + "gene_mean"


@dataclass(frozen=True)
class State:
    """What makes a model: its blueprint, its module and its anchor."""

    blueprint: Blueprint
    module: SCBIGModule
    anchor: Anchor | None


def to_plain(state: State) -> tuple[Values, Arrays]:
    """Return values for JSON and arrays for safetensors."""
    values, arrays = _blueprint_to_plain(state.blueprint)
    for name, tensor in state.module.state_dict().items():
        arrays[_MODULE + name] = tensor.detach().cpu().numpy()
    if state.anchor is not None:
        anchor_values, anchor_arrays = _anchor_to_plain(state.anchor)
        values |= {"anchor": anchor_values}
        arrays |= anchor_arrays
    return values, arrays


def from_plain(values: Values, arrays: Arrays) -> State:
    """Rebuild what :func:`to_plain` returned."""
    blueprint = _blueprint_from_plain(values, arrays)
    # Principal components have no semantics.
    semantics = arrays.get(_SEMANTICS, np.zeros((blueprint.programs.n_programs, 1)))
    module = blueprint.make_module(semantics, arrays[_GENE_MEAN])
    weights = {
        name.removeprefix(_MODULE): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith(_MODULE)
    }
    module.load_state_dict(weights)
    module.eval()
    anchor = None
    if "anchor" in values:
        anchor = _anchor_from_plain(values["anchor"], arrays, blueprint)
    return State(blueprint, module, anchor)


def _blueprint_to_plain(blueprint: Blueprint) -> tuple[Values, Arrays]:
    embeddings = blueprint.embeddings
    controls, arrays = controls_to_plain(blueprint.controls)
    programs = blueprint.programs.to_dict()
    arrays["programs.labels"] = programs.pop("labels")
    for i, table in enumerate(embeddings.tables):
        arrays[f"embedding.{i}"] = table.vectors
    if blueprint.pathways is not None:
        arrays["pathways"] = blueprint.pathways
    aliases = embeddings.aliases
    values = {
        "config": blueprint.config.to_dict(),
        "schema": blueprint.schema.to_dict(),
        "genes": list(blueprint.genes),
        "targets": list(blueprint.targets),
        "contexts": list(blueprint.contexts),
        "programs": programs
        | {key: [str(name) for name in programs[key]] for key in ("names", "var_names")},
        "embeddings": [
            {"names": list(table.names), "source": table.source} for table in embeddings.tables
        ],
        "aliases": None if aliases is None else aliases.to_dict(),
        "controls": controls,
    }
    return values, arrays


def _blueprint_from_plain(values: Values, arrays: Arrays) -> Blueprint:
    genes = tuple(values["genes"])
    tables = [
        GeneEmbedding(tuple(table["names"]), arrays[f"embedding.{i}"], table["source"])
        for i, table in enumerate(values["embeddings"])
    ]
    aliases = values["aliases"]
    return Blueprint(
        config=SCBIGConfig.from_dict(values["config"]),
        schema=ScreenSchema.from_dict(values["schema"]),
        genes=genes,
        targets=tuple(values["targets"]),
        contexts=tuple(values["contexts"]),
        programs=GenePrograms.from_dict(
            values["programs"] | {"labels": arrays["programs.labels"]}
        ),
        embeddings=TargetEmbeddings(tables, None if aliases is None else GeneAliases(aliases)),
        pathways=arrays.get("pathways"),
        controls=controls_from_plain(values["controls"], arrays),
    )


def _anchor_to_plain(anchor: Anchor) -> tuple[Values, Arrays]:
    values, arrays = effects_to_plain(anchor.effects)
    values["kernel"] = asdict(anchor.kernel.settings)
    arrays["latent_delta"] = anchor.latent_delta
    return values, arrays


def _anchor_from_plain(values: Values, arrays: Arrays, blueprint: Blueprint) -> Anchor:
    settings = values["kernel"] | {"embedding": tuple(values["kernel"]["embedding"])}
    kernel = TargetKernel(blueprint.embeddings.mappings, KernelSettings(**settings))
    effects = effects_from_plain(values, arrays)
    denoising = blueprint.config.denoising
    return Anchor(effects, arrays["latent_delta"], kernel, blueprint.genes, denoising)


def extend_blueprint(blueprint: Blueprint, screen: Screen, controls: AnnData) -> Blueprint:
    """Append what a further screen has and an earlier one had not.

    Parameters
    ----------
    blueprint
        What is known.
    screen
        Further screen, whose contexts begin with the known ones.
    controls
        Control cells of its new contexts.

    Returns
    -------
    A blueprint with the targets, contexts and control cells of both.
    """
    new = tuple(target for target in screen.targets if target not in blueprint.targets)
    return replace(
        blueprint,
        targets=blueprint.targets + new,
        contexts=screen.contexts,
        controls=_join_controls(blueprint.controls, controls),
    )


def _join_controls(old: AnnData, new: AnnData) -> AnnData:
    if not new.n_obs:
        return old
    obs = pd.concat([old.obs, new.obs])
    # Barcodes are unique within a screen only.
    obs.index = make_index_unique(obs.index)
    return AnnData(sparse.vstack([old.X, new.X], format="csr"), obs=obs, var=old.var)

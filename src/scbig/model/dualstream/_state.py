"""A DualStreamMamba as plain values and arrays, and back."""

from dataclasses import asdict, dataclass

import torch

from scbig._types import Arrays, Values
from scbig.baselines import KernelSettings, TargetKernel
from scbig.data import (
    ScreenSchema,
    controls_from_plain,
    controls_to_plain,
    effects_from_plain,
    effects_to_plain,
)
from scbig.model.base import TargetEmbeddings
from scbig.model.dualstream._anchor import Anchor
from scbig.model.dualstream._blueprint import Blueprint
from scbig.model.dualstream._config import DualStreamConfig
from scbig.model.dualstream._module import DualStreamModule
from scbig.model.dualstream._records import GeneRecord
from scbig.priors import GeneAliases, GeneEmbedding

_MODULE = "module."
_GENE_PARTS = ("patches.order", "vectors", "mean", "std", "dropout")


@dataclass(frozen=True)
class State:
    """What makes a model: its blueprint, its module and its anchor.

    Attributes
    ----------
    blueprint
        What it was built from.
    module
        The networks.
    anchor
        The regression; ``None`` before training.
    uses_networks
        Whether the networks predict; otherwise the anchor does alone.
    """

    blueprint: Blueprint
    module: DualStreamModule
    anchor: Anchor | None
    uses_networks: bool


def to_plain(state: State) -> tuple[Values, Arrays]:
    """Return values for JSON and arrays for safetensors."""
    values, arrays = _blueprint_to_plain(state.blueprint)
    values["uses_networks"] = state.uses_networks
    for name, tensor in state.module.state_dict().items():
        arrays[_MODULE + name] = tensor.detach().cpu().numpy()
    if state.anchor is not None:
        effects, effect_arrays = effects_to_plain(state.anchor.effects)
        values["anchor"] = effects | {"kernel": asdict(state.anchor.kernel.settings)}
        arrays |= effect_arrays
    return values, arrays


def from_plain(values: Values, arrays: Arrays) -> State:
    """Rebuild what :func:`to_plain` returned."""
    blueprint = _blueprint_from_plain(values, arrays)
    weights = {
        name.removeprefix(_MODULE): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith(_MODULE)
    }
    module = blueprint.make_module(GeneRecord(*(weights[part] for part in _GENE_PARTS)))
    module.load_state_dict(weights)
    module.eval()
    anchor = None
    if "anchor" in values:
        anchor = _anchor_from_plain(values["anchor"], arrays, blueprint)
    return State(blueprint, module, anchor, uses_networks=values["uses_networks"])


def _blueprint_to_plain(blueprint: Blueprint) -> tuple[Values, Arrays]:
    embeddings = blueprint.embeddings
    controls, arrays = controls_to_plain(blueprint.controls)
    for i, table in enumerate(embeddings.tables):
        arrays[f"embedding.{i}"] = table.vectors
    aliases = embeddings.aliases
    values = {
        "config": blueprint.config.to_dict(),
        "schema": blueprint.schema.to_dict(),
        "genes": list(blueprint.genes),
        "targets": list(blueprint.targets),
        "contexts": list(blueprint.contexts),
        "order_source": blueprint.order_source,
        "embeddings": [
            {"names": list(table.names), "source": table.source} for table in embeddings.tables
        ],
        "aliases": None if aliases is None else aliases.to_dict(),
        "controls": controls,
    }
    return values, arrays


def _blueprint_from_plain(values: Values, arrays: Arrays) -> Blueprint:
    tables = [
        GeneEmbedding(tuple(table["names"]), arrays[f"embedding.{i}"], table["source"])
        for i, table in enumerate(values["embeddings"])
    ]
    aliases = values["aliases"]
    return Blueprint(
        config=DualStreamConfig.from_dict(values["config"]),
        schema=ScreenSchema.from_dict(values["schema"]),
        genes=tuple(values["genes"]),
        targets=tuple(values["targets"]),
        contexts=tuple(values["contexts"]),
        embeddings=TargetEmbeddings(tables, None if aliases is None else GeneAliases(aliases)),
        order_source=values["order_source"],
        controls=controls_from_plain(values["controls"], arrays),
    )


def _anchor_from_plain(values: Values, arrays: Arrays, blueprint: Blueprint) -> Anchor:
    settings = values["kernel"] | {"embedding": tuple(values["kernel"]["embedding"])}
    kernel = TargetKernel(blueprint.embeddings.mappings, KernelSettings(**settings))
    effects = effects_from_plain(values, arrays)
    return Anchor(effects, kernel, blueprint.genes, blueprint.config.denoising)

"""What a baseline has learned, as plain values and arrays, and back."""

from dataclasses import asdict, dataclass, field
from functools import cached_property

from anndata import AnnData

from scbig._types import Arrays, Values
from scbig.baselines._kernel import KernelSettings, TargetKernel
from scbig.baselines._rule import Embeddings
from scbig.data import (
    Effects,
    ScreenSchema,
    controls_from_plain,
    controls_to_plain,
    effects_from_plain,
    effects_to_plain,
)
from scbig.priors import GeneAliases, GeneEmbedding, UnitVectors

_VECTORS = "embedding"


@dataclass(frozen=True)
class State:
    """Everything that a trained baseline knows.

    Attributes
    ----------
    schema
        Where screens keep their labels.
    genes, contexts
        Names of the genes and contexts of the screen.
    is_log1p
        Whether integer values are taken for log1p values.
    seed
        Seed of its predictions.
    controls
        Control cells to predict from when no data are given.
    embedding
        Embedding of targets, where targets are compared.
    aliases
        Other names of genes.
    effects
        Effects of the training conditions; ``None`` before training.
    settings
        How conditions are compared, where they are.
    """

    schema: ScreenSchema
    genes: tuple[str, ...]
    contexts: tuple[str, ...]
    is_log1p: bool
    seed: int
    controls: AnnData
    embedding: GeneEmbedding | None = None
    aliases: GeneAliases | None = None
    effects: Effects | None = None
    settings: KernelSettings = field(default_factory=KernelSettings)

    @cached_property
    def embeddings(self) -> Embeddings:
        """Unit vectors of targets; none where targets are not compared."""
        return () if self.embedding is None else (UnitVectors(self.embedding, self.aliases),)

    @property
    def kernel(self) -> TargetKernel:
        """Comparison of conditions."""
        return TargetKernel(self.embeddings, self.settings)


def to_plain(state: State) -> tuple[Values, Arrays]:
    """Return values for JSON and arrays for safetensors."""
    controls, arrays = controls_to_plain(state.controls)
    values = {
        "schema": state.schema.to_dict(),
        "genes": list(state.genes),
        "contexts": list(state.contexts),
        "is_log1p": state.is_log1p,
        "seed": state.seed,
        "controls": controls,
        "aliases": None if state.aliases is None else state.aliases.to_dict(),
        "settings": asdict(state.settings),
    }
    if state.embedding is not None:
        table = state.embedding
        values["embedding"] = {"names": list(table.names), "source": table.source}
        arrays[_VECTORS] = table.vectors
    if state.effects is not None:
        values["effects"], effect_arrays = effects_to_plain(state.effects)
        arrays |= effect_arrays
    return values, arrays


def from_plain(values: Values, arrays: Arrays) -> State:
    """Rebuild what :func:`to_plain` returned."""
    table, aliases = values.get("embedding"), values.get("aliases")
    effects = values.get("effects")
    return State(
        schema=ScreenSchema.from_dict(values["schema"]),
        genes=tuple(values["genes"]),
        contexts=tuple(values["contexts"]),
        is_log1p=values["is_log1p"],
        seed=values["seed"],
        controls=controls_from_plain(values["controls"], arrays),
        embedding=None if table is None else GeneEmbedding(vectors=arrays[_VECTORS], **table),
        aliases=None if aliases is None else GeneAliases(aliases),
        effects=None if effects is None else effects_from_plain(effects, arrays),
        settings=_read_settings(values["settings"]),
    )


def _read_settings(values: Values) -> KernelSettings:
    return KernelSettings(**values | {"embedding": tuple(values["embedding"])})

"""What a baseline has learned, as plain values and arrays, and back."""

from dataclasses import dataclass

from anndata import AnnData

from scbig._types import Arrays, Values
from scbig.data import (
    Effects,
    ScreenSchema,
    controls_from_plain,
    controls_to_plain,
    effects_from_plain,
    effects_to_plain,
)


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
    effects
        Effects of the training conditions; ``None`` before training.
    """

    schema: ScreenSchema
    genes: tuple[str, ...]
    contexts: tuple[str, ...]
    is_log1p: bool
    seed: int
    controls: AnnData
    effects: Effects | None = None


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
    }
    if state.effects is not None:
        values["effects"], effect_arrays = effects_to_plain(state.effects)
        arrays |= effect_arrays
    return values, arrays


def from_plain(values: Values, arrays: Arrays) -> State:
    """Rebuild what :func:`to_plain` returned."""
    effects = values.get("effects")
    return State(
        schema=ScreenSchema.from_dict(values["schema"]),
        genes=tuple(values["genes"]),
        contexts=tuple(values["contexts"]),
        is_log1p=values["is_log1p"],
        seed=values["seed"],
        controls=controls_from_plain(values["controls"], arrays),
        effects=None if effects is None else effects_from_plain(effects, arrays),
    )

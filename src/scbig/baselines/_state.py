"""What a baseline has learned, as plain values and arrays, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig.data import Effects, Expression, ScreenSchema, get_matrix, make_screen

# Enough to draw from; a genome-wide screen has far more, and they travel with the predictor.
MAX_CONTROLS = 2000

Values = dict[str, Any]
Arrays = dict[str, np.ndarray]


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
    controls = state.controls
    x = sparse.csr_matrix(controls.X)
    values = {
        "schema": state.schema.to_dict(),
        "genes": list(state.genes),
        "contexts": list(state.contexts),
        "is_log1p": state.is_log1p,
        "seed": state.seed,
        "controls": {
            "names": controls.obs_names.tolist(),
            "obs": {key: controls.obs[key].astype(str).tolist() for key in controls.obs},
        },
    }
    arrays = {f"controls.{part}": getattr(x, part) for part in ("data", "indices", "indptr")}
    if state.effects is not None:
        values["targets"] = [list(group) for group in state.effects.targets]
        for name in ("context", "delta", "n_cells", "control_mean"):
            arrays[f"effects.{name}"] = getattr(state.effects, name)
    return values, arrays


def from_plain(values: Values, arrays: Arrays) -> State:
    """Rebuild what :func:`to_plain` returned."""
    names, obs = values["controls"]["names"], values["controls"]["obs"]
    genes = tuple(values["genes"])
    x = sparse.csr_matrix(
        tuple(arrays[f"controls.{part}"] for part in ("data", "indices", "indptr")),
        shape=(len(names), len(genes)),
    )
    return State(
        schema=ScreenSchema.from_dict(values["schema"]),
        genes=genes,
        contexts=tuple(values["contexts"]),
        is_log1p=values["is_log1p"],
        seed=values["seed"],
        controls=AnnData(x, pd.DataFrame(obs, index=names), pd.DataFrame(index=list(genes))),
        effects=_effects_from_plain(values, arrays) if "targets" in values else None,
    )


def _effects_from_plain(values: Values, arrays: Arrays) -> Effects:
    return Effects(
        targets=tuple(tuple(group) for group in values["targets"]),
        context=arrays["effects.context"],
        delta=arrays["effects.delta"],
        n_cells=arrays["effects.n_cells"],
        control_mean=arrays["effects.control_mean"],
    )


def make_controls(
    adata: AnnData, schema: ScreenSchema, genes: Sequence[str], rng: np.random.Generator
) -> AnnData:
    """Draw the control cells that travel with a baseline: at most 2,000 of each context."""
    screen = make_screen(adata.obs, schema)
    rows = np.concatenate(
        [_thin(screen.get_controls(i), rng) for i in range(len(screen.contexts))]
    )
    obs = adata.obs.iloc[rows][[schema.perturbation_key, *schema.context_keys]].astype(str)
    x = Expression(get_matrix(adata, schema.layer)).rows(rows)
    return AnnData(sparse.csr_matrix(x), obs=obs, var=pd.DataFrame(index=list(genes)))


def _thin(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if len(rows) <= MAX_CONTROLS:
        return rows
    return np.sort(rng.choice(rows, MAX_CONTROLS, replace=False))

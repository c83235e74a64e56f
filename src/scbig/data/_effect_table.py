"""Expected effects as a table: conditions by genes, how sure they are, and how each is known."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._console import show_steps
from scbig._constants import UNS
from scbig.cells import ScreenModel, expect_responders
from scbig.data._effects import Effects
from scbig.data._expression import take_log_base
from scbig.data._lenders import find_chosen, write_contexts
from scbig.data._screen import make_screen
from scbig.data._write import LARGE_BYTES
from scbig.labels import (
    CONTEXT_JOIN,
    Perturbations,
    ScreenSchema,
    Targets,
)

logger = logging.getLogger(__name__)

# Conditions that are predicted at once, so that tens of thousands find room.
_BATCH_SIZE = 512
ERRORS = ("standard_error", "probability_up", "probability_down")
KNOWN = ("measured", "combination", "unseen")
# Columns that are written beside the labels and contexts of the screen.
_COLUMNS = ("n_targets", "known", "confidence", "responder_share")


@dataclass(frozen=True, eq=False)
class Forecast:
    """What is expected of n conditions.

    Attributes
    ----------
    effect
        Expected effects, log1p units, shape ``(n, n_genes)``.
    errors
        Further layers of the same shape, by name; empty where errors are not known.
    confidence
        Expected score of each, shape ``(n,)``; ``None`` without any.
    """

    effect: np.ndarray
    errors: Mapping[str, np.ndarray]
    confidence: np.ndarray | None


class Forecaster(Protocol):
    """Tells what is to be expected of conditions."""

    def __call__(self, targets: Sequence[Targets], context: np.ndarray) -> Forecast:
        """Predict n conditions, each with its context, shape ``(n,)``."""


@dataclass(frozen=True, eq=False)
class TableRows:
    """Rows of a table of effects.

    Attributes
    ----------
    labels
        Label of each row.
    targets
        Targets of each row, as the model was trained on them.
    context
        Context of each row, shape ``(n_rows,)``.
    obs
        Labels and contexts, as the screen writes them, by the name of the row.
    """

    labels: Sequence[str]
    targets: Sequence[Targets]
    context: np.ndarray
    obs: pd.DataFrame


def read_table_rows(
    wanted: Mapping[str, Targets],
    chosen: Perturbations | None,
    controls: AnnData,
    schema: ScreenSchema,
    contexts: Sequence[str],
) -> TableRows:
    """Cross conditions with contexts.

    Parameters
    ----------
    wanted
        Targets of each condition, by label; controls, which have none, are left out.
    chosen
        Contexts, as names or sequences of values; by default all that have control cells.
    controls
        Control cells that travel with the model.
    schema
        Where labels are kept.
    contexts
        Names of the contexts.

    Returns
    -------
    The rows: each condition in one context after the other.

    Raises
    ------
    ValueError
        When no condition is left, a chosen context has no control cells, or the table would write
        over a column of labels or contexts.
    """
    _check_columns(schema)
    left_out = [label for label, targets in wanted.items() if not targets]
    wanted = {label: targets for label, targets in wanted.items() if targets}
    if not wanted:
        asked = "No perturbation was asked for."
        if left_out:
            asked = f"{left_out} are labels of control cells, whose effect is 0 by definition."
        raise ValueError(f"{asked} Name at least one: predict_effects(['GENE']).")
    screen = make_screen(controls.obs, schema, contexts)
    at_hand = [screen.get_controls(i) for i in range(len(contexts))]
    numbers = [i for i, rows in enumerate(at_hand) if len(rows)]
    if chosen is not None:
        is_chosen = find_chosen(chosen, contexts, at_hand)
        numbers = [i for i in numbers if i in is_chosen]
    # What the control cells of a context have in their columns, its other cells have, too.
    values = controls.obs.iloc[[at_hand[i][0] for i in numbers]][list(schema.context_keys)]
    context = np.tile(np.array(numbers, dtype=np.int64), len(wanted))
    labels = [label for label in wanted for _ in numbers]
    obs = values.iloc[np.tile(np.arange(len(numbers)), len(wanted))].astype("category")
    is_lent = [not len(screen.get_own_controls(i)) for i in context.tolist()]
    write_contexts(obs, schema.context_keys, contexts, np.where(is_lent, context, -1))
    obs.insert(0, schema.perturbation_key, pd.Categorical(labels, categories=list(wanted)))
    several = len(contexts) > 1
    names = [
        f"{label}{CONTEXT_JOIN}{contexts[i]}" if several else label
        for label, i in zip(labels, context.tolist(), strict=True)
    ]
    obs.index = pd.Index(names)
    targets = [group for group in wanted.values() for _ in numbers]
    return TableRows(labels, targets, context, obs)


def _check_columns(schema: ScreenSchema) -> None:
    """Refuse labels and contexts in columns that the table has for what it tells."""
    keys = (schema.perturbation_key, *schema.context_keys)
    if taken := [key for key in keys if key in _COLUMNS]:
        raise ValueError(
            f"The table of effects has the columns {list(_COLUMNS)} of its own, and would write "
            f"over {taken}, where the screen has labels or contexts. Rename: adata.obs = "
            f"adata.obs.rename(columns={{{taken[0]!r}: 'my_{taken[0]}'}}), set up again with that "
            "name, and train again."
        )


def make_effect_table(
    rows: TableRows,
    forecast: Forecaster,
    effects: Effects,
    cells: ScreenModel | None,
    controls: AnnData,
    description: dict[str, Any],
) -> AnnData:
    """Predict the effects of conditions, some hundreds at a time, and write them into a table.

    Parameters
    ----------
    rows
        Conditions.
    forecast
        Predicts them.
    effects
        Effects that the model was trained on.
    cells
        What cells are made with, which tells how many respond; ``None`` for none.
    controls
        Control cells that travel with the model, in its genes.
    description
        How the table was made; stored in ``uns``.

    Returns
    -------
    The table, dense float32: see :meth:`scbig.model.SCBIG.predict_effects`.
    """
    n_rows, n_genes = len(rows.labels), controls.n_vars
    _announce(n_rows, n_genes)
    layers: dict[str, np.ndarray] = {}
    confidence = []

    def put(name: str, values: np.ndarray, part: slice) -> None:
        if name not in layers:
            layers[name] = np.empty((n_rows, n_genes), dtype=np.float32)
        layers[name][part] = values

    with show_steps("Predicting effects", n_rows, "conditions") as advance:
        for start in range(0, n_rows, _BATCH_SIZE):
            part = slice(start, start + _BATCH_SIZE)
            told = forecast(rows.targets[part], rows.context[part])
            control = effects.get_control(rows.context[part])
            put("X", told.effect, part)
            put("expected", np.maximum(control + told.effect, 0), part)
            put("control", control, part)
            for name, values in told.errors.items():
                put(name, values, part)
            if told.confidence is not None:
                confidence.append(told.confidence)
            advance(len(told.effect))
    expected = np.concatenate(confidence) if confidence else None
    obs = _describe_rows(rows, effects, cells, expected)
    uns = take_log_base(controls) | {UNS.EFFECTS: description}
    return AnnData(layers.pop("X"), obs, controls.var.copy(), uns, layers=layers)


def _announce(n_rows: int, n_genes: int) -> None:
    """Say how large a table will be, if it is large: six arrays of numbers."""
    n_bytes = 4.0 * n_rows * n_genes * 6
    if n_bytes >= LARGE_BYTES:
        logger.warning(
            "Making a table of %d conditions x %d genes, which takes about %.1f GB. Fewer: some "
            "perturbations or contexts at a time.",
            *(n_rows, n_genes, n_bytes / 1e9),
        )


def _describe_rows(
    rows: TableRows, effects: Effects, cells: ScreenModel | None, confidence: np.ndarray | None
) -> pd.DataFrame:
    """Say of each row how it is known, how far to trust it, and how many cells respond."""
    measured = set(effects.keys)
    seen = {target for group in effects.targets for target in group}
    keys = list(zip(rows.targets, rows.context.tolist(), strict=True))
    known = [
        KNOWN[0] if key in measured else KNOWN[1] if seen.issuperset(key[0]) else KNOWN[2]
        for key in keys
    ]
    obs = rows.obs.copy()
    obs["n_targets"] = np.array([len(targets) for targets in rows.targets], dtype=np.int32)
    obs["known"] = pd.Categorical(known, categories=KNOWN)
    if confidence is not None:
        obs["confidence"] = confidence.astype(np.float32)
    if cells is not None and cells.has_counts:
        told = {i: part.responders for i, part in cells.contexts.items()}
        share = [
            expect_responders(told[i], targets).used_share if i in told else np.nan
            for targets, i in keys
        ]
        obs["responder_share"] = np.array(share, dtype=np.float32)
    return obs

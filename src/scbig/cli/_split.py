"""Leaving conditions out of training, by name or by a split file."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from scbig.cli._requests import Holding, split_targets
from scbig.data import ScreenSchema, Targets, make_screen

logger = logging.getLogger(__name__)


def hold_out(
    adata: AnnData, schema: ScreenSchema, holding: Holding
) -> tuple[AnnData, list[Targets] | None]:
    """Drop the cells of held-out conditions.

    Parameters
    ----------
    adata
        Screen.
    schema
        Where it keeps its labels.
    holding
        What to hold out; labels may name targets in any order.

    Returns
    -------
    The remaining cells, and the validation conditions (``None`` leaves the choice to the model).

    Raises
    ------
    ValueError
        When a condition has no cells, or the split file does not hold the split.
    """
    test, validation = _read_labels(holding)
    screen = make_screen(adata.obs, schema)
    position = {targets: i for i, targets in enumerate(screen.conditions)}
    parsed = {
        label: schema.parse(schema.join(split_targets(label))) for label in test + validation
    }
    if unknown := [label for label, targets in parsed.items() if targets not in position]:
        raise ValueError(f"{len(unknown)} condition(s) to hold out have no cells: {unknown[:5]}.")
    held = {position[parsed[label]] for label in test}
    if held:
        is_kept = ~np.isin(screen.condition, list(held))
        logger.info("Held out %d conditions (%d cells).", len(held), np.sum(~is_kept))
        # A copy of the rows also drops the categories that are now empty.
        adata = adata[is_kept].copy()
    return adata, [parsed[label] for label in validation] or None


def _read_labels(holding: Holding) -> tuple[list[str], list[str]]:
    test, validation = list(holding.hold_out), list(holding.validation)
    if holding.split_file is None:
        if holding.split is not None:
            raise ValueError(f"--split {holding.split} needs --split-file.")
        return test, validation
    split = _read_split(holding.split_file, holding.split)
    return test + _flatten(split.get("test", [])), validation + _flatten(split.get("val", []))


def _read_split(path: Path, name: str | None) -> dict[str, Any]:
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(splits, dict):
        raise ValueError(f"{path} holds a {type(splits).__name__}; splits by name are expected.")
    if name not in splits:
        raise ValueError(
            f"{path} holds no split {name!r}. Choose with --split one of {list(splits)[:20]}."
        )
    return splits[name]


def _flatten(conditions: dict[str, Sequence[str]] | Sequence[str]) -> list[str]:
    """Join the kinds of conditions that GEARS keeps apart."""
    if isinstance(conditions, dict):
        return [label for kind in conditions.values() for label in kind]
    return list(conditions)

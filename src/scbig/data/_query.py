"""What is to be predicted: rows to write, and for each the control cell it starts from."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._arguments import check_whole
from scbig._constants import OBS
from scbig.data._expression import Expression, get_matrix, take_log_base
from scbig.data._lenders import REMEDY, find_chosen, write_contexts
from scbig.data._raw_counts import CellMatrices
from scbig.data._screen import Screen, make_screen, sort_conditions
from scbig.labels import (
    Perturbations,
    ScreenSchema,
    Targets,
)

logger = logging.getLogger(__name__)

MAX_CELLS = 500
# Means of fewer cells vary by the chance of cells about as much as by the errors of effects.
_FEW_CELLS = 100
# More cells find no room in one object.
MAX_ROWS = 10_000_000


@dataclass(frozen=True)
class Query:
    """Rows to predict.

    Attributes
    ----------
    out
        The object that the prediction is written into.
    screen
        Condition and context of each row of ``out``.
    source
        Expression of the source cells, over all genes of ``out``.
    source_row
        Row of ``source`` that each row of ``out`` starts from, shape ``(n_rows,)``.
    controls
        Rows of ``source`` with all control cells of each context of ``screen``.
    source_names
        Names of the rows of ``source``.
    is_new
        Whether ``out`` was made for the query, and has no expression yet.
    counts
        Counts of the source cells, where they are kept.
    draw
        Number of the drawn effect that each row has, -1 for control cells, shape ``(n_rows,)``;
        ``None`` where effects are not drawn.
    """

    out: AnnData
    screen: Screen
    source: Expression
    source_row: np.ndarray
    controls: Sequence[np.ndarray]
    source_names: np.ndarray
    is_new: bool
    counts: Expression | None = None
    draw: np.ndarray | None = None

    def groups(self) -> Iterator[tuple[Targets, int, np.ndarray]]:
        """Yield targets, context and rows of each group to predict; controls are none."""
        return self.screen.get_groups()


def make_query(
    cells: AnnData,
    schema: ScreenSchema,
    perturbations: Perturbations,
    *,
    contexts: Sequence[str],
    n_cells: int | None,
    rng: np.random.Generator,
    matrices: CellMatrices | None = None,
    chosen: Perturbations | None = None,
) -> Query:
    """Cross control cells with wanted perturbations, in every context of the controls.

    Parameters
    ----------
    cells
        Annotated data with control cells; the expression of other cells is not read.
    schema
        Where it keeps its labels.
    perturbations
        Labels as the screen writes them, or sequences of targets.
    contexts
        Context names known to the model.
    n_cells
        Cells for each perturbation and context; by default all controls, at most 500.
    rng
        Draws the control cells.
    matrices
        Their expression and counts; by default ``X`` or the layer of the schema is log1p values.
    chosen
        Contexts to predict in, as names or sequences of values; by default all. The control cells
        that are drawn do not depend on it.

    Returns
    -------
    A query whose ``out`` is a new AnnData without expression: for each context the drawn control
    cells, labelled as control, and as many rows as wanted for each perturbation. There are no
    more rows of control cells than control cells.

    Raises
    ------
    ValueError
        When no perturbation is named, a label is missing, there are no control cells, or a chosen
        context has none.
    """
    matrices = _read(cells, schema) if matrices is None else matrices
    labels = _read_labels(perturbations, schema)
    borrowing = [name for name, _ in schema.lenders if name not in contexts]
    controls = make_screen(cells.obs, schema, (*contexts, *borrowing))
    at_hand = [controls.get_controls(i) for i in range(len(controls.contexts))]
    if n_cells is not None:
        n_cells = check_whole("n_cells", n_cells, hint=", or leave it out")
        _check_size(n_cells, len(labels) - 1, sum(len(rows) > 0 for rows in at_hand))
    drawn = [_draw(rows, n_cells, rng) for rows in at_hand]
    if chosen is not None:
        is_chosen = find_chosen(chosen, controls.contexts, at_hand)
        none = np.empty(0, dtype=np.int64)
        at_hand, drawn = (
            [rows if i in is_chosen else none for i, rows in enumerate(part)]
            for part in (at_hand, drawn)
        )
    _log_repeats(controls.contexts, at_hand, drawn)
    block = np.concatenate(drawn)
    if not len(block):
        raise ValueError(
            f"There are no cells labelled {schema.control!r} in obs[{schema.perturbation_key!r}] "
            "to start from. Give an AnnData that has control cells."
        )
    # Contexts that the model does not know are there only if controls were drawn from them.
    kept = [i for i, rows in enumerate(drawn) if i < len(contexts) or len(rows)]
    # No cell is handed out twice as a control.
    firsts = [np.unique(rows) for rows in drawn]
    blocks = [np.concatenate(firsts)] + [block] * (len(labels) - 1)
    # Cells that another context lent are in the one that borrows.
    places = np.concatenate([_repeat(firsts), *[_repeat(drawn)] * (len(labels) - 1)])
    out = _make_output(cells, schema, blocks, list(labels), is_raw=matrices.is_raw)
    is_lent = controls.context[np.concatenate(blocks)] != places
    borrowed = np.where(is_lent, places, -1)
    write_contexts(out.obs, schema.context_keys, controls.contexts, borrowed)
    return Query(
        out,
        _cross(list(labels.values()), controls, kept, blocks, places),
        matrices.expression,
        np.concatenate(blocks),
        [at_hand[i] for i in kept],
        cells.obs_names.astype(str).to_numpy(),
        is_new=True,
        counts=matrices.counts,
    )


def repeat_query(query: Query, n_draws: int) -> Query:
    """Ask for the cells of each condition anew for each of several drawn effects.

    Parameters
    ----------
    query
        What :func:`make_query` returned.
    n_draws
        Number of draws.

    Returns
    -------
    The query, with one block of perturbed rows after the other; the number of the draw is in
    ``obs["draw"]``, -1 for control cells, which are there once.

    Raises
    ------
    ValueError
        When the number is no whole number from 1, there would be more than ten million cells, or
        a column of that name is kept.
    """
    n_draws = check_whole("n_draws", n_draws, hint=", such as n_draws=20")
    n_perturbed = int((~query.screen.is_control).sum())
    if n_perturbed * n_draws > MAX_ROWS:
        raise ValueError(
            f"n_draws={n_draws} draws of {n_perturbed} cells are more than {MAX_ROWS:,} cells, "
            "which find no room. Give a smaller n_draws (20 to 100 tell how effects vary), a "
            "smaller n_cells, or some perturbations or contexts at a time."
        )
    if OBS.DRAW in query.out.obs:
        raise ValueError(
            f"The number of the draw would take the place of obs[{OBS.DRAW!r}], which the screen "
            "has for labels or contexts. Rename that column and train again."
        )
    if (n_cells := min(len(rows) for *_, rows in query.groups())) < _FEW_CELLS:
        logger.warning(
            "%d cells a draw are few: their means tell the chance of cells beside the error of "
            "the effect. Take at least n_cells=%d; the error alone, without cells, is "
            "predict_effects([...]).layers['standard_error'].",
            *(n_cells, _FEW_CELLS),
        )
    is_control = query.screen.is_control
    perturbed = np.flatnonzero(~is_control)
    rows = np.concatenate([np.flatnonzero(is_control), np.tile(perturbed, n_draws)])
    numbers = np.repeat(np.arange(n_draws, dtype=np.int32), len(perturbed))
    draw = np.concatenate([np.full(is_control.sum(), -1, dtype=np.int32), numbers])
    obs = query.out.obs.iloc[rows].copy()
    obs.index = pd.Index([f"{i}_{name.partition('_')[2]}" for i, name in enumerate(obs.index)])
    obs[OBS.DRAW] = draw
    screen = query.screen
    screen = replace(screen, condition=screen.condition[rows], context=screen.context[rows])
    out = AnnData(obs=obs, var=query.out.var, uns=query.out.uns)
    source_row = query.source_row[rows]
    return replace(query, out=out, screen=screen, source_row=source_row, draw=draw)


def annotate_query(
    adata: AnnData,
    schema: ScreenSchema,
    *,
    contexts: Sequence[str],
    rng: np.random.Generator,
    matrices: CellMatrices | None = None,
) -> Query:
    """Predict each row of ``adata`` for its own label, from a control cell of its context.

    Parameters
    ----------
    adata
        Annotated data with control cells in every context.
    schema
        Where it keeps its labels.
    contexts
        Context names known to the model.
    rng
        Draws a control cell for each perturbed row.
    matrices
        Expression and counts of the cells; by default ``X`` or the layer of the schema is log1p
        values.

    Returns
    -------
    A query whose ``out`` is ``adata`` itself.

    Raises
    ------
    ValueError
        When a label is missing, or a context has perturbed cells but no control cells.
    """
    screen = make_screen(adata.obs, schema, contexts)
    source_row = np.arange(adata.n_obs)
    for context, name in enumerate(screen.contexts):
        rows = np.flatnonzero(~screen.is_control & (screen.context == context))
        controls = screen.get_controls(context)
        if len(rows) and not len(controls):
            raise ValueError(
                f"Context {name!r} has {len(rows)} perturbed cells but no control cell to start "
                f"from. Add control cells, take those of other contexts, {REMEDY}, or predict "
                "new cells: predict(perturbations=[...])."
            )
        if len(rows):
            source_row[rows] = rng.choice(controls, len(rows))
    matrices = _read(adata, schema) if matrices is None else matrices
    return Query(
        adata,
        screen,
        matrices.expression,
        source_row,
        [screen.get_controls(i) for i in range(len(screen.contexts))],
        adata.obs_names.astype(str).to_numpy(),
        is_new=False,
        counts=matrices.counts,
    )


def _read(adata: AnnData, schema: ScreenSchema) -> CellMatrices:
    return CellMatrices(Expression(get_matrix(adata, schema.layer)), None, None, False)


def _read_labels(perturbations: Perturbations, schema: ScreenSchema) -> dict[str, Targets]:
    """Return the label of controls, then the distinct wanted ones, each with its targets."""
    wanted = {k: v for k, v in schema.read_labels(perturbations).items() if v}
    if not wanted:
        raise ValueError(
            "No perturbation was asked for. Name at least one: predict(perturbations=['GENE'])."
        )
    return {schema.control: (), **wanted}


def _check_size(n_cells: int, n_conditions: int, n_contexts: int) -> None:
    if n_cells * n_conditions * n_contexts > MAX_ROWS:
        raise ValueError(
            f"n_cells={n_cells} cells of {n_conditions} perturbation(s) in {n_contexts} "
            f"context(s) are more than {MAX_ROWS:,}, which find no room. Give a smaller n_cells "
            "(500 tell how cells vary), or some perturbations or contexts at a time."
        )


def _log_repeats(
    names: Sequence[str], controls: Sequence[np.ndarray], drawn: Sequence[np.ndarray]
) -> None:
    for name, rows, taken in zip(names, controls, drawn, strict=True):
        if len(taken) > len(rows):
            logger.info(
                "Context %r has %d control cells; %d are drawn with replacement.",
                name,
                len(rows),
                len(taken),
            )


def _repeat(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Number each part as often as it has rows."""
    return np.repeat(np.arange(len(parts)), [len(rows) for rows in parts])


def _draw(controls: np.ndarray, n_cells: int | None, rng: np.random.Generator) -> np.ndarray:
    if not len(controls):
        return controls
    wanted = min(len(controls), MAX_CELLS) if n_cells is None else n_cells
    if wanted <= len(controls):
        return np.sort(rng.choice(controls, wanted, replace=False))
    # All of them, as often as each other.
    rest = rng.choice(controls, wanted % len(controls), replace=False)
    return np.sort(np.concatenate([np.tile(controls, wanted // len(controls)), rest]))


def _cross(
    wanted: Sequence[Targets],
    controls: Screen,
    kept: Sequence[int],
    blocks: Sequence[np.ndarray],
    places: np.ndarray,
) -> Screen:
    """Return the screen of a block of cells for each of the wanted targets.

    Two labels may name the same targets: they are one condition.
    """
    conditions = sort_conditions(wanted)
    index = {targets: i for i, targets in enumerate(conditions)}
    condition = np.array([index[targets] for targets in wanted], dtype=np.int64)
    return Screen(
        conditions,
        np.repeat(condition, [len(block) for block in blocks]),
        tuple(controls.contexts[i] for i in kept),
        np.searchsorted(kept, places),
    )


def _make_output(
    cells: AnnData,
    schema: ScreenSchema,
    blocks: Sequence[np.ndarray],
    labels: Sequence[str],
    *,
    is_raw: bool,
) -> AnnData:
    """Annotate a block of cells for each label."""
    obs = cells.obs.iloc[np.concatenate(blocks)][list(schema.context_keys)].copy()
    wanted = np.repeat(labels, [len(block) for block in blocks])
    obs.insert(0, schema.perturbation_key, pd.Categorical(wanted, categories=list(labels)))
    obs.index = pd.Index([f"{i}_{label}" for i, label in enumerate(wanted)])
    log1p: dict[str, Any] = {"log1p": {}} if is_raw else {}
    if not is_raw:
        log1p = take_log_base(cells)
    return AnnData(obs=obs, var=cells.var.copy(), uns=log1p)

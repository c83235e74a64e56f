"""What are the real conditions, prepared once, and what does a prediction say of each?"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from anndata import AnnData

from scbig._constants import SOURCE_SUFFIX
from scbig.data import EXPECTED, Expression, ScreenSchema
from scbig.metrics._catalogue import Metric
from scbig.metrics._discrimination import get_target_mask
from scbig.metrics._distribution import PreparedCells, Projection
from scbig.metrics._inputs import (
    Averages,
    CellGroups,
    Key,
    Moments,
    ReferenceLike,
    compute_moments,
    read_cells,
    read_reference,
)
from scbig.metrics._weights import compute_weights

logger = logging.getLogger(__name__)

MAX_CELLS = 200
# Beyond these the distances between real cells would fill the memory.
MAX_REAL_CELLS = 2000
NOT_PREDICTED = "not predicted: predicted has no cells of this condition in this context"


@dataclass(frozen=True)
class GroundTruth:
    """The real conditions and controls, and what is the same for all predictions of them.

    Attributes
    ----------
    cells
        The real cells.
    keys
        The conditions and contexts, context by context; all below is in their order.
    moments
        Sums over the cells of each.
    control
        Mean of the control cells of each context that has some, ``(G,)``.
    target_mask
        The genes that each condition perturbs, ``(C, G)``.
    reference
        Mean of the training conditions by context, ``(G,)``; empty if nothing is known of them.
    projection
        Principal components; ``None`` if no metric needs cells.
    weights
        Weights of the genes for each condition, ``(C, G)``; ``None`` if no metric takes them.
    weight_problems
        For each condition, why it has no weights.
    """

    cells: CellGroups
    keys: tuple[Key, ...]
    moments: Moments
    control: Mapping[str, Averages]
    target_mask: np.ndarray
    reference: Mapping[str, Averages]
    projection: Projection | None
    weights: np.ndarray | None
    weight_problems: Sequence[str]

    @property
    def labels(self) -> list[str]:
        """The label of each condition, as the real cells have it."""
        return [self.cells.labels[targets] for targets, _ in self.keys]

    @property
    def rows(self) -> list[np.ndarray]:
        """Row numbers of the cells of each condition and context."""
        return [self.cells.groups[key] for key in self.keys]

    def get_blocks(self) -> Iterator[tuple[str, slice]]:
        """Yield each context that has conditions, and where these stand."""
        return _get_blocks(self.keys)


@dataclass(frozen=True)
class Sample:
    """What real or predicted cells say of each of the real conditions and contexts.

    Attributes
    ----------
    mean
        Mean expression, ``(C, G)``.
    points
        The cells in principal components, ``(n, d)`` each; empty without them.
    expression, rows
        The same cells in all genes: a matrix, and their row numbers in it.
    compared
        The row numbers of those that are compared gene by gene, at most 2,000 each.
    problems
        Why there is nothing; empty text where there is something.
    """

    mean: Averages
    points: Sequence[PreparedCells]
    expression: Expression
    rows: Sequence[np.ndarray]
    compared: Sequence[np.ndarray]
    problems: Sequence[str]


def make_ground_truth(
    real: AnnData,
    schema: ScreenSchema,
    reference: ReferenceLike | None,
    metrics: Collection[Metric],
    seed: int,
    *,
    is_log1p: bool = False,
) -> GroundTruth:
    """Compute from the real cells and those trained on what the metrics take."""
    cells = read_cells(real, schema, "real", layer=schema.layer, is_log1p=is_log1p)
    _check_groups(cells, schema)
    keys = tuple(cells.perturbed)
    contexts = [context for targets, context in cells.groups if not targets]
    groups = [cells.groups[key] for key in keys] + [cells.groups[(), name] for name in contexts]
    use_weights = any("weights" in metric.takes for metric in metrics)
    moments = compute_moments(cells.expression, groups, use_squares=use_weights)
    mean = moments.mean
    control = {name: mean[len(keys) + i] for i, name in enumerate(contexts)}
    moments = moments.select(slice(len(keys)))
    target_mask = get_target_mask([targets for targets, _ in keys], cells.genes)
    trained = read_reference(reference, schema, cells, control)
    projection = None
    if any(metric.level == "cells" for metric in metrics):
        fitted = trained.cells or cells
        projection = Projection(fitted.expression, fitted.names, np.array(cells.genes), seed)
    weights, problems = None, [""] * len(keys)
    if use_weights:
        parts = [compute_weights(moments.select(block)) for _, block in _get_blocks(keys)]
        weights = np.concatenate([part for part, _ in parts])
        problems = [text for _, texts in parts for text in texts]
    return GroundTruth(
        cells, keys, moments, control, target_mask, trained.mean, projection, weights, problems
    )


def sample_real(truth: GroundTruth, seed: int) -> Sample:
    """Take means over all real cells; as points at most 2,000 of each condition and context."""
    drawn = [draw_rows(rows, MAX_REAL_CELLS, seed, i) for i, rows in enumerate(truth.rows)]
    points = _project(truth, truth.cells, drawn)
    problems = [""] * len(truth.keys)
    cells, mean = truth.cells.expression, truth.moments.mean
    return Sample(mean, points, cells, truth.rows, drawn, problems)


def sample_predicted(
    predicted: AnnData,
    truth: GroundTruth,
    schema: ScreenSchema,
    *,
    layer: str | None,
    is_paired: bool,
    controls: AnnData | None,
    seed: int,
) -> Sample:
    """Average the predicted cells of each real condition, and draw those to compare as cells.

    ``is_paired`` says that ``X`` is the control cell that each row started from; ``controls``
    are cells that effects are taken to. Where nothing is predicted, the real means stand in, and
    the problem is said.
    """
    cells = read_cells(predicted, schema, "predicted", layer=layer, like=truth.cells)
    _check_overlap(cells, truth)
    none = np.empty(0, dtype=np.int64)
    rows = [cells.groups.get(key, none) for key in truth.keys]
    mean = compute_moments(cells.expression, rows).mean
    if is_paired:
        _check_paired(predicted, cells, truth, layer)
        source = read_cells(predicted, schema, "predicted", like=truth.cells).expression
        mean = mean - compute_moments(source, rows).mean + _stack_controls(truth)
    elif controls is not None:
        mean = mean - _average_controls(controls, truth, schema) + _stack_controls(truth)
    is_absent = np.array([not len(group) for group in rows], dtype=bool)
    mean = truth.moments.mean.where(is_absent, mean)
    drawn, compared = (
        [draw_rows(group, n_most, seed, i) for i, group in enumerate(rows)]
        for n_most in (MAX_CELLS, MAX_REAL_CELLS)
    )
    problems = [NOT_PREDICTED if absent else "" for absent in is_absent]
    points = _project(truth, cells, drawn)
    return Sample(mean, points, cells.expression, drawn, compared, problems)


def _average_controls(controls: AnnData, truth: GroundTruth, schema: ScreenSchema) -> Averages:
    """Mean of other controls of the context of each condition."""
    cells = read_cells(controls, schema, "controls", like=truth.cells)
    contexts = dict.fromkeys(context for _, context in truth.keys)
    if lacking := [context for context in contexts if ((), context) not in cells.groups]:
        raise ValueError(
            f"controls has no cell labelled {schema.control!r} in {len(lacking)} of "
            f"{len(contexts)} contexts: {lacking[:5]}. Give control cells of each, or leave "
            "controls out to take effects to the real ones."
        )
    own = [cells.groups[(), context] for context in contexts]
    position = {context: i for i, context in enumerate(contexts)}
    mean = compute_moments(cells.expression, own).mean
    return mean[[position[context] for _, context in truth.keys]]


def _stack_controls(truth: GroundTruth) -> Averages:
    """Mean of the real controls of the context of each condition."""
    return Averages.stack([truth.control[context] for _, context in truth.keys])


def _get_blocks(keys: Sequence[Key]) -> Iterator[tuple[str, slice]]:
    contexts = [context for _, context in keys]
    for context in dict.fromkeys(contexts):
        start = contexts.index(context)
        yield context, slice(start, start + contexts.count(context))


def _check_groups(cells: CellGroups, schema: ScreenSchema) -> None:
    contexts = list(dict.fromkeys(context for _, context in cells.perturbed))
    if not contexts:
        raise ValueError(
            f"real has no perturbed cells: all of obs[{schema.perturbation_key!r}] is "
            f"{schema.control!r}. Keep the cells of the conditions to score."
        )
    if lacking := [name for name in contexts if ((), name) not in cells.groups]:
        raise ValueError(
            f"real has {len(lacking)} context(s) with perturbed cells but no controls: "
            f"{lacking[:5]}. Effects are differences to real controls of the same context: keep "
            f"the cells with obs[{schema.perturbation_key!r}] == {schema.control!r}, or give "
            "fewer context_keys."
        )


def draw_rows(rows: np.ndarray, n_most: int, seed: int, i: int) -> np.ndarray:
    """Draw at most so many cells of the i-th condition, whatever is drawn of the others."""
    if len(rows) <= n_most:
        return rows
    return np.random.default_rng([seed, i]).choice(rows, n_most, replace=False)


def _project(
    truth: GroundTruth, cells: CellGroups, rows: Sequence[np.ndarray]
) -> list[PreparedCells]:
    if truth.projection is None:
        return []
    return truth.projection.project_all(cells.expression, rows)


def _check_overlap(cells: CellGroups, truth: GroundTruth) -> None:
    found = set(cells.perturbed)
    if not found & set(truth.keys):
        raise ValueError(
            f"predicted has none of the {len(truth.keys)} conditions of real: "
            f"{_name(cells, found)} against {_name(truth.cells, truth.keys)}. Labels and "
            "contexts are compared after reading targets in any order."
        )
    if further := found - set(truth.keys):
        logger.info(
            "%d predicted conditions that real has not are ignored, such as %s.",
            len(further),
            _name(cells, further),
        )


def _name(cells: CellGroups, keys: Sequence | set, n_shown: int = 3) -> list[str]:
    shown = sorted(keys)[:n_shown]
    return [f"{cells.labels[targets]} ({context})" for targets, context in shown]


def _check_paired(
    predicted: AnnData, cells: CellGroups, truth: GroundTruth, layer: str | None
) -> None:
    """Refuse what cannot be paired.

    Of measured cells as sources, means would be the answer and not the noise; predicted cells have
    the predicted mean, whatever they were made of.
    """
    if layer is None:
        raise ValueError(
            "is_paired=True says that X holds the control cells that the prediction started "
            "from. Name the layer of the prediction: layer='...'"
        )
    note = predicted.uns.get(layer)
    if isinstance(note, Mapping) and note.get("cells", EXPECTED) != EXPECTED:
        raise ValueError(
            f"layers[{layer!r}] holds cells, whose means do not depend on the control cells that "
            "were drawn, and X is the prediction, too. Leave is_paired out, or predict expected "
            "expression: predict(perturbations=[...], sampling=False)"
        )
    if layer + SOURCE_SUFFIX in predicted.obs:
        return
    own = {cells.names[i] for key in cells.perturbed for i in cells.groups[key]}
    measured = {truth.cells.names[i] for rows in truth.rows for i in rows}
    if shared := own & measured:
        raise ValueError(
            f"is_paired=True says that X of predicted holds control cells, but {len(shared)} of "
            "its perturbed cells are named as measured cells of real. Put control cells there; "
            "if they are, give other names: "
            "predicted.obs_names = [f'predicted_{i}' for i in range(predicted.n_obs)]"
        )

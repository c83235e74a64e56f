"""What is the same for all predictions that are compared with one real side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scbig.metrics._catalogue import Metric
from scbig.metrics._projection import Projection
from scbig.metrics._real import Real
from scbig.metrics._real_weights import compute_weights
from scbig.metrics._reference import Reference
from scbig.metrics._samples import Sample, draw

# Beyond these the distances between real cells would fill the memory.
MAX_REAL_CELLS = 2000


@dataclass(frozen=True)
class Setting:
    """The real side, training, and what follows from them.

    Attributes
    ----------
    real
        The real side.
    reference
        The training conditions.
    projection
        Principal components; ``None`` if no metric needs cells.
    weights
        Weights of the genes for each condition, ``(C, G)``; ``None`` if no metric takes them.
    weight_problems
        For each condition, why it has no weights.
    """

    real: Real
    reference: Reference
    projection: Projection | None
    weights: np.ndarray | None
    weight_problems: Sequence[str]


def make_setting(
    real: Real, reference: Reference, metrics: Mapping[str, Metric], seed: int
) -> Setting:
    """Compute what the metrics take.

    Parameters
    ----------
    real
        The real side.
    reference
        The training conditions.
    metrics
        The metrics.
    seed
        Seed of the principal components.

    Returns
    -------
    The setting.
    """
    projection = None
    if any(metric.level == "cells" for metric in metrics.values()):
        cells = reference.cells or real.side
        genes = np.array(real.side.genes)
        projection = Projection(cells.expression, cells.names, genes, seed)
    weights, problems = None, [""] * len(real.keys)
    if any("weights" in metric.takes for metric in metrics.values()):
        parts = [compute_weights(real.moments.select(block)) for _, block in real.get_blocks()]
        weights = np.concatenate([part for part, _ in parts])
        problems = [text for _, texts in parts for text in texts]
    return Setting(real, reference, projection, weights, problems)


def sample_real(setting: Setting, seed: int) -> Sample:
    """Take the real cells as a sample.

    Parameters
    ----------
    setting
        With the real side.
    seed
        Seed of the draws from conditions of more than 2,000 cells.

    Returns
    -------
    Means over all cells; as points at most 2,000 cells of each condition and context.
    """
    real, projection = setting.real, setting.projection
    drawn = [draw(rows, MAX_REAL_CELLS, seed, i) for i, rows in enumerate(real.rows)]
    points = [] if projection is None else projection.project_all(real.side.expression, drawn)
    problems = [""] * len(real.keys)
    return Sample(real.moments.mean, points, real.side.expression, real.rows, problems)

"""The predicted side: means and drawn cells of each real condition."""

import logging
from collections.abc import Sequence

import numpy as np
from anndata import AnnData

from scbig._constants import OBS
from scbig.data import ScreenSchema
from scbig.metrics._moments import compute_moments
from scbig.metrics._projection import Projection
from scbig.metrics._real import Real
from scbig.metrics._samples import Sample, draw
from scbig.metrics._sides import Side, read_side

logger = logging.getLogger(__name__)

MAX_CELLS = 200
NOT_PREDICTED = "not predicted: predicted has no cells of this condition in this context"


def sample_predicted(
    predicted: AnnData,
    real: Real,
    schema: ScreenSchema,
    projection: Projection | None,
    *,
    layer: str | None,
    is_paired: bool,
    seed: int,
) -> Sample:
    """Average the predicted cells of each real condition, and draw those to compare as cells.

    Parameters
    ----------
    predicted
        Predicted cells.
    real
        The real side.
    schema
        Where both sides keep their labels.
    projection
        Principal components; ``None`` if no metric needs cells.
    layer
        Layer with the prediction; ``None`` for ``X``.
    is_paired
        ``X`` is the control cell that each row started from.
    seed
        Seed of the draws.

    Returns
    -------
    The sample; where nothing is predicted, the real means stand in, and the problem is said.

    Raises
    ------
    ValueError
        When the predicted cells cannot be read, or nothing of the real side is predicted.
    """
    side = read_side(predicted, schema, "predicted", layer=layer, genes=real.side.genes)
    _check_overlap(side, real)
    none = np.empty(0, dtype=np.int64)
    rows = [side.groups.get(key, none) for key in real.keys]
    mean = compute_moments(side.expression, rows).mean
    if is_paired:
        _check_paired(predicted, side, real, layer)
        source = read_side(predicted, schema, "predicted", genes=real.side.genes).expression
        control = np.array([real.control[context] for _, context in real.keys])
        mean += control - compute_moments(source, rows).mean
    is_absent = np.array([not len(group) for group in rows], dtype=bool)
    mean[is_absent] = real.moments.mean[is_absent]
    drawn = [draw(group, MAX_CELLS, seed, i) for i, group in enumerate(rows)]
    points = [] if projection is None else projection.project_all(side.expression, drawn)
    problems = [NOT_PREDICTED if absent else "" for absent in is_absent]
    return Sample(mean, points, side.expression, drawn, problems)


def _check_overlap(side: Side, real: Real) -> None:
    found = set(side.perturbed)
    if not found & set(real.keys):
        raise ValueError(
            f"predicted has none of the {len(real.keys)} conditions of real: "
            f"{_name(side, found)} against {_name(real.side, real.keys)}. Labels and contexts are "
            "compared after reading targets in any order."
        )
    if further := found - set(real.keys):
        logger.info(
            "%d predicted conditions that real has not are ignored, such as %s.",
            len(further),
            _name(side, further),
        )


def _name(side: Side, keys: Sequence | set, n_shown: int = 3) -> list[str]:
    shown = sorted(keys)[:n_shown]
    return [f"{side.labels[targets]} ({context})" for targets, context in shown]


def _check_paired(predicted: AnnData, side: Side, real: Real, layer: str | None) -> None:
    """Refuse measured cells as sources: their means would be the answer, not the noise."""
    if layer is None:
        raise ValueError(
            "is_paired=True says that X holds the control cells that the prediction started "
            "from. Name the layer of the prediction: layer='...'"
        )
    if OBS.SOURCE in predicted.obs:
        return
    own = {side.names[i] for key in side.perturbed for i in side.groups[key]}
    measured = {real.side.names[i] for rows in real.rows for i in rows}
    if shared := own & measured:
        raise ValueError(
            f"is_paired=True says that X of predicted holds control cells, but {len(shared)} of "
            "its perturbed cells are named as measured cells of real. Predict new cells: "
            f"predict(perturbations=[...]) writes obs[{OBS.SOURCE!r}]; or give other names: "
            "predicted.obs_names = [f'predicted_{i}' for i in range(predicted.n_obs)]"
        )
